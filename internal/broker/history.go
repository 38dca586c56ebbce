package broker

import (
	"sync"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

// history holds the last messages of a vhost's x-recent-history exchanges, which a new binding gets.
type history struct {
	mu   sync.Mutex                 // guards kept
	kept map[string][]*amqp.Message // by exchange, oldest first; each holds a reference
}

// store remembers m, which is borrowed, in each of the exchanges.
func (h *history) store(exchanges []*exchange.Exchange, m *amqp.Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.kept == nil {
		h.kept = make(map[string][]*amqp.Message)
	}
	for _, x := range exchanges {
		buf := amqp.NewBuffer(m.Footprint())
		list := append(h.kept[x.Name], m.CopyTo(buf, buf.Bytes()))
		for len(list) > x.HistoryLength() {
			list[0].Release(1)
			list = list[1:]
		}
		h.kept[x.Name] = list
	}
}

// forget drops what deleted exchanges held.
func (h *history) forget(exchanges []string) {
	if len(exchanges) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range exchanges {
		for _, m := range h.kept[name] {
			m.Release(1)
		}
		delete(h.kept, name)
	}
}

// recent returns the messages that an exchange holds, with a reference each for the caller.
func (h *history) recent(name string) []*amqp.Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := append([]*amqp.Message(nil), h.kept[name]...)
	for _, m := range list {
		m.Retain(1)
	}
	return list
}

// replay sends what x holds to the destination of a new binding.
func (v *VHost) replay(x *exchange.Exchange, b exchange.Binding) {
	for _, m := range v.history.recent(x.Name) {
		if b.ToExchange {
			v.post(b.Destination, m, string(m.RoutingKey()), nil, nil, nil)
		} else if q, ok := v.Table().Queue(b.Destination); ok {
			q.Value.(*Queue).Post(queue.Publish(m, nil, 0))
		}
		m.Release(1)
	}
}
