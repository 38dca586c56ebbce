package server

import (
	"fmt"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/queue"
)

// queueName returns what a method means by name: the last declared queue if it is empty.
func (ch *channel) queueName(name string) (string, error) {
	if name = broker.StripName(name); name != "" {
		return name, nil
	}
	if ch.lastQueue == "" {
		return "", amqp.Errorf(amqp.NotFound, "no previously declared queue")
	}
	return ch.lastQueue, nil
}

// mayRead, mayWrite and mayConfigure check a permission for a queue or an exchange.
func (ch *channel) mayRead(kind auth.Kind, name string) error {
	c := ch.conn
	if !c.user.MayRead(c.vhost.Name, name) {
		return auth.Refused(kind, name, c.vhost.Name, c.user.UserName)
	}
	return nil
}

func (ch *channel) mayWrite(kind auth.Kind, name string) error {
	c := ch.conn
	if !c.user.MayWrite(c.vhost.Name, name) {
		return auth.Refused(kind, name, c.vhost.Name, c.user.UserName)
	}
	return nil
}

func (ch *channel) mayConfigure(kind auth.Kind, name string) error {
	c := ch.conn
	if !c.user.MayConfigure(c.vhost.Name, name) {
		return auth.Refused(kind, name, c.vhost.Name, c.user.UserName)
	}
	return nil
}

// readable returns the queue that a method means by name, if the user may read from it.
func (ch *channel) readable(name string) (*broker.Queue, error) {
	name, err := ch.queueName(name)
	if err != nil {
		return nil, err
	}
	if err := ch.mayRead(auth.Queue, name); err != nil {
		return nil, err
	}
	return ch.conn.vhost.Queue(name, ch.conn)
}

// basicQos sets how many deliveries may be unacknowledged: each of the consumers to come, or with global all of the
// channel's together.
func (ch *channel) basicQos(m *amqp.BasicQos) error {
	if m.PrefetchSize != 0 {
		return amqp.Errorf(amqp.NotImplemented, "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	if !m.Global {
		ch.prefetch = int(m.PrefetchCount)
		ch.send(&amqp.BasicQosOk{})
		return nil
	}
	out := &ch.conn.out
	out.mu.Lock()
	s := &ch.shared
	s.limit = int(m.PrefetchCount)
	starved := s.starved
	s.starved = nil
	out.mu.Unlock()
	ch.send(&amqp.BasicQosOk{})
	for _, q := range starved {
		ch.conn.add(q, queue.Resumed())
	}
	return nil
}

func (ch *channel) basicConsume(m *amqp.BasicConsume) error {
	if m.Queue == broker.ReplyQueue {
		return ch.consumeReplies(m)
	}
	name, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	tag := m.ConsumerTag
	if tag == "" {
		tag = broker.GeneratedName("amq.ctag-")
	}
	if ch.hasConsumer(tag) {
		return amqp.Errorf(amqp.NotAllowed, "attempt to reuse consumer tag '%s'", tag)
	}
	if err := ch.mayRead(auth.Queue, name); err != nil {
		return err
	}
	q, err := ch.conn.vhost.Queue(name, ch.conn)
	if err != nil {
		return err
	}
	priority, err := consumerPriority(q, m.Arguments)
	if err != nil {
		return err
	}
	cons := &consumer{queue: q, head: amqp.NewDeliverHead(ch.id, tag), Consumer: queue.Consumer{
		Session: ch, Tag: tag, NoAck: m.NoAck, Exclusive: m.Exclusive, Priority: priority, Args: m.Arguments,
	}}
	cons.Data = cons
	if !m.NoAck {
		cons.Prefetch = ch.prefetch
	}
	ch.join(q)
	return q.Consume(&cons.Consumer, func() {
		out := &ch.conn.out
		out.mu.Lock()
		if ch.consumers == nil {
			ch.consumers = make(map[string]*consumer)
		}
		ch.consumers[tag] = cons
		out.mu.Unlock()
		ch.answer(m.NoWait, &amqp.BasicConsumeOk{ConsumerTag: tag})
	})
}

// hasConsumer reports whether tag is in use on the channel.
func (ch *channel) hasConsumer(tag string) bool {
	out := &ch.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	return ch.consumers[tag] != nil || ch.reply != nil && ch.reply.Tag == tag
}

func consumerPriority(q *broker.Queue, args amqp.Table) (int32, error) {
	invalid := func(name, reason string) error {
		return amqp.Errorf(amqp.PreconditionFailed, "invalid arg '%s' for %s: %s", name, q.Config(), reason)
	}
	if v, ok := args.Lookup("x-cancel-on-ha-failover"); ok {
		if _, ok := v.(bool); !ok {
			return 0, invalid("x-cancel-on-ha-failover", fmt.Sprintf(`"expected boolean, got %s"`, amqp.TypeName(v)))
		}
	}
	v, ok := args.Lookup("x-priority")
	if !ok {
		return 0, nil
	}
	n, ok := amqp.Int(v)
	if !ok {
		return 0, invalid("x-priority", fmt.Sprintf(`"expected integer, got %s"`, amqp.TypeName(v)))
	}
	return int32(max(min(n, 1<<31-1), -1<<31)), nil
}

func (ch *channel) basicCancel(m *amqp.BasicCancel) error {
	out := &ch.conn.out
	out.mu.Lock()
	cons := ch.consumers[m.ConsumerTag]
	delete(ch.consumers, m.ConsumerTag)
	reply := ch.reply
	if reply != nil && reply.Tag == m.ConsumerTag {
		ch.reply = nil
	} else {
		reply = nil
	}
	out.mu.Unlock()
	if reply != nil {
		ch.conn.srv.opt.Broker.CloseReply(reply.name)
	}
	if cons != nil && cons.queue.Cancel(&cons.Consumer) {
		ch.conn.vhost.Unused(cons.queue)
	}
	ch.answer(m.NoWait, &amqp.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	return nil
}

func (ch *channel) basicGet(m *amqp.BasicGet) error {
	q, err := ch.readable(m.Queue)
	if err != nil {
		return err
	}
	if !m.NoAck {
		ch.join(q)
	}
	got, err := q.Get(ch, m.NoAck)
	if err == nil && !got {
		ch.send(&amqp.BasicGetEmpty{})
	}
	// A small request may have a large answer: one read can hold many thousands of them.
	ch.conn.out.waitRoom(ch.conn.srv.opt.OutboxMax)
	return err
}

// recover makes everything that the channel has not acknowledged ready again.
func (ch *channel) recover(requeue, answer bool) error {
	if !requeue {
		return amqp.Errorf(amqp.NotImplemented, "requeue=false")
	}
	out := &ch.conn.out
	out.mu.Lock()
	ch.unacked.take(0, true, func(d *unackedDelivery) { ch.release(d) })
	starved := ch.shared.starved
	ch.shared.starved = nil
	out.mu.Unlock()
	for q := range ch.joined.queues {
		q.Recover(ch)
	}
	if answer {
		ch.send(&amqp.BasicRecoverOk{})
	}
	for _, q := range starved {
		ch.conn.add(q, queue.Resumed())
	}
	return nil
}
