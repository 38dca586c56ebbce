package store

import (
	"iter"
	"math/bits"
	"sync"
)

// A Message is a message as the store keeps it.
type Message struct {
	Seq        uint64
	Expires    int64  // Unix milliseconds; 0: never
	Deliveries uint32 // how often it came back
	Priority   uint8
	Flags      uint8 // the queue's own

	Address []byte   // at most 65,535 bytes
	Props   []byte   // at most 16 MiB less one byte
	Body    []byte   // all of it after Read
	More    [][]byte // parts of the body behind Body, for Message

	// Holder keeps the memory that the parts lie in. Queue.Message takes over one reference and gives it up when the
	// message is on disk, or need not get there; nil if the memory is not counted. After Read it is the caller's to release.
	Holder Holder
	// Err is set by Read, and nothing else but Seq, when the record cannot be read or is damaged: this message is lost.
	Err error
}

// A Holder counts references to memory. *amqp.Message and *amqp.Buffer are ones.
type Holder interface{ Release(n int32) }

// A Handler is told what became of a queue's messages. It is called by the committer, one call at a time, and must not
// block: every queue waits for it.
type Handler interface {
	// Durable says that every message appended with a number up to upTo is on disk as the queue's Flush asks, or was
	// settled, or was reported as failed before.
	Durable(upTo uint64)
	// Failed says that the messages up to upTo that were neither settled nor reported by Durable are not on disk and will
	// not be. The store has forgotten them.
	Failed(upTo uint64, err error)
}

// Flush says when a queue's messages count as durable.
type Flush uint8

const (
	// FlushSync is after a sync: they survive a power cut.
	FlushSync Flush = iota
	// FlushInterval is after the write; a sync follows within Options.FlushInterval. They survive a crash of the process,
	// and a power cut but for the last of them.
	FlushInterval
	// FlushNone is after the write; no sync is made for them. They survive a crash of the process.
	FlushNone
)

// A Range is the numbers from From to To, both included.
type Range struct{ From, To uint64 }

// A Queue is the messages of one queue. Message, Settle, Note and Submit are for one goroutine at a time, the queue's
// runner; they do no I/O and wait for none. The other methods may be called by any goroutine.
type Queue struct {
	// immutable
	s  *Store
	id uint64

	// guarded by mu, which is held for a copy of a few messages at most
	mu       sync.Mutex
	handler  Handler
	flush    Flush
	last     uint64 // the highest number ever seen
	pend     []op   // submitted or to be, in order
	base     []op   // the array that pend lies in, if its front is used up
	inflight []op   // in the commit that is under way
	settles  []Range
	notes    []Range // seq and deliveries
	dirty    bool    // the committer has it in its list
	dropped  bool
	index    index
	counts   map[uint64]uint32 // deliveries of live messages that have any
	parked   []*readRequest    // wait for the commit under way
	inFile   uint64            // id of the last segment with messages of it
}

// An op is a message on its way to the disk.
type op struct {
	m     Message
	state opState
	size  uint32 // of its record without padding

	// owned by the committer once taken
	skip bool   // it is not written
	off  uint32 // where its record goes
}

type opState uint8

const (
	opWaiting opState = iota
	opSettled         // before it was taken: need not be written
	opDead            // after it was taken: is on disk, perhaps
)

// ID returns the queue's number.
func (q *Queue) ID() uint64 { return q.id }

// Handle sets who is told of the queue's messages, and how they are flushed. A queue without a handler tells nobody.
func (q *Queue) Handle(h Handler, f Flush) {
	q.mu.Lock()
	q.handler, q.flush = h, f
	q.mu.Unlock()
}

// Message appends a message. Its number must be higher than those of all before; if it is not, or a part is longer than
// Message says, that is a bug of the caller and panics. The parts must not change until Holder is released.
func (q *Queue) Message(m *Message) {
	if len(m.Address) > maxAddress || len(m.Props) > maxProps {
		panic("store: a part of the message is too long")
	}
	size := recordSize(m)
	q.mu.Lock()
	if q.dropped {
		q.mu.Unlock()
		m.release()
		return
	}
	if m.Seq <= q.last {
		q.mu.Unlock()
		panic("store: the message's number is not higher than those before")
	}
	q.last = m.Seq
	if len(q.pend) == cap(q.pend) {
		q.makeRoom()
	}
	q.pend = append(q.pend, op{m: *m, size: uint32(size)})
	q.mu.Unlock()
	q.s.pending.Add(int64(size))
}

// makeRoom lets pend grow without a new array for as long as the committer keeps up. q.mu is held.
func (q *Queue) makeRoom() {
	switch {
	case q.pend == nil:
		q.pend = q.s.ops.get()
	case cap(q.base) > 2*len(q.pend):
		n := copy(q.base[:len(q.pend)], q.pend)
		clear(q.pend)
		q.pend = q.base[:n]
	}
	q.base = nil // append makes a new array if there is still no room
}

func (m *Message) release() {
	if m.Holder != nil {
		m.Holder.Release(1)
	}
}

// Settle says that the messages from from to to, as far as they are live, are done with. One that is not on disk yet need
// not get there: its confirm can go out at once.
func (q *Queue) Settle(from, to uint64) {
	q.mu.Lock()
	to = min(to, q.last)
	if q.dropped || from > to {
		q.mu.Unlock()
		return
	}
	var emptied bool
	n := 0
	if q.index.count > 0 {
		n, emptied = q.index.settle(from, to)
	}
	for i := opFrom(q.inflight, from); i < len(q.inflight) && q.inflight[i].m.Seq <= to; i++ {
		if o := &q.inflight[i]; o.state == opWaiting {
			o.state = opDead
			n++
		}
	}
	if n > 0 {
		if len(q.counts) > 0 {
			q.uncount(from, to)
		}
		q.addSettle(from, to)
	}
	for i := opFrom(q.pend, from); i < len(q.pend) && q.pend[i].m.Seq <= to; i++ {
		q.pend[i].state = opSettled
	}
	q.mu.Unlock()
	if emptied {
		q.s.wakeJanitor()
	}
}

func (q *Queue) addSettle(from, to uint64) {
	if n := len(q.settles); n > 0 {
		if last := &q.settles[n-1]; last.To+1 == from {
			last.To = to
			return
		} else if to+1 == last.From {
			last.From = from
			return
		}
	}
	q.settles = append(q.settles, Range{from, to})
}

func (q *Queue) uncount(from, to uint64) {
	if to-from < uint64(len(q.counts)) {
		for s := from; s <= to; s++ {
			delete(q.counts, s)
		}
		return
	}
	for s := range q.counts {
		if s >= from && s <= to {
			delete(q.counts, s)
		}
	}
}

// opFrom returns the position of the first op with a seq of at least seq.
func opFrom(ops []op, seq uint64) int {
	lo, hi := 0, len(ops)
	if hi == 0 || ops[hi-1].m.Seq < seq {
		return hi
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if ops[mid].m.Seq < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Note sets how often a live message has come back.
func (q *Queue) Note(seq uint64, deliveries uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped {
		return
	}
	if i := opFrom(q.pend, seq); i < len(q.pend) && q.pend[i].m.Seq == seq {
		if o := &q.pend[i]; o.state == opWaiting {
			q.s.pending.Add(-int64(o.size))
			o.m.Deliveries = deliveries
			o.size = uint32(recordSize(&o.m))
			q.s.pending.Add(int64(o.size))
		}
		return
	}
	i := opFrom(q.inflight, seq)
	taken := i < len(q.inflight) && q.inflight[i].m.Seq == seq && q.inflight[i].state == opWaiting
	if !taken {
		if _, _, ok := q.index.find(seq); !ok {
			return
		}
	}
	q.notes = append(q.notes, Range{seq, uint64(deliveries)})
	q.count(seq, deliveries)
}

func (q *Queue) count(seq uint64, deliveries uint32) {
	if q.counts == nil {
		q.counts = make(map[uint64]uint32)
	}
	q.counts[seq] = deliveries
}

// Submit hands what was appended to the committer. If the disk has fallen behind it returns a channel that is closed when
// it has caught up: publishers should wait for that, elsewhere than in the queue's runner. Otherwise it returns nil.
func (q *Queue) Submit() (slow <-chan struct{}) {
	q.mu.Lock()
	urgent := len(q.pend) > 0
	add := !q.dirty && !q.dropped && (urgent || len(q.settles) > 0 || len(q.notes) > 0)
	q.dirty = q.dirty || add
	q.mu.Unlock()
	if add || urgent {
		q.s.enqueue(q, add, urgent)
	}
	return q.s.Pressure()
}

// Len returns the number of messages on disk that are not settled.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.index.count
}

// Bytes returns how much of the disk the queue's live messages take.
func (q *Queue) Bytes() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.index.bytes
}

// Last returns the highest number that the store has seen of this queue. The next message's must be higher.
func (q *Queue) Last() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

// An Entry is a live message as a restart finds it.
type Entry struct {
	Seq        uint64
	Expires    int64
	Size       int // of the body, bytes
	Deliveries uint32
	Priority   uint8
	Flags      uint8
}

// Recovered yields the messages that were live when the store was opened, in order, and forgets what only this needs. The
// queue's runner calls it once, before anything is appended.
func (q *Queue) Recovered() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		more := true
		var batch []Entry
		for next := uint64(0); more; {
			batch, next = q.recovered(batch[:0], next)
			for _, e := range batch {
				more = more && yield(e)
			}
			more = more && next != 0
		}
	}
}

// recovered appends the live messages of the first chunk that holds any from next on, and returns where to go on, 0 at
// the end.
func (q *Queue) recovered(dst []Entry, next uint64) ([]Entry, uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	x := &q.index
	for i := x.at(next); i < len(x.chunks); i++ {
		c := x.chunks[i]
		if c == nil {
			continue
		}
		for m := c.live; m != 0 && c.meta != nil; m &= m - 1 {
			k := bits.TrailingZeros64(m)
			s, t := c.slots[k], c.meta[k]
			seq := c.base + uint64(s.delta)
			dst = append(dst, Entry{
				Seq: seq, Expires: t.expires, Size: int(s.size) - recordHeader - int(t.head),
				Deliveries: q.counts[seq], Priority: t.priority, Flags: t.flags,
			})
		}
		c.meta = nil
		return dst, c.last() + 1
	}
	return dst, 0
}

// Drop forgets the queue and all its messages. It returns at once; the space is freed in the background. The queue must
// not be used again, and its number not be given to another one. It may be called instead of the queue's runner once
// that has stopped.
func (q *Queue) Drop() {
	q.mu.Lock()
	if q.dropped {
		q.mu.Unlock()
		return
	}
	q.dropped = true
	pend, chunks := q.pend, q.index.chunks[q.index.head:]
	q.pend, q.base, q.settles, q.notes, q.counts = nil, nil, nil, nil, nil
	q.index = index{}
	parked := q.parked
	q.parked = nil
	q.mu.Unlock()
	q.s.forget(q, chunks)
	for i := range pend {
		q.s.unpend(int64(pend[i].size))
		pend[i].m.release()
	}
	q.s.requeue(parked)
}
