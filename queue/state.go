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

	consumers consumers
	members   map[Session]*member

	seq      uint64
	lastUsed int64 // when a consumer left, a get or a declare came last
	dirty    bool  // messages and consumers may be waiting for each other: pump
	closed   bool
	counters Counters
}

// Counters count what went through a queue since it was made.
type Counters struct {
	Published, Delivered, DeliveredNoAck, Got, GotNoAck, GotEmpty, Redelivered, Acked uint64
}

// String names the queue as reply texts do.
func (c *Config) String() string { return fmt.Sprintf("queue '%s' in vhost '%s'", c.Name, c.VHost) }

// publish takes in a message that is borrowed from the publisher.
func (s *state) publish(now int64, m *amqp.Message, out *effects) (ok bool) {
	s.counters.Published++
	if s.set.Overflow != DropHead && s.overflows(m) {
		if s.set.Overflow == RejectPublishDLX {
			out.dead = append(out.dead, deadLetter{msg: s.arena.adopt(m), reason: MaxLen, settings: s.set, owned: true})
		}
		return false
	}
	if s.dirty {
		s.pump(now, out)
	}
	s.seq++
	it := item{msg: m, seq: s.seq, expires: s.expiry(now, m)}
	if s.ready.n == 0 {
		if c := s.nextConsumer(out); c != nil {
			if !c.NoAck {
				it.msg = s.arena.adopt(m)
			}
			s.send(c, it, false, out)
			return true
		}
	}
	it.msg = s.arena.adopt(m)
	s.enqueue(it)
	s.trim(out)
	if it.expires != 0 {
		s.expire(now, out)
	}
	return true
}

func (s *state) enqueue(it item) {
	s.ready.push(it)
	if it.expires != 0 && s.set.ExpireAnywhere {
		s.expiries.push(it.expires, it.seq)
	}
}

// send delivers it to c. ownsNoAck says that a delivery without acknowledgement gives up a reference of the queue's.
func (s *state) send(c *Consumer, it item, ownsNoAck bool, out *effects) {
	d := Delivery{Message: it.msg, Queue: c.queue, Redelivered: it.redeliver}
	if it.redeliver {
		s.counters.Redelivered++
	}
	if c.NoAck {
		s.counters.DeliveredNoAck++
		if ownsNoAck {
			d.Handle = owned
		}
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

// deliverOverhead is about what framing adds to a delivery, bytes.
const deliverOverhead = 64

// pump brings waiting messages and consumers together.
func (s *state) pump(now int64, out *effects) {
	s.dirty = false
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
	if s.unacked.n == 0 {
		s.arena.rest()
	}
}

// overflows reports whether m is over a limit.
func (s *state) overflows(m *amqp.Message) bool {
	return s.set.MaxLength >= 0 && int64(s.ready.n)+1 > s.set.MaxLength ||
		s.set.MaxBytes >= 0 && s.ready.bytes+int64(m.Size) > s.set.MaxBytes
}

// trim drops messages from the head until the rest is within the limits, if that is how the queue keeps them.
func (s *state) trim(out *effects) {
	if s.set.Overflow != DropHead {
		return
	}
	for s.ready.n > 0 && (s.set.MaxLength >= 0 && int64(s.ready.n) > s.set.MaxLength ||
		s.set.MaxBytes >= 0 && s.ready.bytes > s.set.MaxBytes) {
		s.drop(s.ready.pop(), MaxLen, out)
	}
}

// drop lets go of an item and dead-letters it.
func (s *state) drop(it item, why Reason, out *effects) {
	out.dead = append(out.dead, deadLetter{msg: it.msg, reason: why, settings: s.set, owned: true})
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
	if s.set.DeliveryLimit >= 0 || s.cfg.Quorum {
		it.msg = countDelivery(it.msg, it.deliveries)
	}
	s.ready.restore(it)
	if it.expires != 0 && s.set.ExpireAnywhere {
		s.expiries.push(it.expires, it.seq)
	}
	s.dirty = true
}

// finish is called after each batch: whatever the events left to do is done.
func (s *state) finish(now int64, out *effects) {
	if s.dirty {
		s.pump(now, out)
		s.trim(out)
		s.expire(now, out)
	}
}

// get takes the first message for basic.get.
func (s *state) get(now int64, sess Session, noAck bool, q *Queue, out *effects) bool {
	s.lastUsed = now
	s.pump(now, out)
	s.expire(now, out)
	for s.ready.n > 0 {
		it := s.ready.pop()
		if it.expires != 0 && it.expires <= now {
			s.drop(it, Expired, out)
			continue
		}
		d := Delivery{Message: it.msg, Queue: q, Redelivered: it.redeliver}
		if it.redeliver {
			s.counters.Redelivered++
		}
		if noAck {
			s.counters.GotNoAck++
		} else {
			s.counters.Got++
			d.Handle = s.unacked.add(it, s.member(sess), nil)
		}
		sess.Got(d, noAck, s.ready.n)
		if noAck {
			it.msg.Release(1)
		}
		return true
	}
	s.counters.GotEmpty++
	return false
}

// purge drops all ready messages and returns how many they were.
func (s *state) purge() int {
	n := s.ready.n
	for s.ready.n > 0 {
		it := s.ready.pop()
		it.msg.Release(1)
	}
	s.expiries = nil
	if s.unacked.n == 0 {
		s.arena.rest()
	}
	return n
}

// close drops everything and returns the consumers, which are to be told.
func (s *state) close() []*Consumer {
	s.purge()
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
