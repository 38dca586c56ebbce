package exchange

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/warrenmq/warren/amqp"
)

// A Binding leads messages from an exchange to a queue or to another exchange. Two bindings are one if all of this is
// equal, whatever the order of the arguments.
type Binding struct {
	Source      string
	Destination string
	ToExchange  bool // Destination is an exchange, not a queue
	Key         string
	Args        amqp.Table // not to be changed once the Binding was handed over
}

func implicit(queue string) Binding { return Binding{Destination: queue, Key: queue} }

// identity is the same string for equal bindings only.
func (b *Binding) identity() string {
	id := make([]byte, 0, len(b.Source)+len(b.Destination)+len(b.Key)+32)
	kind := byte('q')
	if b.ToExchange {
		kind = 'x'
	}
	id = append(id, kind)
	for _, s := range []string{b.Source, b.Destination, b.Key} {
		id = append(binary.BigEndian.AppendUint32(id, uint32(len(s))), s...)
	}
	args := b.Args
	if len(args) > 1 {
		args = slices.Clone(args)
		slices.SortStableFunc(args, func(a, b amqp.Field) int { return strings.Compare(a.Name, b.Name) })
	}
	return string(amqp.AppendTable(id, args))
}

// An edit is a Table in the making: a copy that is still its maker's own, and what went with it.
type edit struct {
	Table
	removed []Binding
	gone    []string // exchanges that were deleted with their last binding
	sources []string // exchanges that lost a binding: they may have to go
}

// changeExchange puts a changed copy of an exchange in place of the present one.
func (e *edit) changeExchange(name string, change func(*Exchange)) {
	old, ok := e.Exchange(name)
	if !ok {
		return
	}
	x := *old
	change(&x)
	e.exchanges = e.exchanges.set(name, &x)
}

// changeTarget does what changeExchange does for the bindings to a binding's destination.
func (e *edit) changeTarget(b *Binding, change func(hamt[*Binding]) hamt[*Binding]) {
	if b.ToExchange {
		e.changeExchange(b.Destination, func(x *Exchange) { x.to = change(x.to) })
	} else if q, ok := e.queues.at(b.Destination); ok {
		e.queues = e.queues.set(b.Destination, &target{q.queue, change(q.to)})
	}
}

// destination returns where b leads.
func (t *Table) destination(b *Binding) (destination, error) {
	if b.ToExchange {
		if _, ok := t.Exchange(b.Destination); !ok {
			return destination{}, t.noExchange(b.Destination)
		}
		return destination{exchange: b.Destination}, nil
	}
	q, ok := t.Queue(b.Destination)
	if !ok {
		return destination{}, amqp.Errorf(amqp.NotFound, "no queue '%s' in vhost '%s'", b.Destination, t.vhost)
	}
	return destination{queue: q}, nil
}

// Bind adds a binding; added is false if it was there. A missing source or destination is NOT_FOUND, a key or arguments
// that the source's type refuses are PRECONDITION_FAILED, and the default exchange as either end is ACCESS_REFUSED.
// If the source is an x-recent-history exchange, the caller sends its messages to the destination of an added binding.
// Spec: 1.7.2.3, and RabbitMQ's exchange.bind.
func (t *Table) Bind(b Binding) (_ *Table, added bool, err error) {
	if b.Source == "" || b.ToExchange && b.Destination == "" {
		return nil, false, amqp.Errorf(amqp.AccessRefused, "operation not permitted on the default exchange")
	}
	x, ok := t.Exchange(b.Source)
	if !ok {
		return nil, false, t.noExchange(b.Source)
	}
	to, err := t.destination(&b)
	if err == nil && x.kind.checkBinding != nil {
		err = x.kind.checkBinding(&b)
	}
	if err != nil {
		return nil, false, err
	}
	id := b.identity()
	hash := hashOf(id)
	if _, ok := x.from.get(hash, id); ok {
		return t, false, nil
	}
	e := edit{Table: *t}
	e.changeExchange(b.Source, func(x *Exchange) {
		x.from = x.from.put(hash, id, &b)
		x.matcher = x.matcher.with(&b, to, 1)
	})
	e.changeTarget(&b, func(to hamt[*Binding]) hamt[*Binding] { return to.put(hash, id, &b) })
	return &e.Table, true, nil
}

// Unbind removes a binding, and with it auto-delete exchanges that it was the last of, whose own bindings go too. removed
// are all bindings that went, b first, and gone the exchanges; both are empty if there was no such binding, which is no
// error, as in RabbitMQ. Spec: 1.7.2.7.
func (t *Table) Unbind(b Binding) (_ *Table, removed []Binding, gone []string) {
	x, ok := t.Exchange(b.Source)
	if !ok {
		return t, nil, nil
	}
	own, ok := x.from.at(b.identity())
	if !ok {
		return t, nil, nil
	}
	e := edit{Table: *t}
	e.unbind(own)
	e.collapse()
	return &e.Table, e.removed, e.gone
}
