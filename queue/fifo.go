package queue

import "github.com/warrenmq/warren/amqp"

// An item is a message's place in a queue.
type item struct {
	msg        *amqp.Message // holds one reference
	seq        uint64        // order of arrival
	expires    int64         // Unix milliseconds; 0: never
	deliveries uint32        // how often it was delivered and came back
	redeliver  bool
	logged     bool // it is in the log
}

// A fifo holds ready items in order of arrival. New ones are appended to a ring; those that come back are kept in a heap
// by seq, so that each takes its old place again whatever order they come back in.
type fifo struct {
	ring []item // power of two long
	head int
	n    int
	back []item // min-heap by seq
}

const fifoFirst = 8 // the first size of a ring

func (f *fifo) len() int { return f.n + len(f.back) }

func (f *fifo) at(i int) *item { return &f.ring[(f.head+i)&(len(f.ring)-1)] }

func (f *fifo) push(it item) {
	if f.n == len(f.ring) {
		f.resize(max(fifoFirst, 2*len(f.ring)))
	}
	f.ring[(f.head+f.n)&(len(f.ring)-1)] = it
	f.n++
}

func (f *fifo) resize(size int) {
	ring := make([]item, size)
	for i := range f.n {
		ring[i] = *f.at(i)
	}
	f.ring, f.head = ring, 0
}

// peek returns the first item, nil if there is none. It is valid until the next change.
func (f *fifo) peek() *item {
	switch {
	case len(f.back) > 0 && (f.n == 0 || f.back[0].seq < f.at(0).seq):
		return &f.back[0]
	case f.n > 0:
		return f.at(0)
	}
	return nil
}

func (f *fifo) pop() item {
	if len(f.back) > 0 && (f.n == 0 || f.back[0].seq < f.at(0).seq) {
		return f.popBack()
	}
	p := f.at(0)
	it := *p
	p.msg = nil
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	f.shrink()
	return it
}

// shrink gives memory back when little of the ring is in use.
func (f *fifo) shrink() {
	if f.n == 0 {
		f.head = 0
		if len(f.ring) > 1024 {
			f.ring = nil // a queue that was deep once keeps nothing of it
		}
	} else if f.n < len(f.ring)/8 && len(f.ring) > 4096 {
		f.resize(len(f.ring) / 4)
	}
}

// each calls g with every item, in no order.
func (f *fifo) each(g func(*item)) {
	for i := range f.back {
		g(&f.back[i])
	}
	for i := range f.n {
		g(f.at(i))
	}
}

// restore puts an item back in its old place.
func (f *fifo) restore(it item) {
	f.back = append(f.back, it)
	i := len(f.back) - 1
	for i > 0 {
		up := (i - 1) / 2
		if f.back[up].seq <= f.back[i].seq {
			break
		}
		f.back[up], f.back[i] = f.back[i], f.back[up]
		i = up
	}
}

func (f *fifo) popBack() item {
	it := f.back[0]
	last := len(f.back) - 1
	f.back[0] = f.back[last]
	f.back[last] = item{}
	f.back = f.back[:last]
	for i := 0; ; {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && f.back[c].seq < f.back[least].seq {
				least = c
			}
		}
		if least == i {
			break
		}
		f.back[i], f.back[least] = f.back[least], f.back[i]
		i = least
	}
	if last == 0 {
		f.back = nil
	}
	return it
}

// remove takes out the item with the given seq, wherever it stands. It costs a shift of the items before or behind it.
func (f *fifo) remove(seq uint64) (item, bool) {
	for i := range f.back {
		if f.back[i].seq == seq {
			it := f.back[i]
			rest := append(f.back[:i:i], f.back[i+1:]...)
			f.back = nil
			for _, r := range rest {
				f.restore(r)
			}
			return it, true
		}
	}
	lo, hi := 0, f.n
	for lo < hi {
		mid := (lo + hi) / 2
		if f.at(mid).seq < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == f.n || f.at(lo).seq != seq {
		return item{}, false
	}
	it := *f.at(lo)
	if lo < f.n/2 {
		for i := lo; i > 0; i-- {
			*f.at(i) = *f.at(i - 1)
		}
		f.at(0).msg = nil
		f.head = (f.head + 1) & (len(f.ring) - 1)
	} else {
		for i := lo; i < f.n-1; i++ {
			*f.at(i) = *f.at(i + 1)
		}
		f.at(f.n - 1).msg = nil
	}
	f.n--
	f.shrink()
	return it, true
}
