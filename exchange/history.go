package exchange

import "github.com/warrenmq/warren/amqp"

const (
	historyLengthArg  = "x-recent-history-length"
	historyNoStore    = "x-recent-history-no-store"
	historyLengthElse = 20 // without the argument, as in RabbitMQ's plugin
)

// A historyMatcher is that of x-recent-history: a fanout whose last messages also go to what is bound later. It reports
// the exchange in Router.History; the messages are kept by the caller.
type historyMatcher struct {
	fanoutMatcher
	length int
}

func checkHistoryArgs(_ *Table, s *Spec) error {
	v, ok := s.Args.Lookup(historyLengthArg)
	if n, isInt := amqp.Int(v); ok && (!isInt || n <= 0) {
		return amqp.Errorf(amqp.PreconditionFailed, "Invalid argument %s, '%s' must be a positive integer", erlangTerm(v), historyLengthArg)
	}
	return nil
}

func newHistoryMatcher(s *Spec) matcher {
	length := int64(historyLengthElse)
	if v, ok := s.Args.Lookup(historyLengthArg); ok {
		length, _ = amqp.Int(v)
	}
	return historyMatcher{length: int(length)}
}

func (h historyMatcher) with(_ *Binding, to destination, n int64) matcher {
	h.all = h.all.with(to, n)
	return h
}

func (h historyMatcher) match(r *Router, x *Exchange, m *Msg) bool {
	if kind, v, ok := m.Headers.Lookup(historyNoStore); !ok || kind != 't' || v[0] == 0 {
		r.History = append(r.History, x)
	}
	return h.fanoutMatcher.match(r, x, m)
}
