package queue

import "github.com/warrenmq/warren/amqp"

// effects is what a batch of events does to the world outside the queue. It is handed over when the batch is through.
type effects struct {
	touched  []*Consumer // those with deliveries in their batch
	confirms []confirm
	dead     []deadLetter
	gone     []*Consumer // to be told that the queue is gone
	expired  bool        // nobody used the queue for as long as x-expires says
	seqs     []uint64    // scratch
}

type confirm struct {
	to  Publisher
	seq uint64
	ok  bool
}

type deadLetter struct {
	msg      *amqp.Message
	reason   Reason
	settings Settings // at the time
	owned    bool     // a reference is to be released afterwards
	logged   bool     // seq is in the log until the letter is where it goes to
	seq      uint64
}

// flushConsumer hands c's batch to its session and lets go of what the session has copied.
func flushConsumer(c *Consumer) {
	if len(c.batch) == 0 {
		return
	}
	c.Session.Deliver(c, c.batch)
	for i := range c.batch {
		d := &c.batch[i]
		if d.release {
			d.Message.Release(1)
		}
		d.Message = nil
	}
	c.batch = c.batch[:0]
	if cap(c.batch) > 4096 {
		c.batch = nil
	}
}

func (out *effects) flushDeliveries() {
	for i, c := range out.touched {
		flushConsumer(c)
		out.touched[i] = nil
	}
	out.touched = out.touched[:0]
}

// trimmed returns s without its elements, and without its memory if that is large: one batch in a million expires, or
// confirms, as much at once.
func trimmed[T any](s []T) []T {
	if cap(s) > 1<<14 {
		return nil
	}
	return s[:0]
}

func (out *effects) flush(q *Queue) {
	out.flushDeliveries()
	for i := 0; i < len(out.confirms); {
		first := out.confirms[i]
		out.seqs = out.seqs[:0]
		for i < len(out.confirms) && out.confirms[i].to == first.to && out.confirms[i].ok == first.ok {
			out.seqs = append(out.seqs, out.confirms[i].seq)
			out.confirms[i].to = nil
			i++
		}
		first.to.Confirmed(out.seqs, first.ok)
	}
	out.confirms = trimmed(out.confirms)
	for i := range out.dead {
		d := &out.dead[i]
		if d.settings.DeadLetter {
			var arrived func()
			if d.logged {
				arrived = q.arrived(d.seq)
			}
			q.owner.DeadLetter(q, &d.settings, d.msg, d.reason, arrived)
		}
		if d.owned {
			d.msg.Release(1)
		}
		*d = deadLetter{}
	}
	out.dead = trimmed(out.dead)
	for _, c := range out.gone {
		c.Session.Cancelled(c)
	}
	out.gone = nil
	if out.expired {
		out.expired = false
		q.owner.Expired(q)
	}
}
