package server

import (
	"unsafe"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/queue"
)

// Deliver implements queue.Session: it numbers and encodes a batch.
func (ch *channel) Deliver(qc *queue.Consumer, batch []queue.Delivery) {
	c := ch.conn
	cons := qc.Data.(*consumer)
	out := &c.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if ch.ended || out.dead {
		return // the queue gets them back when the channel leaves it
	}
	out.ready()
	now := c.srv.seconds()
	for i := range batch {
		d := &batch[i]
		ch.tags++
		if !qc.NoAck {
			ch.unacked.add(unackedDelivery{queue: d.Queue, handle: d.Handle, tag: ch.tags, at: now})
		}
		out.buf = amqp.AppendDeliver(out.buf, cons.head, ch.tags, d.Redelivered, d.Message.Address)
		out.content(c, ch.id, d.Message)
	}
	out.wake(c)
}

// Got implements queue.Session.
func (ch *channel) Got(d queue.Delivery, noAck bool, ready int) {
	c := ch.conn
	out := &c.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if ch.ended || out.dead {
		return
	}
	out.ready()
	ch.tags++
	if !noAck {
		ch.unacked.add(unackedDelivery{queue: d.Queue, handle: d.Handle, tag: ch.tags, at: c.srv.seconds(), got: true})
	}
	out.buf = amqp.AppendGetOK(out.buf, ch.id, ch.tags, d.Redelivered, d.Message.Address, uint32(ready))
	out.content(c, ch.id, d.Message)
	out.wake(c)
}

// Room implements queue.Session.
func (ch *channel) Room(qc *queue.Consumer) int {
	return ch.conn.out.room(ch.conn.srv.opt.OutboxMax, qc.Queue())
}

// Acquire implements queue.Session.
func (ch *channel) Acquire(qc *queue.Consumer) bool {
	out := &ch.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	s := &ch.shared
	if s.limit == 0 || s.used < s.limit {
		s.used++
		return true
	}
	for _, q := range s.starved {
		if q == qc.Queue() {
			return false
		}
	}
	s.starved = append(s.starved, qc.Queue())
	return false
}

// Cancelled implements queue.Session: the queue is gone.
func (ch *channel) Cancelled(qc *queue.Consumer) {
	c := ch.conn
	out := &c.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if ch.ended || out.dead {
		return
	}
	if cons := ch.consumers[qc.Tag]; cons == nil || &cons.Consumer != qc {
		return // the client has cancelled it meanwhile; the tag may be another's now
	}
	delete(ch.consumers, qc.Tag)
	if c.canCancel {
		out.ready()
		out.buf = amqp.AppendMethod(out.buf, ch.id, &amqp.BasicCancel{ConsumerTag: qc.Tag, NoWait: true})
		out.wake(c)
	}
}

var _ queue.Session = (*channel)(nil)

// view returns b as a string without copying; it is valid as long as b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
