package broker

import (
	"sync"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

// routers are for goroutines that route a message now and then: those that run a queue when it dead-letters.
var routers = sync.Pool{New: func() any { return new(exchange.Router) }}

// DeadLetter implements queue.Owner: it publishes m to the dead-letter exchange, if there is one, but for queues that m
// would go round to for ever.
func (v *VHost) DeadLetter(q *queue.Queue, s *queue.Settings, m *amqp.Message, why queue.Reason, arrived func()) {
	w := &arrival{left: 1, done: arrived}
	if arrived != nil {
		v.broker.letters.Add(1)
		w.letters = &v.broker.letters
	}
	defer w.Confirmed([]uint64{0}, true)
	if _, ok := v.Table().Exchange(s.DLX); !ok {
		return
	}
	l, err := queue.NewLetter(m, q.Config().Name, s, why, time.Now())
	if err != nil {
		v.broker.opt.Log.Error("a message could not be dead-lettered", "queue", q.Config().Name, "vhost", v.Name, "error", err)
		return
	}
	v.post(s.DLX, l.Message, l.Key, l.Extra, l.Cycles, w)
	l.Message.Release(1)
}

// post routes m and leaves it in the inboxes of the queues found, except those that skip, without waiting.
func (v *VHost) post(name string, m *amqp.Message, key string, extra []string, skip func(queue string) bool, w *arrival) (routed bool) {
	t := v.Table()
	x, ok := t.Exchange(name)
	if !ok {
		return false
	}
	f, err := amqp.ParseFacts(m.Header)
	if err != nil {
		return false
	}
	r := routers.Get().(*exchange.Router)
	defer routers.Put(r)
	found := r.Route(t, x, routing(f, key, extra), nil)
	if len(r.History) > 0 {
		v.history.store(r.History, m)
	}
	for _, q := range found {
		if skip == nil || !skip(q.Name) {
			if w == nil || w.done == nil {
				q.Value.(*Queue).Post(queue.Publish(m, nil, 0))
			} else {
				w.expect()
				q.Value.(*Queue).Post(queue.PublishLetter(m, w))
			}
			routed = true
		}
	}
	return routed
}

// Lost implements queue.Owner.
func (v *VHost) Lost(q *queue.Queue, n int) {
	v.broker.opt.Log.Error("messages could not be read back from disk", "queue", q.Config().Name, "vhost", v.Name, "messages", n)
}

// An arrival waits for a dead letter to be safe in all queues that it goes to.
type arrival struct {
	done    func()          // nil if nobody wants to know
	letters *sync.WaitGroup // counts those whose done is not nil

	mu   sync.Mutex // guards the fields below
	left int
	lost bool // by one of the queues
}

func (a *arrival) expect() {
	a.mu.Lock()
	a.left++
	a.mu.Unlock()
}

// Confirmed implements queue.Publisher. If a queue could not keep the letter, the message stays on disk where it died, and is
// back after a restart.
func (a *arrival) Confirmed(seqs []uint64, ok bool) {
	a.mu.Lock()
	a.left -= len(seqs)
	a.lost = a.lost || !ok
	last, lost := a.left == 0, a.lost
	a.mu.Unlock()
	if !last || a.done == nil {
		return
	}
	if !lost {
		a.done()
	}
	a.letters.Done()
}

// routing returns what routing looks at in a message with the properties f.
func routing(f amqp.Facts, key string, extra []string) *exchange.Msg {
	return &exchange.Msg{
		Key: key, ExtraKeys: extra, Headers: f.Headers, CorrelationID: string(f.Correlation), MessageID: string(f.MessageID),
		Timestamp: f.Timestamp, HasTimestamp: f.Flags&amqp.FlagTimestamp != 0,
	}
}
