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
func (v *VHost) DeadLetter(q *queue.Queue, s *queue.Settings, m *amqp.Message, why queue.Reason) {
	if _, ok := v.Table().Exchange(s.DLX); !ok {
		return
	}
	l, err := queue.NewLetter(m, q.Config().Name, s, why, time.Now())
	if err != nil {
		v.broker.opt.Log.Error("a message could not be dead-lettered", "queue", q.Config().Name, "vhost", v.Name, "error", err)
		return
	}
	v.post(s.DLX, l.Message, l.Key, l.Extra, l.Cycles)
	l.Message.Release(1)
}

// post routes m and leaves it in the inboxes of the queues found, except those that skip, without waiting.
func (v *VHost) post(name string, m *amqp.Message, key string, extra []string, skip func(queue string) bool) (routed bool) {
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
			q.Value.(*Queue).Post(queue.Publish(m, nil, 0))
			routed = true
		}
	}
	return routed
}

// routing returns what routing looks at in a message with the properties f.
func routing(f amqp.Facts, key string, extra []string) *exchange.Msg {
	return &exchange.Msg{
		Key: key, ExtraKeys: extra, Headers: f.Headers, CorrelationID: string(f.Correlation), MessageID: string(f.MessageID),
		Timestamp: f.Timestamp, HasTimestamp: f.Flags&amqp.FlagTimestamp != 0,
	}
}
