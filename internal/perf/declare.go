package perf

import (
	"fmt"

	"github.com/warrenmq/warren/amqp"
)

// declare makes queues, exchange and bindings anew.
func (r *run) declare(c *conn) error {
	cfg := &r.cfg
	if cfg.UseThere {
		return nil
	}
	if err := r.delete(c); err != nil {
		return err
	}
	err := callAll[*amqp.QueueDeclareOk](c, 1, cfg.Queues, func(i int) amqp.Method {
		return &amqp.QueueDeclare{Queue: cfg.queueName(i), Durable: cfg.Durable, Arguments: cfg.Arguments}
	})
	if err != nil {
		return fmt.Errorf("declare queues: %w", err)
	}
	if cfg.Exchange == "" {
		return nil
	}
	x := &amqp.ExchangeDeclare{Exchange: cfg.exchangeName(), Type: cfg.Exchange, Durable: cfg.Durable}
	if _, err := call[*amqp.ExchangeDeclareOk](c, 1, x); err != nil {
		return err
	}
	bindings := cfg.bindings()
	err = callAll[*amqp.QueueBindOk](c, 1, len(bindings), func(i int) amqp.Method {
		b := bindings[i]
		return &amqp.QueueBind{Queue: cfg.queueName(b.Queue), Exchange: cfg.exchangeName(), RoutingKey: b.Key}
	})
	if err != nil {
		return fmt.Errorf("bind queues: %w", err)
	}
	return nil
}

// delete removes queues and exchange; deleting what is not there is no error, as in RabbitMQ.
func (r *run) delete(c *conn) error {
	cfg := &r.cfg
	err := callAll[*amqp.QueueDeleteOk](c, 1, cfg.Queues, func(i int) amqp.Method {
		return &amqp.QueueDelete{Queue: cfg.queueName(i)}
	})
	if err == nil && cfg.Exchange != "" {
		_, err = call[*amqp.ExchangeDeleteOk](c, 1, &amqp.ExchangeDelete{Exchange: cfg.exchangeName()})
	}
	if err != nil {
		return fmt.Errorf("delete queues and exchange: %w", err)
	}
	return nil
}

// left returns how many messages the queues hold.
func (r *run) left(c *conn) (n int64, err error) {
	for i := range r.cfg.Queues {
		name := r.cfg.queueName(i)
		ok, err := call[*amqp.QueueDeclareOk](c, 1, &amqp.QueueDeclare{Queue: name, Passive: true})
		if err != nil {
			return n, err
		}
		n += int64(ok.MessageCount)
	}
	return n, nil
}
