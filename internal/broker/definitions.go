package broker

import (
	"errors"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/meta"
)

// Definitions keep what is to survive a restart. A meta.Store does; so will the consensus group of a cluster.
//
// A change is submitted under the lock under which it is made, just before it is made, so that both have one order; it is
// seen at once, and whoever answers for it waits for its position first. If Submit refuses, nothing is changed.
type Definitions interface {
	Submit(changes ...meta.Change) (meta.Position, error)
	Wait(meta.Position) error
	Submitted() meta.Position
	Committed() meta.Position
	Ready(puts bool) error
	Number() (uint64, error)
}

// forgetful are the Definitions of a broker without any: everything lives in memory.
type forgetful struct{}

func (forgetful) Submit(...meta.Change) (meta.Position, error) { return 0, nil }
func (forgetful) Wait(meta.Position) error                     { return nil }
func (forgetful) Submitted() meta.Position                     { return 0 }
func (forgetful) Committed() meta.Position                     { return 0 }
func (forgetful) Ready(bool) error                             { return nil }
func (forgetful) Number() (uint64, error)                      { return 0, nil }

// Pending returns the position of the latest change of a durable definition if it is not yet safe, 0 otherwise. An answer
// that speaks of durable things goes out after Wait for it.
func (b *Broker) Pending() meta.Position {
	if at := b.opt.Definitions.Submitted(); at > b.opt.Definitions.Committed() {
		return at
	}
	return 0
}

// Wait returns when everything up to at is safe; the error, that it is not and will not be, is for the client.
func (b *Broker) Wait(at meta.Position) error { return refusal(b.opt.Definitions.Wait(at)) }

// refusal is what a client is told when a change could not be kept.
func refusal(err error) error {
	var large *meta.TooLargeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return amqp.Errorf(amqp.PreconditionFailed, "%v", err)
	}
	return amqp.Errorf(amqp.InternalError, "%v", err)
}

// keep submits changes, if there are any. v.mu is held.
func (v *VHost) keep(changes []meta.Change) error {
	if len(changes) == 0 {
		return nil
	}
	_, err := v.broker.opt.Definitions.Submit(changes...)
	return refusal(err)
}

// keepGone submits the changes of what is gone already and cannot be brought back.
func (v *VHost) keepGone(changes []meta.Change) {
	if err := v.keep(changes); err != nil {
		v.broker.opt.Log.Error("what was deleted will be back after a restart", "vhost", v.Name, "error", err)
	}
}

func (v *VHost) exchangeRecord(s *exchange.Spec) meta.Exchange {
	return meta.Exchange{VHost: v.Name, Name: s.Name, Type: s.Type, AutoDelete: s.AutoDelete, Internal: s.Internal, Args: s.Args}
}

func (v *VHost) bindingRecord(b *exchange.Binding) meta.Binding {
	return meta.Binding{VHost: v.Name, Source: b.Source, Destination: b.Destination, ToExchange: b.ToExchange, Key: b.Key, Args: b.Args}
}

// lasting reports whether a binding survives a restart: if both of its ends, in t, do.
func lasting(t *exchange.Table, b *exchange.Binding) bool {
	x, ok := t.Exchange(b.Source)
	if !ok || !x.Durable {
		return false
	}
	if b.ToExchange {
		to, ok := t.Exchange(b.Destination)
		return ok && to.Durable
	}
	q, ok := t.Queue(b.Destination)
	return ok && q.Durable
}

// Lasting reports whether b, if there is such a binding, survives a restart.
func (v *VHost) Lasting(b *exchange.Binding) bool { return lasting(v.Table(), b) }

// lost are the changes for bindings and exchanges that were in t and are no more.
func (v *VHost) lost(t *exchange.Table, bindings []exchange.Binding, exchanges []string) (out []meta.Change) {
	for i := range bindings {
		if lasting(t, &bindings[i]) {
			out = append(out, meta.Delete(v.bindingRecord(&bindings[i])))
		}
	}
	for _, name := range exchanges {
		if x, ok := t.Exchange(name); ok && x.Durable {
			out = append(out, meta.Delete(meta.Exchange{VHost: v.Name, Name: name}))
		}
	}
	return out
}
