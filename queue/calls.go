package queue

import (
	"math"

	"github.com/warrenmq/warren/amqp"
)

// errGone is what calls to a deleted queue get.
func (q *Queue) errGone() error {
	return amqp.Errorf(amqp.NotFound, "no %s", &q.cfg)
}

// Stats is a look at a queue.
type Stats struct {
	Ready, Unacked, Consumers int
	ReadyBytes, UnackedBytes  int64
	Counters                  Counters
	ActiveTag                 string // of the single active consumer, if the queue has one
	ExclusiveTag              string // of the exclusive consumer
	Settings                  Settings
	DiskBytes                 int64 // that the queue's messages take in the log
}

// Stats looks at the queue; ok is false if it is deleted.
func (q *Queue) Stats() (st Stats, ok bool) {
	ok = q.do(func(int64) { st = q.state.stats() })
	return st, ok
}

func (s *state) stats() Stats {
	st := Stats{
		Ready: s.total(), ReadyBytes: s.totalBytes(), Unacked: s.unacked.n, UnackedBytes: s.unacked.bytes,
		Consumers: len(s.consumers.all), Counters: s.counters, Settings: s.set,
	}
	if s.disk.log != nil {
		st.DiskBytes = s.disk.log.Bytes()
	}
	if c := s.consumers.active; c != nil && s.cfg.SingleActive {
		st.ActiveTag = c.Tag
	}
	if len(s.consumers.all) > 0 && s.consumers.all[0].Exclusive {
		st.ExclusiveTag = s.consumers.all[0].Tag
	}
	return st
}

// Touch tells the queue that it was declared again, which x-expires counts as use, and looks at it.
func (q *Queue) Touch() (st Stats, ok bool) {
	ok = q.do(func(now int64) {
		q.state.lastUsed = now
		st = q.state.stats()
	})
	return st, ok
}

// Consume adds c, once started has run: what started sends to the client precedes the first delivery. The error is for
// the client.
func (q *Queue) Consume(c *Consumer, started func()) error {
	c.queue = q
	var err error
	if !q.do(func(int64) {
		if err = q.state.consume(c); err == nil {
			started()
		}
	}) {
		return q.errGone()
	}
	return err
}

// Cancel removes c; no delivery to it begins afterwards. last says that it was the queue's last consumer.
func (q *Queue) Cancel(c *Consumer) (last bool) {
	q.do(func(now int64) { last = q.state.cancel(now, c) })
	return last
}

// Leave ends a session's use of the queue: its consumers go, and its unsettled deliveries are ready again. last says
// that it took away the queue's last consumer.
func (q *Queue) Leave(sess Session) (last bool) {
	q.do(func(now int64) { last = q.state.leave(now, sess, &q.work.out) })
	return last
}

// Recover makes all that sess has not settled ready again.
func (q *Queue) Recover(sess Session) {
	q.do(func(int64) {
		s := &q.state
		m := s.members[sess]
		if m == nil {
			return
		}
		for _, h := range s.unacked.handles(m) {
			s.settle(h, requeued, &q.work.out)
		}
	})
}

// Get passes the first message to sess.Got; it returns false if there is none. With noAck the message is gone.
func (q *Queue) Get(sess Session, noAck bool) (got bool, err error) {
	for {
		var later <-chan struct{}
		if !q.do(func(now int64) { got, later = q.state.get(now, sess, noAck, q, &q.work.out) }) {
			return false, q.errGone()
		}
		if later == nil {
			return got, nil
		}
		<-later
	}
}

// Purge drops the ready messages and returns how many.
func (q *Queue) Purge() (n int, err error) {
	if !q.do(func(int64) { n = q.state.purge() }) {
		return 0, q.errGone()
	}
	return n, nil
}

// Set changes the settings of the running queue. A TTL is for messages to come; a time to expire begins now; all else holds
// at once, and for messages that are there.
func (q *Queue) Set(set Settings) {
	q.do(func(now int64) {
		s := &q.state
		if set.Expires != s.set.Expires {
			s.lastUsed = now
		}
		if set.Flush != s.set.Flush && s.disk.log != nil {
			s.disk.log.Handle(handler{q}, set.Flush)
		}
		anywhere := s.set.ExpireAnywhere
		s.set = set
		if s.whole() || s.disk.cold.n == 0 {
			s.disk.whole = s.whole() // otherwise it is read to its end first
		}
		if set.ExpireAnywhere != anywhere {
			s.indexExpiries()
		}
		s.trim(&q.work.out)
	})
}

// Resume lets blocked consumers try again: a session calls it when it has room after having had none.
func (q *Queue) Resume() { q.Submit([]Event{Resumed()}) }

// Delete ends the queue unless a condition forbids it: then the error is for the client, and nothing has changed. It
// returns the number of ready messages that are gone. The consumers are told through their sessions.
func (q *Queue) Delete(ifUnused, ifEmpty bool) (n int, err error) {
	if !q.do(func(int64) {
		s := &q.state
		switch {
		case ifUnused && len(s.consumers.all) > 0:
			err = amqp.Errorf(amqp.PreconditionFailed, "%s in use", &q.cfg)
			return
		case ifEmpty && s.total() > 0:
			err = amqp.Errorf(amqp.PreconditionFailed, "%s not empty", &q.cfg)
			return
		}
		n = s.total()
		s.durable(math.MaxUint64, true, &q.work.out) // gone with the queue, as if consumed
		q.work.out.gone = s.close()
		q.mu.Lock()
		q.closed = true
		if q.timer != nil {
			q.timer.Stop()
		}
		q.mu.Unlock()
	}) {
		return 0, q.errGone()
	}
	return n, err
}

// Rest has the queue neither take nor deliver nor drop a message from now on: the node stops. It still hears what became of
// those that are on their way to the disk or, as dead letters, to another queue.
func (q *Queue) Rest() {
	q.do(func(int64) { q.state.resting = true })
	q.do(func(int64) {}) // the effects of what came before are out
}

// Stop ends the queue in memory and leaves what it has on disk: the node stops. Nothing is delivered or confirmed after it.
func (q *Queue) Stop() {
	q.do(func(int64) {
		q.state.closed = true
		q.mu.Lock()
		q.closed, q.stopped = true, true
		if q.timer != nil {
			q.timer.Stop()
		}
		q.mu.Unlock()
	})
}
