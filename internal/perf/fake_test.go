package perf

import (
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// A fakeBroker understands what Run says to a broker, keeps nothing, and hands each publish to the consumers of the queue
// that its routing key names. It can be told to err, which a real broker cannot.
type fakeBroker struct {
	addr string
	// fault says for message n (from 0) how often it is delivered, and to which queue instead of its own ("": its own).
	fault func(n int) (times int, queue string)

	mu        sync.Mutex // guards the fields below, and writes to connections: deliveries come from any of them
	n         int
	consumers map[string]*fakeConsumer
}

type fakeConsumer struct {
	nc  net.Conn
	ch  amqp.ChannelID
	tag string
	n   uint64 // deliveries
}

// newFake starts a fakeBroker that ends with the test.
func newFake(t *testing.T) *fakeBroker {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &fakeBroker{addr: l.Addr().String(), consumers: map[string]*fakeConsumer{}}
	var wg sync.WaitGroup
	wg.Go(func() { // ends when the listener is closed
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { b.serve(nc) }) // ends when the client closes
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return b
}

// serve answers one client.
func (b *fakeBroker) serve(nc net.Conn) {
	defer nc.Close()
	head := make([]byte, len(amqp.ProtocolHeader))
	if _, err := nc.Read(head); err != nil {
		return
	}
	c := &conn{nc: nc, buf: make([]byte, smallBuffer)}
	b.send(nc, 0, &amqp.ConnectionStart{VersionMinor: 9, Mechanisms: "PLAIN", Locales: "en_US"})
	var key string
	confirms, published := false, uint64(0)
	for {
		kind, ch, payload, err := c.next()
		if err != nil {
			return
		}
		if kind == amqp.FrameBody {
			b.publish(key, payload)
			if published++; confirms {
				b.send(nc, ch, &amqp.BasicAck{DeliveryTag: published})
			}
		}
		if kind != amqp.FrameMethod {
			continue
		}
		m, err := amqp.ParseMethod(payload)
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *amqp.BasicPublish:
			key = m.RoutingKey
		case *amqp.BasicConsume:
			b.mu.Lock()
			b.consumers[m.Queue] = &fakeConsumer{nc: nc, ch: ch, tag: m.ConsumerTag}
			b.mu.Unlock()
			b.send(nc, ch, &amqp.BasicConsumeOk{ConsumerTag: m.ConsumerTag})
		case *amqp.ConfirmSelect:
			confirms = true
			b.send(nc, ch, &amqp.ConfirmSelectOk{})
		case *amqp.ConnectionClose:
			b.send(nc, 0, &amqp.ConnectionCloseOk{})
			return
		default:
			if answer := fakeAnswer(m); answer != nil {
				b.send(nc, ch, answer)
			}
		}
	}
}

// fakeAnswer returns what a broker says to methods that need no thought.
func fakeAnswer(m amqp.Method) amqp.Method {
	switch m := m.(type) {
	case *amqp.ConnectionStartOk:
		return &amqp.ConnectionTune{ChannelMax: 100, FrameMax: maxFrame}
	case *amqp.ConnectionOpen:
		return &amqp.ConnectionOpenOk{}
	case *amqp.ChannelOpen:
		return &amqp.ChannelOpenOk{}
	case *amqp.ChannelClose:
		return &amqp.ChannelCloseOk{}
	case *amqp.QueueDeclare:
		return &amqp.QueueDeclareOk{Queue: m.Queue}
	case *amqp.QueueDelete:
		return &amqp.QueueDeleteOk{}
	case *amqp.BasicQos:
		return &amqp.BasicQosOk{}
	case *amqp.BasicCancel:
		return &amqp.BasicCancelOk{ConsumerTag: m.ConsumerTag}
	}
	return nil
}

func (b *fakeBroker) send(nc net.Conn, ch amqp.ChannelID, m amqp.Method) {
	b.mu.Lock()
	defer b.mu.Unlock()
	nc.Write(amqp.AppendMethod(nil, ch, m))
}

func (b *fakeBroker) publish(queue string, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	times := 1
	if b.fault != nil {
		var other string
		if times, other = b.fault(b.n); other != "" {
			queue = other
		}
	}
	b.n++
	k := b.consumers[queue]
	for range times {
		k.n++
		header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(body)))
		f := amqp.AppendMethod(nil, k.ch, &amqp.BasicDeliver{ConsumerTag: k.tag, DeliveryTag: k.n, RoutingKey: queue})
		f = amqp.AppendFrame(f, amqp.FrameHeader, k.ch, append(header, 0, 0))
		k.nc.Write(amqp.AppendFrame(f, amqp.FrameBody, k.ch, body))
	}
}

// What a broker does wrong shows in the Result, each fault by its name.
func TestExactness(t *testing.T) {
	for _, tt := range []struct {
		name                        string
		fault                       func(n int) (int, string)
		missing, duplicates, strays int64
		arrived                     int64
	}{
		{"all right", nil, 0, 0, 0, 500},
		{"one lost", func(n int) (int, string) {
			if n == 100 {
				return 0, ""
			}
			return 1, ""
		}, 1, 0, 0, 499},
		{"one twice", func(n int) (int, string) {
			if n == 499 {
				return 2, ""
			}
			return 1, ""
		}, 0, 1, 0, 501},
		{"one lost and another twice", func(n int) (int, string) {
			return map[int]int{7: 0, 8: 2}[n] + map[bool]int{true: 1}[n != 7 && n != 8], ""
		}, 1, 1, 0, 500},
		{"one in another's queue", func(n int) (int, string) {
			if n == 4 { // even messages are queue 0's
				return 1, "perf-1"
			}
			return 1, ""
		}, 1, 0, 1, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newFake(t)
			b.fault = tt.fault
			res, err := Run(t.Context(), Config{
				Endpoint: Endpoint{Addrs: []string{b.addr}}, Producers: 1, Consumers: 2, Queues: 2, BodySize: 32,
				Messages: 500, AckEvery: 10, Prefetch: 100, Window: 50, Patience: 50 * time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			if res.Sent != 500 || res.Missing != tt.missing || res.Duplicates != tt.duplicates ||
				res.Strays != tt.strays || res.Arrived != tt.arrived {
				t.Errorf("%d sent, %d arrived, %d missing, %d twice, %d astray, want 500, %d, %d, %d, %d", res.Sent,
					res.Arrived, res.Missing, res.Duplicates, res.Strays, tt.arrived, tt.missing, tt.duplicates, tt.strays)
			}
			if exact := tt.fault == nil; res.Exact() != exact {
				t.Errorf("exact: %v, want %v", res.Exact(), exact)
			}
			if res.ConfirmLatency.Count() != 500 || res.Latency.Count() != res.Arrived {
				t.Errorf("%d confirms and %d deliveries timed", res.ConfirmLatency.Count(), res.Latency.Count())
			}
		})
	}
}

// A broker that closes the connection ends the run with its reason.
func TestRunEndsWithBroker(t *testing.T) {
	b := newFake(t)
	b.fault = func(n int) (int, string) {
		if n == 50 {
			k := b.consumers["perf-0"]
			k.nc.Write(amqp.AppendMethod(nil, 0, &amqp.ConnectionClose{ReplyCode: 320, ReplyText: "CONNECTION_FORCED"}))
		}
		return 1, ""
	}
	_, err := Run(t.Context(), Config{Endpoint: Endpoint{Addrs: []string{b.addr}}, Producers: 1, Consumers: 1,
		BodySize: 16, Duration: time.Hour, Lag: 100})
	if err == nil || !strings.Contains(err.Error(), "320 CONNECTION_FORCED") {
		t.Errorf("the run ended with %v", err)
	}
}

func TestCheck(t *testing.T) {
	at := Endpoint{Addrs: []string{"nowhere"}}
	for _, tt := range []struct {
		name, want string
		cfg        Config
	}{
		{"no address", "no address", Config{Producers: 1}},
		{"nobody", "neither", Config{Endpoint: at}},
		{"a drain of how many", "number of messages", Config{Endpoint: at, Consumers: 1}},
		{"acks that never come", "prefetch of 10", Config{Endpoint: at, Producers: 1, Consumers: 1, AckEvery: 11, Prefetch: 10}},
		{"a negative size", "negative", Config{Endpoint: at, Producers: 1, BodySize: -1}},
		{"a binding of no queue", "queue 1 of 1", Config{Endpoint: at, Producers: 1, Bindings: []Binding{{1, "a"}}}},
	} {
		if _, err := Run(t.Context(), tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
