package broker

import (
	"strings"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/meta"
)

// errNoExchange is the error for a name that no exchange has.
func (v *VHost) errNoExchange(name string) error {
	return amqp.Errorf(amqp.NotFound, "no exchange '%s' in vhost '%s'", name, v.Name)
}

// Exchange returns the exchange called name.
func (v *VHost) Exchange(name string) (*exchange.Exchange, error) {
	if x, ok := v.Table().Exchange(name); ok {
		return x, nil
	}
	return nil, v.errNoExchange(name)
}

// DeclareExchange makes the exchange that s describes; one that exists must be declared alike. May is asked before a new
// one is made.
func (v *VHost) DeclareExchange(s exchange.Spec, may func() error) error {
	if x, ok := v.Table().Exchange(s.Name); ok {
		return x.Equivalent(s)
	}
	if err := reserved("exchange", s.Name); err != nil {
		return err
	}
	if err := may(); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next, err := v.Table().Declare(s)
	if err != nil {
		return err
	}
	if next == v.Table() { // somebody else was first
		x, _ := next.Exchange(s.Name)
		return x.Equivalent(s)
	}
	if s.Durable {
		if err := v.keep([]meta.Change{meta.Put(v.exchangeRecord(&s))}); err != nil {
			return err
		}
	}
	v.table.Store(next)
	return nil
}

// DeleteExchange deletes the exchange called name; none of that name is no error.
func (v *VHost) DeleteExchange(name string, ifUnused bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	x, ok := v.Table().Exchange(name)
	if !ok {
		return nil
	}
	if ifUnused && x.Used() {
		return amqp.Errorf(amqp.PreconditionFailed, "exchange '%s' in vhost '%s' in use", name, v.Name)
	}
	next, removed, gone := v.Table().DeleteExchange(name)
	gone = append(gone, name)
	if err := v.keep(v.lost(v.Table(), removed, gone)); err != nil {
		return err
	}
	v.table.Store(next)
	v.history.forget(gone)
	return nil
}

// System reports whether name is one that only the broker deletes.
func System(name string) bool { return strings.HasPrefix(name, "amq.") }

// Bind adds b. A queue that is exclusive to another connection than o cannot be bound.
func (v *VHost) Bind(b exchange.Binding, o Owner) error {
	if err := v.access(b, o); err != nil {
		return err
	}
	v.mu.Lock()
	next, added, err := v.Table().Bind(b)
	if err == nil && added && lasting(next, &b) {
		err = v.keep([]meta.Change{meta.Put(v.bindingRecord(&b))})
	}
	if err == nil {
		v.table.Store(next)
	}
	v.mu.Unlock()
	if err == nil && added {
		if x, ok := next.Exchange(b.Source); ok && x.HistoryLength() > 0 {
			v.replay(x, b)
		}
	}
	return err
}

// Unbind removes b; one that does not exist is no error.
func (v *VHost) Unbind(b exchange.Binding, o Owner) error {
	if err := v.access(b, o); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	next, removed, gone := v.Table().Unbind(b)
	if err := v.keep(v.lost(v.Table(), removed, gone)); err != nil {
		return err
	}
	v.table.Store(next)
	v.history.forget(gone)
	return nil
}

// access refuses a binding to a queue that is exclusive to another connection.
func (v *VHost) access(b exchange.Binding, o Owner) error {
	if b.ToExchange {
		return nil
	}
	_, err := v.Queue(b.Destination, o)
	if e, ok := err.(*amqp.Error); ok && e.Code == amqp.ResourceLocked {
		return err
	}
	return nil
}
