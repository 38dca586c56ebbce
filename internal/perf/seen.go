package perf

import "math/bits"

// pageBits is the number of messages, as a power of two, that one page of a bitmap stands for.
const pageBits = 16

// A bitmap is the set of message numbers of one producer that came to one queue. It grows by pages as numbers rise; the
// page used last is at hand, because numbers come nearly in order.
type bitmap struct {
	pages []*[1 << (pageBits - 6)]uint64
	count int64
}

// mark adds seq, which is below maxSeq, and says whether it was absent.
func (m *bitmap) mark(seq uint64) bool {
	p := int(seq >> pageBits)
	if p >= len(m.pages) || m.pages[p] == nil {
		m.grow(p)
	}
	word := &m.pages[p][seq>>6&(1<<(pageBits-6)-1)]
	bit := uint64(1) << (seq & 63)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	m.count++
	return true
}

func (m *bitmap) grow(p int) {
	for len(m.pages) <= p {
		m.pages = append(m.pages, nil)
	}
	m.pages[p] = new([1 << (pageBits - 6)]uint64)
}

// has says whether seq was marked.
func (m *bitmap) has(seq uint64) bool {
	p := int(seq >> pageBits)
	return p < len(m.pages) && m.pages[p] != nil && m.pages[p][seq>>6&(1<<(pageBits-6)-1)]&(1<<(seq&63)) != 0
}

// merge adds all of o and returns how many numbers both had.
func (m *bitmap) merge(o *bitmap) (both int64) {
	for p, from := range o.pages {
		if from == nil {
			continue
		}
		if p >= len(m.pages) || m.pages[p] == nil {
			m.grow(p)
		}
		to := m.pages[p]
		for i, w := range from {
			both += int64(bits.OnesCount64(to[i] & w))
			m.count += int64(bits.OnesCount64(w &^ to[i]))
			to[i] |= w
		}
	}
	return both
}

// seen is what came to one queue through one consumer.
type seen struct {
	from       []bitmap // by producer
	duplicates int64
	strays     int64 // numbers that no producer can have written
}

// mark notes the message whose body begins with id.
func (s *seen) mark(id uint64) {
	producer, seq := int(id>>48), id&(1<<48-1)
	if producer >= len(s.from) {
		if producer >= maxProducers {
			s.strays++
			return
		}
		s.from = append(s.from, make([]bitmap, producer+1-len(s.from))...)
	}
	if seq >= maxSeq {
		s.strays++
	} else if !s.from[producer].mark(seq) {
		s.duplicates++
	}
}

// merge adds what another consumer of the same queue has seen.
func (s *seen) merge(o *seen) {
	if len(o.from) > len(s.from) {
		s.from = append(s.from, make([]bitmap, len(o.from)-len(s.from))...)
	}
	for i := range o.from {
		s.duplicates += s.from[i].merge(&o.from[i])
	}
	s.duplicates += o.duplicates
	s.strays += o.strays
}
