package broker

import (
	"strings"
	"sync"

	"github.com/warrenmq/warren/amqp"
)

// ReplyQueue is the name that clients consume from for direct replies, and put into reply-to.
const ReplyQueue = "amq.rabbitmq.reply-to"

const replyPrefix = ReplyQueue + "."

// A Replier is a channel that consumes from ReplyQueue.
type Replier interface {
	// Reply delivers m, which is borrowed; it never blocks.
	Reply(m *amqp.Message)
}

// replies are the channels that wait for direct replies, by token.
type replies struct{ byToken sync.Map }

// OpenReply registers r and returns the name that stands for it: a routing key of the default exchange.
func (b *Broker) OpenReply(r Replier) (name string) {
	name = GeneratedName(replyPrefix)
	b.replies.byToken.Store(name, r)
	return name
}

// CloseReply forgets a name that OpenReply returned.
func (b *Broker) CloseReply(name string) { b.replies.byToken.Delete(name) }

// Replier returns who waits for replies under name; ok is false if nobody does any more.
func (b *Broker) Replier(name string) (Replier, bool) {
	v, ok := b.replies.byToken.Load(name)
	if !ok {
		return nil, false
	}
	return v.(Replier), true
}

// IsReplyName reports whether name is of the form that OpenReply returns.
func IsReplyName(name string) bool { return strings.HasPrefix(name, replyPrefix) }
