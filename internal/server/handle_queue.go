package server

import (
	"strings"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/queue"
)

func (ch *channel) queueDeclare(m *amqp.QueueDeclare) error {
	c := ch.conn
	name := broker.StripName(m.Queue)
	if strings.HasPrefix(name, broker.ReplyQueue) {
		return ch.declareReply(name, m.NoWait)
	}
	if m.Passive {
		q, err := c.vhost.Queue(name, c)
		if err != nil {
			return err
		}
		st, ok := q.Touch() // it counts as use, as in RabbitMQ
		if !ok {
			return amqp.Errorf(amqp.NotFound, "no %s", q.Config())
		}
		ch.declared(q.Config().Durable, name, m.NoWait, st)
		return nil
	}
	spec := broker.QueueSpec{Name: name, Durable: m.Durable, Exclusive: m.Exclusive, AutoDelete: m.AutoDelete, Args: m.Arguments}
	if name == "" {
		spec.Name, spec.Generated = broker.GeneratedName("amq.gen-"), true
	}
	if err := ch.mayConfigure(auth.Queue, spec.Name); err != nil {
		return err
	}
	q, st, err := c.vhost.DeclareQueue(spec, c, func() error {
		v, _ := m.Arguments.Lookup("x-dead-letter-exchange")
		dlx, ok := v.(string)
		if !ok {
			return nil
		}
		if err := ch.mayRead(auth.Queue, spec.Name); err != nil {
			return err
		}
		return ch.mayWrite(auth.Exchange, dlx)
	})
	if err != nil {
		return err
	}
	if m.Exclusive {
		c.exclusive.add(c.vhost, c, q)
	}
	ch.declared(q.Config().Durable, spec.Name, m.NoWait, st)
	return nil
}

func (ch *channel) declared(durable bool, name string, noWait bool, st queue.Stats) {
	ch.lastQueue = name
	ch.promise(durable, noWait, &amqp.QueueDeclareOk{Queue: name, MessageCount: uint32(st.Ready), ConsumerCount: uint32(st.Consumers)})
}

// declareReply answers for the names of direct replies, of which no queue exists.
func (ch *channel) declareReply(name string, noWait bool) error {
	if name != broker.ReplyQueue {
		if _, ok := ch.conn.srv.opt.Broker.Replier(name); !ok {
			return amqp.Errorf(amqp.NotFound, "no queue '%s' in vhost '%s'", name, ch.conn.vhost.Name)
		}
	}
	ch.declared(false, name, noWait, queue.Stats{Consumers: 1})
	return nil
}

func (ch *channel) queueBind(m *amqp.QueueBind) error {
	b, err := ch.queueBinding(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	if err != nil {
		return err
	}
	return ch.binding(b, m.NoWait, &amqp.QueueBindOk{}, ch.conn.vhost.Bind)
}

func (ch *channel) queueUnbind(m *amqp.QueueUnbind) error {
	b, err := ch.queueBinding(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	if err != nil {
		return err
	}
	return ch.binding(b, false, &amqp.QueueUnbindOk{}, ch.conn.vhost.Unbind)
}

// queueBinding fills in what an empty queue name, and with it an empty key, stand for.
func (ch *channel) queueBinding(q, x, key string, args amqp.Table) (exchange.Binding, error) {
	name, err := ch.queueName(q)
	if q == "" && key == "" {
		key = name
	}
	return exchange.Binding{Source: broker.StripName(x), Destination: name, Key: key, Args: args}, err
}

func (ch *channel) queuePurge(m *amqp.QueuePurge) error {
	q, err := ch.readable(m.Queue)
	if err != nil {
		return err
	}
	n, err := q.Purge()
	if err == nil {
		ch.answer(m.NoWait, &amqp.QueuePurgeOk{MessageCount: uint32(n)})
	}
	return err
}

func (ch *channel) queueDelete(m *amqp.QueueDelete) error {
	c := ch.conn
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.mayConfigure(auth.Queue, name); err != nil {
		return err
	}
	n, durable := 0, false
	q, err := c.vhost.Queue(name, c)
	switch e, _ := err.(*amqp.Error); {
	case err == nil:
		if n, err = c.vhost.DeleteQueue(q, m.IfUnused, m.IfEmpty); err != nil {
			return err
		}
		delete(c.exclusive.queues, q)
		durable = q.Config().Durable
	case e.Code != amqp.NotFound: // deleting what does not exist is fine
		return err
	}
	ch.promise(durable, m.NoWait, &amqp.QueueDeleteOk{MessageCount: uint32(n)})
	return nil
}
