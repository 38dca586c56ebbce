package server

import (
	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/queue"
)

// consumeReplies handles basic.consume of amq.rabbitmq.reply-to: answers to this channel's requests come straight to it.
func (ch *channel) consumeReplies(m *amqp.BasicConsume) error {
	if !m.NoAck {
		return amqp.Errorf(amqp.PreconditionFailed, "reply consumer cannot acknowledge")
	}
	if ch.reply != nil {
		return amqp.Errorf(amqp.PreconditionFailed, "reply consumer already set")
	}
	tag := m.ConsumerTag
	if tag == "" {
		tag = broker.GeneratedName("amq.ctag-")
	}
	r := &consumer{Consumer: queue.Consumer{Session: ch, Tag: tag, NoAck: true}, head: amqp.NewDeliverHead(ch.id, tag)}
	r.Data = r
	r.name = ch.conn.srv.opt.Broker.OpenReply(ch)
	ch.conn.out.mu.Lock()
	ch.reply = r
	ch.conn.out.mu.Unlock()
	ch.answer(m.NoWait, &amqp.BasicConsumeOk{ConsumerTag: tag})
	return nil
}

// Reply implements broker.Replier: m is an answer for this channel.
func (ch *channel) Reply(m *amqp.Message) {
	out := &ch.conn.out
	out.mu.Lock()
	r := ch.reply
	full := out.size() > 4*ch.conn.srv.opt.OutboxMax
	out.mu.Unlock()
	if r == nil || full { // replies are at most once: a client that does not read loses them
		return
	}
	ch.Deliver(&r.Consumer, []queue.Delivery{{Message: m}})
}

// addReplyName puts the name under which this channel gets replies in the place of amq.rabbitmq.reply-to.
func (ch *channel) addReplyName(m *amqp.Message) (*amqp.Message, error) {
	if ch.reply == nil {
		return nil, amqp.Errorf(amqp.PreconditionFailed, "fast reply consumer does not exist")
	}
	return ch.rewrite(m, func(p *amqp.Properties) { p.ReplyTo = ch.reply.name })
}

// replyTo passes m on if key stands for a channel that waits for replies.
func (ch *channel) replyTo(m *amqp.Message, key string) bool {
	if !broker.IsReplyName(key) {
		return false
	}
	r, ok := ch.conn.srv.opt.Broker.Replier(key)
	if ok {
		r.Reply(m)
	}
	return ok
}
