package server

import (
	"sort"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/queue"
)

// unacked are a channel's deliveries that wait for an acknowledgement, in a ring in the order of their tags. Tags of
// deliveries that need none are missing in it: a channel may have any number of those while one delivery waits.
type unacked struct {
	ring []unackedDelivery // power of two long
	head int
	n    int
	left int // not settled; those that are settled out of turn stay until they are at the head
}

type unackedDelivery struct {
	queue  *queue.Queue // nil if settled
	handle queue.Handle
	tag    amqp.DeliveryTag
	at     uint32 // Unix seconds when it was delivered
	got    bool   // by basic.get: it does not count for prefetch
}

func (u *unacked) at(i int) *unackedDelivery { return &u.ring[(u.head+i)&(len(u.ring)-1)] }

// add notes a delivery; its tag is greater than all before.
func (u *unacked) add(d unackedDelivery) {
	u.push(d)
	u.left++
}

// find returns the place of the delivery tagged tag; ok is false if none waits by that tag.
func (u *unacked) find(tag amqp.DeliveryTag) (i int, ok bool) {
	if u.n == 0 || tag < u.at(0).tag || tag > u.at(u.n-1).tag {
		return 0, false
	}
	i = u.n
	if ahead := tag - u.at(0).tag; ahead < amqp.DeliveryTag(u.n) {
		i = int(ahead) // if no tag is missing before it
	}
	if i == u.n || u.at(i).tag != tag {
		i = sort.Search(i, func(i int) bool { return u.at(i).tag >= tag })
	}
	d := u.at(i)
	return i, d.tag == tag && d.queue != nil
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
		d := *old.at(k)
		for ; i < len(list) && list[i].tag < d.tag; i++ {
			u.add(list[i].unackedDelivery)
		}
		if d.queue != nil {
			u.add(d)
		}
	}
	for ; i < len(list); i++ {
		u.add(list[i].unackedDelivery)
	}
}

// take removes the delivery tagged tag, or with multiple all up to it, or with tag 0 all, and calls f with each. It
// returns false if there is none of that tag; then nothing has changed.
func (u *unacked) take(tag amqp.DeliveryTag, multiple bool, f func(d *unackedDelivery)) bool {
	last, ok := u.n-1, multiple
	if tag != 0 {
		last, ok = u.find(tag)
	}
	if !ok {
		return false
	}
	from := last
	if multiple {
		from = 0
	}
	for i := from; i <= last; i++ {
		if d := u.at(i); d.queue != nil {
			f(d)
			d.queue = nil
			u.left--
		}
	}
	for u.n > 0 && u.at(0).queue == nil {
		u.head = (u.head + 1) & (len(u.ring) - 1)
		u.n--
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
	ok := ch.unacked.take(amqp.DeliveryTag(tag), multiple, func(d *unackedDelivery) {
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
		if u := &ch.unacked; u.n > 0 && !ch.ended && now.Unix()-int64(u.at(0).at) > int64(limit/time.Second) {
			late = append(late, ch)
		}
	}
	return late
}
