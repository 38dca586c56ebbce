package server

import (
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/queue"
)

// unacked are a channel's deliveries that wait for an acknowledgement, in the order of their tags: a ring in which the
// place of a tag follows from the first one's.
type unacked struct {
	ring  []unackedDelivery // power of two long
	head  int
	n     int
	first amqp.DeliveryTag // of the delivery at head
	left  int              // not settled; those that are settled out of turn stay until they are at the head
}

type unackedDelivery struct {
	queue  *queue.Queue // nil if settled
	handle queue.Handle
	at     int64 // Unix seconds when it was delivered
	got    bool  // by basic.get: it does not count for prefetch
}

func (u *unacked) at(i int) *unackedDelivery { return &u.ring[(u.head+i)&(len(u.ring)-1)] }

// add notes a delivery; its tag is greater than all before. Tags of deliveries that need no acknowledgement leave gaps.
func (u *unacked) add(tag amqp.DeliveryTag, d unackedDelivery) {
	if u.n == 0 {
		u.first = tag
	}
	for u.first+amqp.DeliveryTag(u.n) < tag {
		u.push(unackedDelivery{})
	}
	u.push(d)
	u.left++
}

func (u *unacked) push(d unackedDelivery) {
	if u.n == len(u.ring) {
		ring := make([]unackedDelivery, max(8, 2*len(u.ring)))
		for i := range u.n {
			ring[i] = *u.at(i)
		}
		u.ring, u.head = ring, 0
	}
	*u.at(u.n) = d
	u.n++
}

// putBack returns settlements that a rollback undoes to their places.
func (u *unacked) putBack(list []txSettle) {
	if len(list) == 0 {
		return
	}
	old := *u
	*u = unacked{}
	i := 0
	for k := range old.n {
		tag, d := old.first+amqp.DeliveryTag(k), *old.at(k)
		for ; i < len(list) && list[i].tag < tag; i++ {
			u.add(list[i].tag, list[i].unackedDelivery)
		}
		if d.queue != nil {
			u.add(tag, d)
		}
	}
	for ; i < len(list); i++ {
		u.add(list[i].tag, list[i].unackedDelivery)
	}
}

// take removes the delivery tagged tag, or with multiple all up to it, or with tag 0 all, and calls f with each. It
// returns false if there is none of that tag; then nothing has changed.
func (u *unacked) take(tag amqp.DeliveryTag, multiple bool, f func(tag amqp.DeliveryTag, d *unackedDelivery)) bool {
	if tag == 0 {
		if !multiple {
			return false
		}
		if u.n == 0 {
			return true
		}
		tag = u.first + amqp.DeliveryTag(u.n) - 1
	} else if tag < u.first || tag >= u.first+amqp.DeliveryTag(u.n) || u.at(int(tag-u.first)).queue == nil {
		return false
	}
	last := int(tag - u.first)
	from := last
	if multiple {
		from = 0
	}
	for i := from; i <= last; i++ {
		if d := u.at(i); d.queue != nil {
			f(u.first+amqp.DeliveryTag(i), d)
			*d = unackedDelivery{}
			u.left--
		}
	}
	for u.n > 0 && u.at(0).queue == nil {
		u.head = (u.head + 1) & (len(u.ring) - 1)
		u.n--
		u.first++
	}
	if u.n == 0 && len(u.ring) > 1024 {
		u.ring, u.head = nil, 0
	}
	return true
}

// settle handles basic.ack, basic.nack and basic.reject.
func (ch *channel) settle(id amqp.MethodID, tag uint64, multiple, requeue bool) error {
	if ch.mode == transactional {
		return ch.tx.settle(ch, id, tag, multiple, requeue)
	}
	out := &ch.conn.out
	var starved []*queue.Queue
	out.mu.Lock()
	ok := ch.unacked.take(amqp.DeliveryTag(tag), multiple, func(_ amqp.DeliveryTag, d *unackedDelivery) {
		ch.release(d)
		ch.conn.add(d.queue, event(id, d.handle, requeue))
	})
	if ch.shared.limit > 0 && ch.shared.used < ch.shared.limit {
		starved, ch.shared.starved = ch.shared.starved, nil
	}
	out.mu.Unlock()
	if !ok {
		return &amqp.Error{Code: amqp.PreconditionFailed, Text: amqp.Errorf(0, "unknown delivery tag %d", tag).Text, Method: id}
	}
	for _, q := range starved {
		ch.conn.add(q, queue.Resumed())
	}
	return nil
}

// release gives back a delivery's place in the shared prefetch. conn.out.mu is held.
func (ch *channel) release(d *unackedDelivery) {
	if !d.got {
		ch.shared.used--
	}
}

// event returns what a settlement means to the queue.
func event(id amqp.MethodID, h queue.Handle, requeue bool) queue.Event {
	if id == amqp.IDBasicAck {
		return queue.Ack(h)
	}
	return queue.Reject(h, requeue)
}

// overdue returns the channels with a delivery that was not acknowledged for longer than limit.
func (o *outbox) overdue(c *conn, now time.Time, limit time.Duration) []*channel {
	o.mu.Lock()
	defer o.mu.Unlock()
	var late []*channel
	for _, ch := range c.channels {
		if u := &ch.unacked; u.n > 0 && !ch.ended && now.Unix()-u.at(0).at > int64(limit/time.Second) {
			late = append(late, ch)
		}
	}
	return late
}
