package server

import (
	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
)

// notDefault refuses the default exchange where it cannot be meant.
func notDefault(names ...string) error {
	for _, name := range names {
		if name == "" {
			return amqp.Errorf(amqp.AccessRefused, "operation not permitted on the default exchange")
		}
	}
	return nil
}

func (ch *channel) exchangeDeclare(m *amqp.ExchangeDeclare) error {
	v := ch.conn.vhost
	name := broker.StripName(m.Exchange)
	if m.Passive {
		if err := notDefault(name); err != nil {
			return err
		}
		x, err := v.Exchange(name)
		if err != nil {
			return err
		}
		ch.promise(x.Durable, m.NoWait, &amqp.ExchangeDeclareOk{})
		return nil
	}
	if err := exchange.CheckType(m.Type); err != nil {
		return err
	}
	if err := notDefault(name); err != nil {
		return err
	}
	if err := ch.mayConfigure(auth.Exchange, name); err != nil {
		return err
	}
	spec := exchange.Spec{Name: name, Type: m.Type, Durable: m.Durable, AutoDelete: m.AutoDelete, Internal: m.Internal, Args: m.Arguments}
	err := v.DeclareExchange(spec, func() error {
		alternate, _ := m.Arguments.Lookup("alternate-exchange")
		ae, ok := alternate.(string)
		if !ok {
			return nil // absent, or of a wrong type, which Declare refuses
		}
		if err := ch.mayRead(auth.Exchange, name); err != nil {
			return err
		}
		return ch.mayWrite(auth.Exchange, ae)
	})
	if err == nil {
		ch.promise(m.Durable, m.NoWait, &amqp.ExchangeDeclareOk{})
	}
	return err
}

func (ch *channel) exchangeDelete(m *amqp.ExchangeDelete) error {
	name := broker.StripName(m.Exchange)
	if err := notDefault(name); err != nil {
		return err
	}
	if broker.System(name) {
		return amqp.Errorf(amqp.AccessRefused, "deletion of system exchange '%s' in vhost '%s' not allowed", name, ch.conn.vhost.Name)
	}
	if err := ch.mayConfigure(auth.Exchange, name); err != nil {
		return err
	}
	if err := ch.conn.vhost.DeleteExchange(name, m.IfUnused); err != nil {
		return err
	}
	ch.promise(true, m.NoWait, &amqp.ExchangeDeleteOk{})
	return nil
}

func (ch *channel) exchangeBind(m *amqp.ExchangeBind) error {
	b := exchange.Binding{Source: broker.StripName(m.Source), Destination: broker.StripName(m.Destination), ToExchange: true,
		Key: m.RoutingKey, Args: m.Arguments}
	return ch.binding(b, m.NoWait, &amqp.ExchangeBindOk{}, ch.conn.vhost.Bind)
}

func (ch *channel) exchangeUnbind(m *amqp.ExchangeUnbind) error {
	b := exchange.Binding{Source: broker.StripName(m.Source), Destination: broker.StripName(m.Destination), ToExchange: true,
		Key: m.RoutingKey, Args: m.Arguments}
	return ch.binding(b, m.NoWait, &amqp.ExchangeUnbindOk{}, ch.conn.vhost.Unbind)
}

// binding checks what all four methods that bind or unbind have in common, and does it.
func (ch *channel) binding(b exchange.Binding, noWait bool, ok amqp.Method, do func(exchange.Binding, broker.Owner) error) error {
	c := ch.conn
	kind := auth.Queue
	if b.ToExchange {
		kind = auth.Exchange
	}
	if err := ch.mayWrite(kind, b.Destination); err != nil {
		return err
	}
	if err := notDefault(b.Destination, b.Source); err != nil {
		return err
	}
	if err := ch.mayRead(auth.Exchange, b.Source); err != nil {
		return err
	}
	if x, err := c.vhost.Exchange(b.Source); err == nil && x.Type == "topic" && c.user.LimitsTopics(c.vhost.Name) &&
		!c.user.MayTopic(auth.Read, c.vhost.Name, b.Source, b.Key) {
		return auth.RefusedTopic(b.Key, b.Source, c.vhost.Name, c.user.UserName)
	}
	lasting := c.vhost.Lasting(&b)
	if err := do(b, c); err != nil {
		return err
	}
	ch.promise(lasting, noWait, ok)
	return nil
}
