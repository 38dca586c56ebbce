package server

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/leak"
)

// Whatever a client sends after a valid handshake, the server does not panic, ends the connection when the client does,
// and no goroutine is left of it.
func FuzzConnection(f *testing.F) {
	whole := session()
	f.Add(whole[len(opened):])
	f.Add(amqp.AppendHeartbeat(nil))
	for _, methods := range [][]amqp.Method{
		{&amqp.ChannelOpen{}, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueBind{Queue: "q", Exchange: "amq.topic", RoutingKey: "#"},
			&amqp.BasicConsume{Queue: "q", ConsumerTag: "t"}, &amqp.BasicAck{Multiple: true}, &amqp.BasicCancel{ConsumerTag: "t"},
			&amqp.QueueDelete{Queue: "q"}, &amqp.ChannelClose{}},
		{&amqp.ChannelOpen{}, &amqp.TxSelect{}, &amqp.BasicRecover{Requeue: true}, &amqp.TxRollback{}, &amqp.TxCommit{}},
		{&amqp.ChannelOpen{}, &amqp.ExchangeDeclare{Exchange: "x", Type: "headers", Arguments: amqp.Table{{Name: "alternate-exchange",
			Value: "amq.fanout"}}}, &amqp.ExchangeBind{Source: "x", Destination: "amq.fanout"}, &amqp.ExchangeDelete{Exchange: "x"}},
		{&amqp.ChannelOpen{}, &amqp.BasicConsume{Queue: "amq.rabbitmq.reply-to", NoAck: true}, &amqp.BasicQos{PrefetchCount: 1, Global: true}},
	} {
		var b []byte
		for _, m := range methods {
			b = amqp.AppendMethod(b, 1, m)
		}
		f.Add(b)
	}
	p := amqp.AppendMethod(nil, 1, &amqp.ChannelOpen{})
	p = amqp.AppendMethod(p, 1, &amqp.BasicPublish{Exchange: "amq.headers"})
	p = amqp.AppendFrame(p, amqp.FrameHeader, 1, amqp.AppendHeader(nil, &amqp.Properties{
		Flags: amqp.FlagHeaders | amqp.FlagExpiration | amqp.FlagReplyTo, Expiration: "0", ReplyTo: "amq.rabbitmq.reply-to",
		Headers: amqp.Table{{Name: "CC", Value: amqp.Array{"q"}}, {Name: "BCC", Value: amqp.Array{"q"}}, {Name: "x-death", Value: true}},
	}, 1))
	f.Add(amqp.AppendFrame(p, amqp.FrameBody, 1, []byte("m")))
	f.Fuzz(func(t *testing.T, data []byte) {
		before := runtime.NumGoroutine()
		h := start(t, nil)
		c, err := net.Dial("tcp", h.addr)
		must(t, err)
		defer c.Close()
		answered := make(chan error, 1)
		go func() { // ends with the connection
			c.SetReadDeadline(time.Now().Add(patience))
			_, err := io.Copy(io.Discard, c)
			answered <- err
		}()
		c.Write(append(bytes.Clone(opened), data...)) // an error is the server's having hung up
		c.(*net.TCPConn).CloseWrite()
		if err, ok := (<-answered).(net.Error); ok && err.Timeout() {
			t.Error("the server keeps a connection whose client is gone")
		}
		h.close()
		if !leak.Settles(before) {
			t.Error("a goroutine is left")
		}
	})
}
