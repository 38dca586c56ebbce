package server

import (
	"net"
	"reflect"
	"testing"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// A raw is a client that speaks frames: for what a client library would not do.
type raw struct {
	t   testing.TB
	c   net.Conn
	in  amqp.Reader
	out []byte // written by flush
}

// raw connects and shakes hands as guest, without heartbeats.
func (h *host) raw() *raw {
	h.t.Helper()
	r, err := h.connect(amqp.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { r.c.Close() })
	r.t = h.t
	return r
}

// connect shakes hands as guest with the limits in tune. It may be called from any goroutine; the result's t is not set.
func (h *host) connect(tune amqp.ConnectionTuneOk) (*raw, error) {
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	r := &raw{c: c}
	r.out = append(r.out, amqp.ProtocolHeader...)
	r.send(0, &amqp.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US",
		ClientProperties: amqp.Table{{Name: "capabilities", Value: amqp.Table{
			{Name: "authentication_failure_close", Value: true}, {Name: "connection.blocked", Value: true},
			{Name: "consumer_cancel_notify", Value: true}, {Name: "basic.nack", Value: true},
		}}}})
	r.send(0, &tune)
	r.send(0, &amqp.ConnectionOpen{VirtualHost: "/"})
	if err := r.tryFlush(); err != nil {
		c.Close()
		return nil, err
	}
	for {
		m, err := r.tryMethod()
		if err != nil {
			c.Close()
			return nil, err
		}
		if _, ok := m.(*amqp.ConnectionOpenOk); ok {
			c.SetDeadline(time.Time{})
			return r, nil
		}
	}
}

// send collects a method for flush.
func (r *raw) send(ch amqp.ChannelID, m amqp.Method) { r.out = amqp.AppendMethod(r.out, ch, m) }

// publish collects the frames of a message.
func (r *raw) publish(ch amqp.ChannelID, exchange, key string, mandatory bool, body string) {
	r.send(ch, &amqp.BasicPublish{Exchange: exchange, RoutingKey: key, Mandatory: mandatory})
	r.out = amqp.AppendFrame(r.out, amqp.FrameHeader, ch, amqp.AppendHeader(nil, &amqp.Properties{}, uint64(len(body))))
	if body != "" {
		r.out = amqp.AppendFrame(r.out, amqp.FrameBody, ch, []byte(body))
	}
}

func (r *raw) tryFlush() error {
	_, err := r.c.Write(r.out)
	r.out = r.out[:0]
	return err
}

// flush writes what was collected.
func (r *raw) flush() {
	r.t.Helper()
	if err := r.tryFlush(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) tryFrame() (amqp.Frame, error) {
	for {
		f, ok, err := r.in.Next()
		if ok || err != nil {
			return f, err
		}
		n, err := r.c.Read(r.in.Space())
		if n <= 0 {
			return f, err
		}
		r.in.Filled(n)
	}
}

// tryMethod returns the next method, whatever the channel; other frames are skipped.
func (r *raw) tryMethod() (amqp.Method, error) {
	for {
		f, err := r.tryFrame()
		if err != nil {
			return nil, err
		}
		if f.Type == amqp.FrameMethod {
			return amqp.ParseMethod(f.Payload)
		}
	}
}

// frame returns the next frame.
func (r *raw) frame() amqp.Frame {
	r.t.Helper()
	r.c.SetReadDeadline(time.Now().Add(patience))
	f, err := r.tryFrame()
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *raw) parse(f amqp.Frame) amqp.Method {
	r.t.Helper()
	m, err := amqp.ParseMethod(f.Payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// until skips frames up to a method of the type of want, on channel ch, and returns it. A close is an end.
func (r *raw) until(ch amqp.ChannelID, want amqp.Method) amqp.Method {
	r.t.Helper()
	for {
		f := r.frame()
		if f.Type != amqp.FrameMethod {
			continue
		}
		m := r.parse(f)
		if f.Channel == ch && m.ID() == want.ID() {
			return m
		}
		switch m.(type) {
		case *amqp.ChannelClose, *amqp.ConnectionClose:
			r.t.Fatalf("waiting for %v on channel %d: %+v", reflect.TypeOf(want), ch, m)
		}
	}
}

// call sends m and waits for the answer of answer's type.
func (r *raw) call(ch amqp.ChannelID, m, answer amqp.Method) amqp.Method {
	r.t.Helper()
	r.send(ch, m)
	r.flush()
	return r.until(ch, answer)
}

func (r *raw) open(ch amqp.ChannelID) {
	r.t.Helper()
	r.call(ch, &amqp.ChannelOpen{}, &amqp.ChannelOpenOk{})
}
