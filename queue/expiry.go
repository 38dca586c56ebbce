package queue

import (
	"container/heap"

	"github.com/warrenmq/warren/amqp"
)

// expiry returns when m's time is up: the earlier of the queue's and its own, 0 for never.
func (s *state) expiry(now int64, m *amqp.Message) int64 {
	ttl := m.Expiration
	if s.set.TTL >= 0 {
		if q := s.set.TTL.Milliseconds(); ttl < 0 || q < ttl {
			ttl = q
		}
	}
	if ttl < 0 {
		return 0
	}
	return now + ttl
}

// expire drops messages whose time is up: those at the head, or wherever they stand if the settings say so.
func (s *state) expire(now int64, out *effects) {
	for s.ready.n > 0 {
		p := s.ready.peek()
		if p.expires == 0 || p.expires > now {
			break
		}
		s.drop(s.ready.pop(), Expired, out)
	}
	for len(s.expiries) > 0 && s.expiries[0].at <= now {
		e := heap.Pop(&s.expiries).(expiryEntry)
		if it, ok := s.ready.remove(e.seq); ok {
			s.drop(it, Expired, out)
		}
	}
}

// deadline returns when the queue must look at the clock again, 0 if it need not.
func (s *state) deadline() int64 {
	var at int64
	sooner := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	if p := s.ready.peek(); p != nil {
		sooner(p.expires)
	}
	if len(s.expiries) > 0 {
		sooner(s.expiries[0].at)
	}
	if s.set.Expires > 0 && len(s.consumers.all) == 0 {
		sooner(s.lastUsed + s.set.Expires.Milliseconds())
	}
	return at
}

// tick does what is due.
func (s *state) tick(now int64, out *effects) {
	s.expire(now, out)
	if s.set.Expires > 0 && len(s.consumers.all) == 0 && s.lastUsed+s.set.Expires.Milliseconds() <= now {
		out.expired = true
		s.lastUsed = now // if the queue is still there when the time is up again, the owner is told again
	}
}

// indexExpiries makes expiries anew from what is ready.
func (s *state) indexExpiries() {
	s.expiries = nil
	if !s.set.ExpireAnywhere {
		return
	}
	for l := range s.ready.levels {
		s.ready.levels[l].each(func(it *item) {
			if it.expires != 0 {
				s.expiries = append(s.expiries, expiryEntry{it.expires, it.seq})
			}
		})
	}
	heap.Init(&s.expiries)
}

// willExpire notes an item that has become ready, and that may expire wherever it stands. Entries of messages that went
// another way are cleared out when they are most.
func (s *state) willExpire(it *item) {
	if it.expires == 0 || !s.set.ExpireAnywhere {
		return
	}
	if len(s.expiries) > 2*s.ready.n+64 {
		s.indexExpiries()
		return
	}
	s.expiries.push(it.expires, it.seq)
}

// expiries orders the messages of a queue with ExpireAnywhere by their time. An entry may outlive
// its message: one that is not ready when its time comes is dropped, and a message that comes back gets a new one.
type expiries []expiryEntry

type expiryEntry struct {
	at  int64
	seq uint64
}

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].at < e[j].at }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *expiries) Push(x any) { *e = append(*e, x.(expiryEntry)) }

// Pop implements heap.Interface.
func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func (e *expiries) push(at int64, seq uint64) { heap.Push(e, expiryEntry{at, seq}) }
