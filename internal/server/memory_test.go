package server

import (
	"bytes"
	"errors"
	"net"
	"os"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// largestOutbox returns the bytes in the fullest outbox.
func (h *host) largestOutbox() (largest int) {
	h.server.each(func(c *conn) {
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		largest = max(largest, c.out.size())
	})
	return largest
}

// stuck is a client that has little room for what it does not read.
func (h *host) stuck() *raw {
	r := h.raw()
	must(h.t, r.c.(*net.TCPConn).SetReadBuffer(4096))
	r.open(1)
	return r
}

// A consumer that does not read is given no more than its outbox holds, whatever its queue holds; other consumers of the
// queue get the rest, and other connections go on.
func TestConsumerThatDoesNotRead(t *testing.T) {
	const outboxMax, size, n = 256 << 10, 1 << 10, 20_000
	h := start(t, func(o *Options) { o.OutboxMax = outboxMax })
	pub := h.raw()
	pub.open(1)
	pub.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
	pub.call(1, &amqp.ConfirmSelect{}, &amqp.ConfirmSelectOk{})
	deaf := h.stuck()
	deaf.call(1, &amqp.BasicConsume{Queue: "q"}, &amqp.BasicConsumeOk{})
	body := strings.Repeat("x", size)
	largest := 0
	for done := 0; done < n; {
		for range 100 {
			pub.publish(1, "", "q", false, body)
			done++
		}
		pub.flush()
		for {
			if ack := pub.until(1, &amqp.BasicAck{}).(*amqp.BasicAck); ack.DeliveryTag == uint64(done) {
				break
			}
		}
		largest = max(largest, h.largestOutbox())
	}
	if most := outboxMax + roomStep + 2*size; largest > most {
		t.Errorf("%d bytes waited for a client that does not read, want at most %d", largest, most)
	}
	ok := pub.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{}).(*amqp.QueueDeclareOk)
	if ok.MessageCount == 0 {
		t.Error("the queue has given away all of its messages")
	}
	reader := h.raw()
	reader.open(1)
	reader.call(1, &amqp.BasicConsume{Queue: "q", NoAck: true}, &amqp.BasicConsumeOk{})
	for range ok.MessageCount {
		reader.until(1, &amqp.BasicDeliver{})
	}
	deaf.c.Close() // what it was given is ready again
	for range n - ok.MessageCount {
		if d := reader.until(1, &amqp.BasicDeliver{}).(*amqp.BasicDeliver); !d.Redelivered {
			t.Fatal("a message that was given to another client is not marked redelivered")
		}
	}
}

// A client that asks and does not read the answers is not read either.
func TestRequestsWithoutReading(t *testing.T) {
	const outboxMax = 64 << 10
	for _, tt := range []struct {
		name  string
		ask   func(r *raw)
		most  int // bytes in the outbox
		flood int // bytes that could be written if nobody pushed back
	}{
		{"declare", func(r *raw) { r.send(1, &amqp.QueueDeclare{Queue: "q"}) }, 2*outboxMax + 600<<10, 64 << 20},
		{"get", func(r *raw) { r.send(1, &amqp.BasicGet{Queue: "q"}) }, 2*outboxMax + 1<<10, 64 << 20},
		{"mandatory", func(r *raw) { r.publish(1, "", "nowhere", true, strings.Repeat("x", 5000)) }, 2*outboxMax + 600<<10, 64 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, func(o *Options) { o.OutboxMax = outboxMax })
			r := h.stuck()
			r.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
			for range 20_000 { // for get
				r.publish(1, "", "q", false, strings.Repeat("x", 512))
			}
			r.flush()
			r.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
			for range 500 {
				tt.ask(r)
			}
			written := 0
			for err := error(nil); err == nil; {
				r.c.SetWriteDeadline(time.Now().Add(time.Second)) // it blocks when it works, which is what is waited for
				var k int
				k, err = r.c.Write(r.out)
				if written += k; written > tt.flood {
					t.Fatal("all that a client sends is read though it does not read itself")
				}
				if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
			}
			if n := h.largestOutbox(); n > tt.most {
				t.Errorf("%d bytes wait for a client that does not read, want at most %d", n, tt.most)
			}
			other := h.raw() // is not held up
			other.open(1)
			other.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
		})
	}
}

// A large message is held once, and never copied whole, from its publisher to its consumers.
func TestLargeMessage(t *testing.T) {
	const size = 100 << 20
	h := start(t, nil)
	heap := heapBytes()
	peak := watchHeap()
	r := h.raw()
	r.c.SetDeadline(time.Now().Add(3 * patience))
	r.open(1)
	r.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
	r.call(1, &amqp.ConfirmSelect{}, &amqp.ConfirmSelectOk{})
	chunk := bytes.Repeat([]byte("0123456789abcdef"), 8<<10)[:131072-amqp.FrameOverhead]
	r.send(1, &amqp.BasicPublish{RoutingKey: "q"})
	r.out = amqp.AppendFrame(r.out, amqp.FrameHeader, 1, amqp.AppendHeader(nil, &amqp.Properties{}, size))
	for left := size; left > 0; {
		n := min(left, len(chunk))
		r.out = amqp.AppendFrame(r.out, amqp.FrameBody, 1, chunk[:n])
		r.flush()
		left -= n
	}
	r.until(1, &amqp.BasicAck{})
	read := func(what string) {
		t.Helper()
		got, frames := 0, 0
		for got < size {
			f := r.frame()
			if f.Type != amqp.FrameBody {
				continue
			}
			got += len(f.Payload)
			frames++
			if !bytes.Equal(f.Payload, chunk[:len(f.Payload)]) {
				t.Fatalf("%s: frame %d differs from what was published", what, frames)
			}
		}
	}
	r.send(1, &amqp.BasicGet{Queue: "q"})
	r.flush()
	read("get")
	r.send(1, &amqp.BasicReject{DeliveryTag: 1, Requeue: true})
	r.send(1, &amqp.BasicConsume{Queue: "q"})
	r.flush()
	read("deliver")
	r.send(1, &amqp.BasicAck{DeliveryTag: 2})
	if ok := r.call(1, &amqp.QueueDelete{Queue: "q"}, &amqp.QueueDeleteOk{}).(*amqp.QueueDeleteOk); ok.MessageCount != 0 {
		t.Errorf("%d messages are left", ok.MessageCount)
	}
	r.c.Close()
	settled(t, "the connection is gone", func() bool { return h.server.Connections() == 0 })
	if p := peak(); p > heap+150<<20 {
		t.Errorf("the heap grew to %d MiB for a message of %d MiB", p>>20, size>>20)
	}
	if now := heapBytes(); now > heap+4<<20 {
		t.Errorf("the heap has %d KiB, before the message it were %d", now>>10, heap>>10)
	}
}

// watchHeap measures the heap until the function it returns is called, which returns the most that it held.
func watchHeap() (peak func() uint64) {
	stop, result := make(chan struct{}), make(chan uint64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		var most uint64
		for {
			metrics.Read(sample)
			most = max(most, sample[0].Value.Uint64())
			select {
			case <-stop:
				result <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-result
	}
}
