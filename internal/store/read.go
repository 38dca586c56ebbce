package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"sync"
)

// ErrDamaged is inside Message.Err of a message whose record a checksum refutes.
var ErrDamaged = errors.New("the record is damaged")

// ErrClosed is what reads get from a store that is closed.
var ErrClosed = errors.New("store: closed")

// A readRequest is one call of Read that has not been answered.
type readRequest struct {
	q        *Queue
	from, to uint64
	max      int
	done     func([]Message, error)
}

// readQueue holds the requests that wait for a reader.
type readQueue struct {
	mu     sync.Mutex // guards the fields below
	wake   sync.Cond
	list   []*readRequest
	closed bool
}

func (r *readQueue) add(reqs ...*readRequest) (ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.list = append(r.list, reqs...)
	for range reqs {
		r.wake.Signal()
	}
	return true
}

func (r *readQueue) next() *readRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.list) == 0 {
		if r.closed {
			return nil
		}
		r.wake.Wait()
	}
	req := r.list[0]
	r.list = r.list[1:]
	return req
}

// close lets readers end once the list is empty.
func (r *readQueue) close() {
	r.mu.Lock()
	r.closed = true
	r.wake.Broadcast()
	r.mu.Unlock()
}

// Read fetches the live messages with numbers from from to to, lowest first, until they have maxBytes bytes; at least one
// if any is live. It returns at once; a reader calls done, which must not block. A number that is left out before the last
// one returned is not live. The messages' parts lie in buffers of Options.NewBuffer, each message with a reference of its
// own that done's owner gives up; no other queue's messages share them. The error is that the store is closed.
func (q *Queue) Read(from, to uint64, maxBytes int, done func([]Message, error)) {
	if !q.s.reads.add(&readRequest{q, from, to, maxBytes, done}) {
		done(nil, ErrClosed)
	}
}

// requeue puts requests back that waited for a commit.
func (s *Store) requeue(reqs []*readRequest) {
	if len(reqs) > 0 && !s.reads.add(reqs...) {
		for _, r := range reqs {
			r.done(nil, ErrClosed)
		}
	}
}

// A place is where a message that is to be read lies.
type place struct {
	seq  uint64
	file *file
	off  uint32
	size uint32
}

// reader serves read requests. It ends when the store closes.
func (s *Store) reader() {
	defer s.others.Done()
	var places []place
	for {
		req := s.reads.next()
		if req == nil {
			return
		}
		var out []Message
		var parked bool
		places, out, parked = req.find(places[:0])
		if parked {
			continue
		}
		for i := 0; i < len(places); {
			n := together(places[i:])
			out = s.fetch(req.q.id, places[i:i+n], out)
			i += n
		}
		for _, p := range places {
			if p.file.pins.Add(-1) == 0 && p.file.count.Load() == 0 {
				s.wakeJanitor() // it may be waiting for us to give the file up
			}
		}
		req.done(out, nil)
	}
}

// find looks up what the request asks for. Messages that are on disk come out as places, with a pin each on their files;
// if none are there, those that wait for the committer are copied; if it is at them, the request is parked until it is
// through.
func (r *readRequest) find(places []place) (_ []place, out []Message, parked bool) {
	q := r.q
	q.mu.Lock()
	defer q.mu.Unlock()
	x := &q.index
	total := 0
	for i := x.at(r.from); i < len(x.chunks) && (total < r.max || len(places) == 0); i++ {
		c := x.chunks[i]
		if c == nil {
			continue
		}
		if c.base > r.to {
			break
		}
		for m := c.live & c.mask(r.from, r.to); m != 0 && (total < r.max || len(places) == 0); m &= m - 1 {
			s := c.slots[bits.TrailingZeros64(m)]
			if len(places) > 0 && total+int(s.size) > r.max {
				total = r.max
				break
			}
			total += int(s.size)
			c.file.pins.Add(1)
			places = append(places, place{c.base + uint64(s.delta), c.file, s.off, s.size})
		}
	}
	if len(places) > 0 {
		return places, nil, false
	}
	if i := opFrom(q.inflight, r.from); i < len(q.inflight) && q.inflight[i].m.Seq <= r.to {
		q.parked = append(q.parked, r)
		return places, nil, true
	}
	for i := opFrom(q.pend, r.from); i < len(q.pend) && q.pend[i].m.Seq <= r.to && (total < r.max || len(out) == 0); i++ {
		if o := &q.pend[i]; o.state == opWaiting {
			out = append(out, q.s.copyOf(&o.m))
			total += int(o.size)
		}
	}
	return places, out, false
}

// copyOf copies a message into a buffer of its own.
func (s *Store) copyOf(m *Message) Message {
	b := s.opt.NewBuffer(m.payload())
	c := *m
	c.Holder, c.More = b, nil
	dst := b.Bytes()[:0]
	part := func(ps ...[]byte) []byte {
		at := len(dst)
		for _, p := range ps {
			dst = append(dst, p...)
		}
		return dst[at:len(dst):len(dst)]
	}
	c.Address, c.Props = part(m.Address), part(m.Props)
	at := len(dst)
	part(m.Body)
	part(m.More...)
	c.Body = dst[at:len(dst):len(dst)]
	return c
}

const (
	gapMax  = 16 << 10  // bytes between two records that are read together, at most
	spanMax = 256 << 10 // bytes that are read at once, but for larger records; what amqp pools
)

// together returns how many of places are to be read at once: they lie in one file, in order, close to each other, and
// what lies between is no more than they are.
func together(places []place) int {
	first := places[0]
	wanted, end := int64(first.size), int64(first.off)+int64(first.size)
	for i, p := range places[1:] {
		off := int64(p.off)
		if p.file != first.file || off < end || off-end > gapMax || off+int64(p.size)-int64(first.off) > spanMax ||
			off-int64(first.off) > 2*wanted {
			return i + 1
		}
		wanted += int64(p.size)
		end = off + int64(p.size)
	}
	return len(places)
}

// fetch reads records that lie together into one buffer and appends their messages to out.
func (s *Store) fetch(queue uint64, places []place, out []Message) []Message {
	first, last := places[0], places[len(places)-1]
	start := first.off
	buf := s.opt.NewBuffer(int(last.off - start + last.size))
	span := buf.Bytes()[:last.off-start+last.size]
	n, err := first.file.f.ReadAt(span, int64(start))
	if n < len(span) && len(places) > 1 {
		// One bad block is not to cost its neighbours.
		buf.Release(1)
		for i := range places {
			out = s.fetch(queue, places[i:i+1], out)
		}
		return out
	}
	buf.Retain(int32(len(places)))
	for _, p := range places {
		m := Message{Seq: p.seq}
		var h header
		switch rec := span[p.off-start:][:p.size]; {
		case n < len(span):
			m.Err = fmt.Errorf("read message %d of queue %d: %w", p.seq, queue, err)
		case !h.parse(rec, p.file.salt) || h.typ&typeMask != typeMessage || h.queue != queue || h.seq != p.seq ||
			h.size() != int(p.size) || crc32.Checksum(rec[recordHeader:], castagnoli) != h.bodyCRC:
			m.Err = fmt.Errorf("read message %d of queue %d: %w", p.seq, queue, ErrDamaged)
		default:
			h.message(rec[recordHeader:], &m)
		}
		m.Holder = buf
		out = append(out, m)
	}
	buf.Release(1)
	return out
}
