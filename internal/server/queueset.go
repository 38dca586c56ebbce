package server

import "github.com/warrenmq/warren/internal/broker"

// A queueSet is the queues that a connection or a channel has to do with until it ends. Whenever it has doubled, those
// that were deleted meanwhile are dropped: a client that makes and loses queues all day long costs no more than those it
// has.
type queueSet struct {
	queues  map[*broker.Queue]struct{}
	sweepAt int // size at which deleted queues are looked for
}

const queueSetSweep = 64 // the least sweepAt

// add puts q, a queue of v that o may use, into the set.
func (s *queueSet) add(v *broker.VHost, o broker.Owner, q *broker.Queue) {
	if s.queues == nil {
		s.queues = make(map[*broker.Queue]struct{})
	}
	s.queues[q] = struct{}{}
	if len(s.queues) < max(queueSetSweep, s.sweepAt) {
		return
	}
	for q := range s.queues {
		if now, _ := v.Queue(q.Config().Name, o); now != q {
			delete(s.queues, q)
		}
	}
	s.sweepAt = 2 * len(s.queues)
}
