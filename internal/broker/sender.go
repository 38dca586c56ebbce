package broker

import (
	"bytes"
	"hash/maphash"
	"unsafe"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

// A Sender routes messages and submits events to queues for one goroutine: a connection's reader. Events are collected by
// queue and go out with Flush, in the order in which they were added.
type Sender struct {
	vhost  *VHost
	router exchange.Router
	found  []*exchange.Queue

	routes []Route // by hash of the address; nil until the first publish

	slots  []slot
	used   int                  // slots with events
	last   int                  // the slot used last
	byName map[*queue.Queue]int // only while there are many slots
	count  int                  // events in all slots
}

type slot struct {
	queue  *queue.Queue
	events []queue.Event
}

// A Route is where a message goes that is published to an address: an exchange and a routing key. It is remembered as
// long as the vhost's table is the same.
type Route struct {
	Exchange *exchange.Exchange
	table    *exchange.Table
	address  []byte
	keyOnly  bool // targets holds for every message with this address
	targets  []*exchange.Queue
}

const (
	routesKept = 64 // a power of two
	slotsKept  = 64
	slotsScan  = 8 // beyond so many slots a map finds them
)

var seed = maphash.MakeSeed()

// NewSender makes a Sender for v.
func NewSender(v *VHost) *Sender { return &Sender{vhost: v} }

// Route returns the route of an address as a basic.publish carries it. It is valid until the next call; the error is for
// the client.
func (s *Sender) Route(p *amqp.Publish) (*Route, error) {
	if s.routes == nil {
		s.routes = make([]Route, routesKept)
	}
	r := &s.routes[maphash.Bytes(seed, p.Address)&(routesKept-1)]
	t := s.vhost.Table()
	if r.table == t && bytes.Equal(r.address, p.Address) {
		return r, nil
	}
	x, ok := t.Exchange(view(p.Exchange))
	if !ok {
		return nil, s.vhost.errNoExchange(string(p.Exchange))
	}
	r.address = append(r.address[:0], p.Address...)
	r.table, r.Exchange, r.keyOnly = t, x, false
	return r, nil
}

// Targets returns the queues that a message goes to, valid until the next call. msg's Key is that of the route's address.
func (s *Sender) Targets(r *Route, msg *exchange.Msg, m *amqp.Message) []*exchange.Queue {
	if r.keyOnly && msg.ExtraKeys == nil {
		return r.targets
	}
	s.found = s.router.Route(r.table, r.Exchange, msg, s.found[:0])
	if len(s.router.History) > 0 {
		s.vhost.history.store(s.router.History, m)
	} else if s.router.KeyOnly && msg.ExtraKeys == nil {
		r.targets = append(r.targets[:0], s.found...)
		r.keyOnly = true
		return r.targets
	}
	return s.found
}

// view returns b as a string without copying. It is valid as long as b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Publish adds the event of m reaching q. m is borrowed until Flush.
func (s *Sender) Publish(q *exchange.Queue, m *amqp.Message, from queue.Publisher, seq uint64) {
	s.Add(q.Value.(*Queue).Queue, queue.Publish(m, from, seq))
}

// Add adds an event for q.
func (s *Sender) Add(q *queue.Queue, ev queue.Event) {
	if s.last >= s.used || s.slots[s.last].queue != q {
		s.last = s.slot(q)
	}
	sl := &s.slots[s.last]
	sl.events = append(sl.events, ev)
	s.count++
}

func (s *Sender) slot(q *queue.Queue) int {
	if s.used <= slotsScan {
		for i := range s.used {
			if s.slots[i].queue == q {
				return i
			}
		}
	} else if i, ok := s.byName[q]; ok {
		return i
	}
	if s.used == len(s.slots) {
		s.slots = append(s.slots, slot{})
	}
	i := s.used
	s.slots[i].queue = q
	s.used++
	if s.used > slotsScan {
		if s.byName == nil {
			s.byName = make(map[*queue.Queue]int)
		}
		if s.used == slotsScan+1 {
			for k := range s.used {
				s.byName[s.slots[k].queue] = k
			}
		}
		s.byName[q] = i
	}
	return i
}

// Flush submits all events. It may run the queues, and it waits where a queue's inbox is full.
func (s *Sender) Flush() {
	if s.count == 0 {
		return
	}
	for i := range s.used {
		sl := &s.slots[i]
		sl.queue.Submit(sl.events)
		sl.queue = nil
		if cap(sl.events) > 1<<13 {
			sl.events = nil
		}
		sl.events = sl.events[:0]
	}
	if s.used > slotsScan {
		clear(s.byName)
	}
	if len(s.slots) > slotsKept {
		s.slots = s.slots[:slotsKept:slotsKept]
		s.byName = nil
	}
	s.used, s.count, s.last = 0, 0, 0
}
