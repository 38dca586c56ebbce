package queue

import (
	"iter"
	"sync/atomic"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/store"
)

// A Log is where a queue keeps messages on disk: a *store.Queue, or in time a mirrored one. Message, Settle, Note and
// Submit are called by the queue's runner and return at once.
type Log interface {
	// Handle sets who is told what became of the messages.
	Handle(h store.Handler, f store.Flush)
	// Last returns the highest number in use, Recovered the messages that were there at the start.
	Last() uint64
	Recovered() iter.Seq[store.Entry]

	Message(m *store.Message)
	Settle(from, to uint64)
	Note(seq uint64, deliveries uint32)
	Submit() (slow <-chan struct{})

	// Read calls done, on another goroutine, with the live messages numbered from from to to, in order, as far as they fit
	// in maxBytes.
	Read(from, to uint64, maxBytes int, done func([]store.Message, error))
	// Bytes returns how much of the disk the live messages take.
	Bytes() int64
	Drop()
}

const (
	flagTransient = 1 // the message is on disk only for want of memory: a restart drops it
	flagHidden    = 2 // behind the address are the keys of a BCC header
)

// Storage is where a queue can keep messages. The zero value is nowhere: all is in memory.
type Storage struct {
	// Open opens the queue's log; it is called once, when the queue has something for it.
	Open func() Log
	// Recovered says that the log has messages of the queue from before.
	Recovered bool
	Cache     *Cache
}

// A Cache bounds the memory that the waiting messages of all queues take together. When it is full, a queue keeps only
// the messages at its head in memory.
type Cache struct {
	Limit int64 // bytes
	used  atomic.Int64
}

// Tests make these small; nothing else changes them.
var (
	hotMin    int64 = 64 << 10  // bytes at a queue's head that are kept in memory however full the cache is
	hotMax    int64 = 4 << 20   // bytes at a queue's head beyond which persistent messages are left on disk however empty the cache is
	loadBytes       = 512 << 10 // read at a time
)

const itemOverhead = 192 // bytes that a waiting message takes beside its data, about

// disk is what a queue has on disk, and what it waits for from there.
//
// A queue's ready messages are a hot part, in memory, and behind it a cold part, of which only the extent is known here:
// all of it is in the log, in order. While there is a cold part new messages join it; when the hot part runs low, the
// beginning of the cold part is read.
type disk struct {
	log      Log        // nil until it is needed
	open     func() Log // nil if there is none
	cache    *Cache
	whole    bool // all is kept in memory; see state.whole
	counted  int64
	pending  []pendingConfirm // by seq
	head     int              // of pending
	appended bool             // something is to be submitted

	settleFrom, settleTo uint64 // settled and not yet said so; none if settleTo is 0

	cold       extent
	loading    bool
	generation int               // of cold: what was asked for before a purge does not count
	expires    bool              // something in cold may expire
	counts     map[uint64]uint32 // deliveries of messages in cold, as a restart found them
	answered   uint64            // the log has said of messages up to here what became of them
	loaded     chan struct{}     // made by a get that waits for the head, closed when it is there
}

type extent struct {
	first, last uint64
	n           int
	bytes       int64 // of bodies
}

type pendingConfirm struct {
	seq uint64 // of the message in the queue
	to  Publisher
	pub uint64 // the publisher's number
}

// total and totalBytes are what is ready, in memory or not.
func (s *state) total() int { return s.ready.n + s.disk.cold.n }

func (s *state) totalBytes() int64 { return s.ready.bytes + s.disk.cold.bytes }

// hot returns the memory that the ready messages take, about.
func (s *state) hot() int64 { return s.ready.memory + int64(s.ready.n)*itemOverhead }

// keeps reports whether m must be in the log before it is confirmed.
func (s *state) keeps(m *amqp.Message) bool {
	return m.Persistent && s.cfg.Durable && s.disk.open != nil
}

// freezes reports whether a new message goes to the cold part.
func (s *state) freezes(m *amqp.Message) bool {
	d := &s.disk
	if d.cold.n > 0 {
		return !d.whole
	}
	hot := s.hot()
	// What is in the log anyway costs nothing to leave there; what is not would have to be written.
	return d.open != nil && !d.whole && hot >= hotMin &&
		(hot >= hotMax && s.keeps(m) || d.cache.used.Load() >= d.cache.Limit)
}

// record appends m to the log, which gets the reference that the caller gives up.
func (s *state) record(m *amqp.Message, it *item) {
	rec := store.Message{Seq: it.seq, Expires: it.expires, Priority: m.Priority, Address: m.Address, Props: m.Header,
		Body: m.Body, More: m.More(), Holder: m}
	if !m.Persistent || !s.cfg.Durable {
		rec.Flags = flagTransient
	}
	if keys := m.HiddenKeys(); len(keys) > 0 {
		rec.Address = packKeys(m.Address, keys)
		rec.Flags |= flagHidden
	}
	if s.disk.log == nil {
		s.disk.log = s.disk.open()
	}
	s.disk.log.Message(&rec)
	s.disk.appended = true
	it.logged = true
}

// freeze puts a message that is borrowed at the end of the cold part.
func (s *state) freeze(m *amqp.Message, it item) {
	s.record(s.arena.adopt(m), &it)
	c := &s.disk.cold
	if c.n == 0 {
		c.first = it.seq
	}
	c.last = it.seq
	c.n++
	c.bytes += int64(m.Size)
	s.disk.expires = s.disk.expires || it.expires != 0
}

// done says to the log that a message that was in it is no more.
func (s *state) done(it *item) {
	if !it.logged {
		return
	}
	d := &s.disk
	if d.settleTo != 0 && it.seq == d.settleTo+1 {
		d.settleTo = it.seq
		return
	}
	d.saySettled()
	d.settleFrom, d.settleTo = it.seq, it.seq
}

func (d *disk) saySettled() {
	if d.settleTo != 0 {
		d.log.Settle(d.settleFrom, d.settleTo)
		d.settleTo = 0
		d.appended = true
	}
}

// submit hands over to the log what the batch had for it, and returns what publishers should wait for if the disk has
// fallen behind.
func (s *state) submit() (slow <-chan struct{}) {
	d := &s.disk
	if d.cache != nil {
		if hot := s.hot(); hot != d.counted {
			d.cache.used.Add(hot - d.counted)
			d.counted = hot
		}
	}
	if d.log == nil {
		return nil
	}
	d.saySettled()
	if d.appended {
		d.appended = false
		slow = d.log.Submit()
	}
	return slow
}

// durable confirms the publishes whose messages are on disk, or refuses those that did not get there.
func (s *state) durable(upTo uint64, ok bool, out *effects) {
	d := &s.disk
	if !ok {
		d.failed(max(d.answered+1, d.cold.first), min(upTo, d.cold.last))
	}
	d.answered = max(d.answered, upTo)
	for d.head < len(d.pending) && d.pending[d.head].seq <= upTo {
		p := &d.pending[d.head]
		out.confirms = append(out.confirms, confirm{p.to, p.pub, ok})
		*p = pendingConfirm{}
		d.head++
	}
	switch {
	case d.head == len(d.pending):
		d.pending, d.head = trimmed(d.pending), 0
	case d.head > 1024 && d.head > len(d.pending)/2:
		d.pending = d.pending[:copy(d.pending, d.pending[d.head:])]
		d.head = 0
	}
}

// failed takes messages off the cold part that did not get to the disk. The cold part has all new messages from its first to
// its last; how long those were is not known any more, and taken for the average.
func (d *disk) failed(from, to uint64) {
	c := &d.cold
	if c.n == 0 || from > to {
		return
	}
	n := min(int(to-from+1), c.n)
	c.bytes -= c.bytes / int64(c.n) * int64(n)
	c.n -= n
	if c.n == 0 {
		*c, d.expires = extent{}, false
	}
	d.unread()
}

// unread forgets what is being read from the cold part: it may have changed.
func (d *disk) unread() {
	d.loading = false
	d.generation++
	if d.loaded != nil {
		close(d.loaded)
		d.loaded = nil
	}
}

// refill has the beginning of the cold part read, if somebody may want it soon.
func (s *state) refill(q *Queue) {
	d := &s.disk
	if d.cold.n == 0 || d.loading || !d.whole && s.hot() > int64(loadBytes) {
		return
	}
	if !d.whole && len(s.consumers.all) == 0 && d.loaded == nil && !(s.ready.n == 0 && (d.expires || s.over())) {
		return
	}
	d.loading = true
	generation := d.generation
	d.log.Read(d.cold.first, d.cold.last, loadBytes, func(list []store.Message, err error) {
		if err != nil {
			return // the node stops
		}
		q.Post(Event{kind: kindCall, call: &call{
			f:    func(int64) { q.state.thaw(list, generation, q) },
			gone: func() { release(list) },
		}})
	})
}

// thaw moves messages that were read from the cold part to the hot one.
func (s *state) thaw(list []store.Message, generation int, q *Queue) {
	d := &s.disk
	if generation != d.generation {
		release(list)
		return
	}
	d.loading = false
	lost := 0
	for i := range list {
		m := &list[i]
		d.cold.n--
		d.cold.first = m.Seq + 1
		if n := d.counts[m.Seq]; n > 0 {
			m.Deliveries = n
		}
		it := item{seq: m.Seq, expires: m.Expires, deliveries: m.Deliveries, redeliver: m.Deliveries > 0, logged: true}
		if m.Err == nil {
			var keys []string
			if m.Flags&flagHidden != 0 {
				m.Address, keys = unpackKeys(m.Address)
			}
			if it.msg, m.Err = amqp.Restore(m.Holder.(*amqp.Buffer), m.Address, m.Props, m.Body); m.Err == nil && keys != nil {
				it.msg.Hide(keys)
			}
		}
		if m.Err != nil {
			release(list[i : i+1])
			lost++
			s.done(&it)
			continue
		}
		d.cold.bytes -= int64(it.msg.Size)
		if d.whole {
			s.ready.restore(it) // newer ones may be there already
			s.willExpire(&it)
		} else {
			s.enqueue(it)
		}
	}
	if len(list) == 0 && d.cold.n > 0 {
		lost += d.cold.n // the log has no more of them
		d.cold.n = 0
	}
	if d.cold.n <= 0 {
		d.cold, d.expires, d.counts = extent{}, false, nil
		d.whole = s.whole()
	}
	if lost > 0 {
		q.owner.Lost(q, lost)
	}
	if d.loaded != nil {
		close(d.loaded)
		d.loaded = nil
	}
	s.dirty = true
}

// release gives up messages that were read.
func release(list []store.Message) {
	for i := range list {
		if h := list[i].Holder; h != nil {
			h.Release(1)
		}
	}
}

// whole reports whether all messages must be in memory: the order is not that of arrival, or they go from the middle.
func (s *state) whole() bool { return s.cfg.MaxPriority > 0 || s.set.ExpireAnywhere }

// partial reports whether messages are still being read without which the order does not show.
func (s *state) partial() bool { return s.disk.whole && s.disk.cold.n > 0 }

// recover takes over what the log had at the start.
func (s *state) recover() {
	d := &s.disk
	s.seq = d.log.Last()
	d.answered = s.seq
	for e := range d.log.Recovered() {
		if e.Flags&flagTransient != 0 {
			s.done(&item{seq: e.Seq, logged: true})
			continue
		}
		if d.cold.n == 0 {
			d.cold.first = e.Seq
		}
		d.cold.last = e.Seq
		d.cold.n++
		d.cold.bytes += int64(e.Size)
		d.expires = d.expires || e.Expires != 0
		if e.Deliveries > 0 {
			if d.counts == nil {
				d.counts = make(map[uint64]uint32)
			}
			d.counts[e.Seq] = e.Deliveries
		}
	}
	d.saySettled() // before any of them is read
}

// purgeCold drops the cold part.
func (s *state) purgeCold() {
	d := &s.disk
	if d.cold.n > 0 {
		d.saySettled()
		d.log.Settle(d.cold.first, d.cold.last)
		d.appended = true
	}
	d.cold, d.expires, d.counts = extent{}, false, nil
	d.unread()
}

// handler passes what the log says to the queue's inbox: it is called by the log's committer.
type handler struct{ q *Queue }

// Durable implements store.Handler.
func (h handler) Durable(upTo uint64) { h.q.Post(Event{kind: kindDurable, seq: upTo}) }

// Failed implements store.Handler.
func (h handler) Failed(upTo uint64, err error) { h.q.Post(Event{kind: kindFailed, seq: upTo}) }
