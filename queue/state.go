package queue

import (
	"fmt"

	"github.com/warrenmq/warren/amqp"
)

// state is a queue's rules: pure, but for the sessions that it asks whether they have room. Times are Unix milliseconds.
type state struct {
	cfg      *Config
	set      Settings
	ready    ready
	unacked  unacked
	arena    arena
	expiries expiries // only with Settings.ExpireAnywhere
	disk     disk

	consumers consumers
	members   map[Session]*member

	seq      uint64
	lastUsed int64 // when a consumer left, a get or a declare came last
	dirty    bool  // messages and consumers may be waiting for each other: pump
	closed   bool
	resting  bool // nothing comes in or goes out any more, see Queue.Rest
	counters Counters
}

// Counters count what went through a queue since it was made.
type Counters struct {
	Published, Delivered, DeliveredNoAck, Got, GotNoAck, GotEmpty, Redelivered, Acked uint64
}

// String names the queue as reply texts do.
func (c *Config) String() string { return fmt.Sprintf("queue '%s' in vhost '%s'", c.Name, c.VHost) }

// An outcome is what became of a publish.
type outcome uint8

const (
	taken   outcome = iota
	refused         // the queue is full
	pending         // taken, and to be confirmed when the message is on disk
)

// publish takes in a message that is borrowed from the publisher.
func (s *state) publish(now int64, m *amqp.Message, out *effects) outcome {
	s.counters.Published++
	if s.dirty {
		s.pump(now, out) // what came before m may make room for it
	}
	if s.set.Overflow != DropHead && s.overflows(m) {
		if s.set.Overflow == RejectPublishDLX && s.set.DeadLetter {
			out.dead = append(out.dead, deadLetter{msg: s.arena.adopt(m), reason: MaxLen, settings: s.set, owned: true})
		}
		return refused
	}
	s.seq++
	it := item{msg: m, seq: s.seq, expires: s.expiry(now, m)}
	result := taken
	if s.total() == 0 {
		if c := s.nextConsumer(out); c != nil {
			if !c.NoAck {
				it.msg = s.arena.adopt(m)
				if s.keeps(m) {
					it.msg.Retain(1)
					s.record(it.msg, &it)
					result = pending
				}
			}
			s.send(c, it, false, out)
			return result
		}
	}
	if s.keeps(m) {
		result = pending
	}
	if s.freezes(m) {
		s.freeze(m, it)
		s.trim(out)
		return result
	}
	it.msg = s.arena.adopt(m)
	if result == pending {
		it.msg.Retain(1)
		s.record(it.msg, &it)
	}
	s.enqueue(it)
	s.trim(out)
	if it.expires != 0 {
		s.expire(now, out)
	}
	return result
}

func (s *state) enqueue(it item) {
	s.ready.push(it)
	s.willExpire(&it)
}

// send delivers it to c. held says that the queue holds a reference to the message, which a delivery that needs no
// acknowledgement gives up.
func (s *state) send(c *Consumer, it item, held bool, out *effects) {
	d := s.delivery(it, c.queue, c.NoAck && held, it.deliveries > 0)
	if c.NoAck {
		s.counters.DeliveredNoAck++
		s.done(&it)
	} else {
		s.counters.Delivered++
		d.Handle = s.unacked.add(it, c.member, c)
		c.unacked++
		c.blocked = c.Prefetch > 0 && c.unacked >= c.Prefetch
	}
	if len(c.batch) == 0 {
		out.touched = append(out.touched, c)
	}
	c.batch = append(c.batch, d)
	c.room -= it.msg.Footprint() + deliverOverhead
	s.consumers.enter(c)
}

// delivery returns it as a session gets it. last says that the queue keeps nothing of it; count, that the client is told
// how often the message came back, if the queue counts.
func (s *state) delivery(it item, q *Queue, last, count bool) Delivery {
	d := Delivery{Message: it.msg, Queue: q, Redelivered: it.redeliver, release: last}
	if it.redeliver {
		s.counters.Redelivered++
	}
	if count && (s.cfg.Quorum || s.set.DeliveryLimit >= 0) {
		if counted := countDelivery(it.msg, it.deliveries); counted != nil {
			if last {
				it.msg.Release(1)
			}
			d.Message, d.release = counted, true
		}
	}
	return d
}

// deliverOverhead is about what framing adds to a delivery, bytes.
const deliverOverhead = 64

// pump brings waiting messages and consumers together.
func (s *state) pump(now int64, out *effects) {
	s.dirty = false
	if s.partial() {
		return // their order shows when all are there
	}
	s.trim(out) // what came back may be too much, and goes though a consumer waits for it, as in RabbitMQ
	for s.ready.n > 0 {
		if p := s.ready.peek(); p.expires != 0 && p.expires <= now {
			s.drop(s.ready.pop(), Expired, out)
			continue
		}
		c := s.nextConsumer(out)
		if c == nil {
			return
		}
		s.send(c, s.ready.pop(), true, out)
	}
}

// overflows reports whether m is over a limit.
func (s *state) overflows(m *amqp.Message) bool {
	return s.set.MaxLength >= 0 && int64(s.total())+1 > s.set.MaxLength ||
		s.set.MaxBytes >= 0 && s.totalBytes()+int64(m.Size) > s.set.MaxBytes
}

// over reports whether there are more messages than a limit allows.
func (s *state) over() bool {
	return s.set.Overflow == DropHead && (s.set.MaxLength >= 0 && int64(s.total()) > s.set.MaxLength ||
		s.set.MaxBytes >= 0 && s.totalBytes() > s.set.MaxBytes)
}

// trim drops messages from the head until the rest is within the limits, if that is how the queue keeps them.
func (s *state) trim(out *effects) {
	for s.ready.n > 0 && !s.partial() && s.over() {
		s.drop(s.ready.pop(), MaxLen, out)
	}
}

// drop lets go of an item and dead-letters it.
func (s *state) drop(it item, why Reason, out *effects) {
	if !s.set.DeadLetter {
		it.msg.Release(1)
		s.done(&it)
		return
	}
	out.dead = append(out.dead, deadLetter{msg: it.msg, reason: why, settings: s.set, owned: true, seq: it.seq, logged: it.logged})
}

// A verdict is how a delivery is settled.
type verdict uint8

const (
	acked verdict = iota
	rejected
	requeued
)

// settle ends a delivery. It does nothing if h was settled before.
func (s *state) settle(h Handle, v verdict, out *effects) {
	d, ok := s.unacked.take(h)
	if !ok {
		return
	}
	switch v {
	case acked:
		s.counters.Acked++
		d.msg.Release(1)
		s.done(&d.item)
	case rejected:
		s.drop(d.item, Rejected, out)
	case requeued:
		if limit := s.set.DeliveryLimit; limit >= 0 && int64(d.deliveries)+1 > limit {
			s.drop(d.item, DeliveryLimits, out)
			break
		}
		s.giveBack(d.item)
	}
	if c := d.consumer; c != nil {
		c.unacked--
		s.unblock(c)
	}
	s.forget(d.member)
}

// giveBack makes an item ready again, in its old place.
func (s *state) giveBack(it item) {
	it.deliveries++
	it.redeliver = true
	if it.logged {
		s.disk.log.Note(it.seq, it.deliveries)
		s.disk.appended = true
	}
	s.ready.restore(it)
	s.willExpire(&it)
	s.dirty = true
}

// finish is called after each batch: whatever the events left to do is done.
func (s *state) finish(now int64, q *Queue, out *effects) {
	if s.resting {
		return
	}
	if s.dirty {
		s.pump(now, out)
		s.expire(now, out)
	}
	if s.disk.cold.n > 0 {
		s.refill(q)
	}
	if s.ready.n == 0 && s.unacked.n == 0 {
		s.arena.rest()
		if len(s.members) == 0 {
			s.ready.rest()
			s.unacked.rest()
		}
	}
}

// get takes the first message for basic.get. If that has to be read first it returns what to wait for.
func (s *state) get(now int64, sess Session, noAck bool, q *Queue, out *effects) (got bool, later <-chan struct{}) {
	s.lastUsed = now
	s.pump(now, out)
	s.expire(now, out)
	if s.ready.n > 0 && !s.partial() {
		it := s.ready.pop()
		s.expire(now, out)                                          // what stood behind it may have waited for its turn
		d := s.delivery(it, q, noAck, it.redeliver || s.cfg.Quorum) // RabbitMQ shows a zero to basic.get only
		if noAck {
			s.counters.GotNoAck++
		} else {
			s.counters.Got++
			d.Handle = s.unacked.add(it, s.member(sess), nil)
		}
		sess.Got(d, noAck, s.total())
		if d.release {
			d.Message.Release(1)
		}
		if noAck {
			s.done(&it)
		}
		return true, nil
	}
	if s.disk.cold.n > 0 {
		if s.disk.loaded == nil {
			s.disk.loaded = make(chan struct{})
		}
		return false, s.disk.loaded
	}
	s.counters.GotEmpty++
	return false, nil
}

// purge drops all ready messages and returns how many they were.
func (s *state) purge() int {
	n := s.total()
	for s.ready.n > 0 {
		it := s.ready.pop()
		it.msg.Release(1)
		s.done(&it)
	}
	s.purgeCold()
	s.expiries = nil
	return n
}

// close drops everything and returns the consumers, which are to be told.
func (s *state) close() []*Consumer {
	s.purge()
	if s.disk.log != nil {
		s.disk.log.Drop()
	}
	if c := s.disk.cache; c != nil {
		c.used.Add(-s.disk.counted)
	}
	s.disk = disk{}
	for _, m := range s.members {
		for _, h := range s.unacked.handles(m) {
			if d, ok := s.unacked.take(h); ok {
				d.msg.Release(1)
			}
		}
	}
	s.arena.rest()
	s.closed = true
	s.members = nil
	all := s.consumers.all
	s.consumers = consumers{}
	return all
}
