package server

import (
	"errors"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/queue"
)

// A channel is one channel of a connection. It is a queue.Session to the queues that it consumes from and a
// queue.Publisher to those that it publishes to in confirm mode.
type channel struct {
	// immutable
	id   amqp.ChannelID
	conn *conn

	// owned by the reader
	closing   bool // channel.close was sent; everything but its answer is ignored
	content   content
	lastQueue string   // declared last: what an empty name means
	prefetch  int      // of consumers to come; 0: no limit
	joined    queueSet // where there may be consumers or unacknowledged deliveries of this channel
	mode      mode
	tx        *tx
	publishes uint64   // in confirm mode: the number of the last publish
	registers []uint32 // of the publishes since the last flush: how many queues each went to

	// guarded by conn.out.mu
	ended     bool
	tags      amqp.DeliveryTag // the last one given
	unacked   unacked
	shared    shared
	consumers map[string]*consumer // by tag
	reply     *consumer            // of amq.rabbitmq.reply-to
	confirms  confirms
}

// A mode is what a channel was selected for.
type mode uint8

const (
	plain mode = iota
	confirming
	transactional
)

// A consumer is a client's subscription.
type consumer struct {
	queue.Consumer
	queue *broker.Queue // nil for direct replies
	head  amqp.DeliverHead
	name  string // the direct reply name
}

// shared is the prefetch that a channel's consumers have together: basic.qos with global set.
type shared struct {
	limit   int // 0: none
	used    int // deliveries to acknowledge, counted without a limit too: one may come while some are on their way
	starved []*queue.Queue
}

func newChannel(c *conn, id amqp.ChannelID) *channel {
	return &channel{id: id, conn: c}
}

// frame handles one frame of the channel. An *amqp.Error with a soft code closes the channel, any other error the
// connection.
func (ch *channel) frame(f amqp.Frame) error {
	if ch.closing {
		if f.Type == amqp.FrameMethod {
			switch amqp.PeekMethod(f.Payload) {
			case amqp.IDChannelCloseOk:
				ch.forget()
			case amqp.IDChannelClose: // both sides at once
				ch.send(&amqp.ChannelCloseOk{})
			}
		}
		return nil
	}
	switch f.Type {
	case amqp.FrameHeader:
		return ch.header(f.Payload)
	case amqp.FrameBody:
		return ch.body(f.Payload)
	}
	if ch.content.expect != 0 {
		return &amqp.Error{Code: amqp.UnexpectedFrame, Method: amqp.IDBasicPublish,
			Text: ch.content.expect.missing()}
	}
	switch id := amqp.PeekMethod(f.Payload); id {
	case amqp.IDBasicPublish:
		return ch.publish(f.Payload)
	case amqp.IDBasicAck, amqp.IDBasicNack, amqp.IDBasicReject:
		tag, multiple, requeue, ok := amqp.ParseSettle(f.Payload)
		if !ok {
			return &amqp.Error{Code: amqp.SyntaxError, Text: "payload ends early", Method: id}
		}
		return ch.settle(id, tag, multiple, requeue)
	}
	m, err := amqp.ParseMethod(f.Payload)
	if err != nil {
		return err
	}
	ch.conn.flush() // what comes now finds the queues as the client has left them
	err = ch.method(m)
	var e *amqp.Error
	if errors.As(err, &e) && e.Method == 0 {
		return &amqp.Error{Code: e.Code, Text: e.Text, Method: m.ID()}
	}
	return err
}

// method is the table of contents of the protocol.
func (ch *channel) method(m amqp.Method) error {
	switch m := m.(type) {
	case *amqp.ChannelClose:
		ch.end()
		ch.send(&amqp.ChannelCloseOk{})
		ch.forget()
		return nil
	case *amqp.ChannelCloseOk:
		return nil
	case *amqp.ChannelFlow:
		return ch.flow(m)
	case *amqp.ChannelOpen:
		return amqp.Errorf(amqp.ChannelError, "second 'channel.open' seen")
	case *amqp.AccessRequest:
		ch.send(&amqp.AccessRequestOk{Ticket: 1})
		return nil

	case *amqp.ExchangeDeclare:
		return ch.exchangeDeclare(m)
	case *amqp.ExchangeDelete:
		return ch.exchangeDelete(m)
	case *amqp.ExchangeBind:
		return ch.exchangeBind(m)
	case *amqp.ExchangeUnbind:
		return ch.exchangeUnbind(m)

	case *amqp.QueueDeclare:
		return ch.queueDeclare(m)
	case *amqp.QueueBind:
		return ch.queueBind(m)
	case *amqp.QueueUnbind:
		return ch.queueUnbind(m)
	case *amqp.QueuePurge:
		return ch.queuePurge(m)
	case *amqp.QueueDelete:
		return ch.queueDelete(m)

	case *amqp.BasicQos:
		return ch.basicQos(m)
	case *amqp.BasicConsume:
		return ch.basicConsume(m)
	case *amqp.BasicCancel:
		return ch.basicCancel(m)
	case *amqp.BasicGet:
		return ch.basicGet(m)
	case *amqp.BasicRecover:
		return ch.recover(m.Requeue, true)
	case *amqp.BasicRecoverAsync:
		return ch.recover(m.Requeue, false)
	case *amqp.BasicCancelOk:
		return nil

	case *amqp.ConfirmSelect:
		return ch.confirmSelect(m)
	case *amqp.TxSelect:
		return ch.txSelect()
	case *amqp.TxCommit:
		return ch.txCommit()
	case *amqp.TxRollback:
		return ch.txRollback()
	}
	return amqp.Errorf(amqp.CommandInvalid, "unimplemented method")
}

func (ch *channel) flow(m *amqp.ChannelFlow) error {
	if !m.Active {
		return amqp.Errorf(amqp.NotImplemented, "active=false")
	}
	ch.send(&amqp.ChannelFlowOk{Active: true})
	return nil
}

// send queues a method on this channel.
func (ch *channel) send(m amqp.Method) { ch.conn.send(ch.id, m) }

// answer sends m unless the client wants no answer.
func (ch *channel) answer(noWait bool, m amqp.Method) {
	if !noWait {
		ch.send(m)
	}
}

// fail closes the channel with channel.close.
func (ch *channel) fail(e *amqp.Error) {
	if ch.closing || ch.conn.phase != open || ch.conn.channels[ch.id] != ch {
		return
	}
	ch.conn.srv.opt.Log.Warn("channel error", "connection", ch.conn.name, "channel", ch.id, "operation", e.Method.String(),
		"error", e.ReplyText())
	ch.conn.flush()
	ch.end()
	ch.closing = true
	ch.send(&amqp.ChannelClose{ReplyCode: uint16(e.Code), ReplyText: e.ReplyText(), ClassID: e.Method.Class(), MethodID: e.Method.Method()})
}

// forget frees the channel's number.
func (ch *channel) forget() {
	c := ch.conn
	c.out.mu.Lock()
	delete(c.channels, ch.id)
	c.out.mu.Unlock()
	if c.recent == ch {
		c.recent = nil
	}
}

// end gives back all that the channel holds: its consumers go, what it has not acknowledged is ready again, a transaction
// is rolled back. It may be called twice.
func (ch *channel) end() {
	out := &ch.conn.out
	out.mu.Lock()
	if ch.ended {
		out.mu.Unlock()
		return
	}
	ch.ended = true
	ch.consumers = nil
	reply := ch.reply
	ch.reply = nil
	ch.unacked = unacked{}
	ch.confirms = confirms{}
	out.mu.Unlock()
	if reply != nil {
		ch.conn.srv.opt.Broker.CloseReply(reply.name)
	}
	ch.dropContent()
	if ch.tx != nil {
		ch.tx.drop()
	}
	for q := range ch.joined.queues {
		if last := q.Leave(ch); last {
			ch.conn.vhost.Unused(q)
		}
	}
	ch.joined = queueSet{}
}

// join remembers that the channel has to leave q.
func (ch *channel) join(q *broker.Queue) { ch.joined.add(ch.conn.vhost, ch.conn, q) }
