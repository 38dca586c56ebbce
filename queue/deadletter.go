package queue

import (
	"cmp"
	"slices"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// A Letter is a dead letter: a message as it is to be published to the dead-letter exchange.
type Letter struct {
	Message *amqp.Message // holds one reference, the caller's
	Key     string        // to route by
	Extra   []string      // further keys: those of the CC header and those of the former BCC header
	deaths  amqp.Array
	reason  Reason
}

// NewLetter makes the dead letter of m, which died in the queue called name: with its death noted in x-death, without
// its expiration, addressed to s.DLX.
func NewLetter(m *amqp.Message, name string, s *Settings, why Reason, now time.Time) (*Letter, error) {
	p, err := amqp.ParseProperties(m.Header)
	if err != nil {
		return nil, err
	}
	l := &Letter{Key: string(m.RoutingKey()), reason: why}
	cc := Keys(p.Headers, "CC")
	death := amqp.Table{
		{Name: "reason", Value: string(why)},
		{Name: "queue", Value: name},
		{Name: "time", Value: amqp.Timestamp(now.Unix())},
		{Name: "exchange", Value: string(m.Exchange())},
		{Name: "routing-keys", Value: longstrs(append([]string{l.Key}, cc...))},
	}
	if p.Flags&amqp.FlagExpiration != 0 {
		death = append(death, amqp.Field{Name: "original-expiration", Value: p.Expiration})
	}
	p.Headers, l.deaths = noteDeath(p.Headers, death)
	if s.HasDLKey {
		l.Key = s.DLKey
		p.Headers = p.Headers.Without("CC")
	} else {
		l.Extra = append(cc, m.HiddenKeys()...)
	}
	p.Flags = p.Flags&^amqp.FlagExpiration | amqp.FlagHeaders
	l.Message, err = m.Derive(amqp.AppendAddress(nil, s.DLX, l.Key), amqp.AppendHeader(nil, &p, uint64(m.Size)))
	if err != nil {
		return nil, err
	}
	if !s.HasDLKey {
		l.Message.Hide(m.HiddenKeys())
	}
	return l, nil
}

// noteDeath puts death in front of the headers' x-death, or counts it there if the same queue and reason are in it.
func noteDeath(headers, death amqp.Table) (amqp.Table, amqp.Array) {
	text := func(name string) any { v, _ := death.Lookup(name); return v }
	old, present := headers.Lookup("x-death")
	deaths, _ := old.(amqp.Array) // one of another type is a client's mistake, and starts over
	if !present {
		for _, name := range []string{"reason", "queue", "exchange"} {
			headers = headers.With("x-first-death-"+name, text(name))
		}
	}
	if len(deaths) > 1 {
		deaths = slices.Clone(deaths)
		slices.Reverse(deaths) // a quirk of RabbitMQ's: grouping them turns them round
	}
	entry := append(amqp.Table{{Name: "count", Value: int64(1)}}, death...)
	var others amqp.Array
	for _, d := range deaths {
		t, ok := d.(amqp.Table)
		if !ok {
			continue
		}
		queue, _ := t.Lookup("queue")
		reason, _ := t.Lookup("reason")
		if queue == text("queue") && reason == text("reason") {
			count, _ := t.Lookup("count")
			n, _ := amqp.Int(count)
			entry = t.With("count", n+1)
			continue
		}
		others = append(others, t)
	}
	deaths = append(amqp.Array{entry}, others...)
	headers = headers.With("x-death", deaths)
	slices.SortStableFunc(headers, func(a, b amqp.Field) int { return cmp.Compare(a.Name, b.Name) })
	return headers, deaths
}

// Cycles reports whether l has been in the queue called name before and has come back to it without anybody having
// rejected it on the way: then it is dropped rather than going round for ever.
func (l *Letter) Cycles(name string) bool {
	if l.reason == Rejected {
		return false
	}
	for _, d := range l.deaths {
		t, ok := d.(amqp.Table)
		if !ok {
			return false
		}
		if reason, _ := t.Lookup("reason"); reason == string(Rejected) {
			return false
		}
		if queue, _ := t.Lookup("queue"); queue == name {
			return true
		}
	}
	return false
}

// Keys returns the routing keys in the header called name, CC or BCC: nil unless it is an array of strings.
func Keys(headers amqp.Table, name string) []string {
	v, _ := headers.Lookup(name)
	a, _ := v.(amqp.Array)
	var keys []string
	for _, k := range a {
		if s, ok := k.(string); ok {
			keys = append(keys, s)
		}
	}
	return keys
}

func longstrs(keys []string) amqp.Array {
	a := make(amqp.Array, len(keys))
	for i, k := range keys {
		a[i] = k
	}
	return a
}

// countDelivery returns a copy of m with the header x-delivery-count set to n, with a reference that the caller must
// release; nil if m's header is damaged. Messages of ordinary queues never come here.
func countDelivery(m *amqp.Message, n uint32) *amqp.Message {
	p, err := amqp.ParseProperties(m.Header)
	if err != nil {
		return nil
	}
	p.Headers = p.Headers.With("x-delivery-count", int64(n))
	p.Flags |= amqp.FlagHeaders
	counted, err := m.Derive(m.Address, amqp.AppendHeader(nil, &p, uint64(m.Size)))
	if err != nil {
		return nil
	}
	return counted
}
