package server

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// A flow is a publisher and a consumer over TCP that allocate nothing themselves: what is published is encoded before,
// and of what is delivered only the bytes are counted, and the last tag read where acknowledgements need it.
type flow struct {
	t         testing.TB
	pub, cons *raw
	batch     []byte // frames of perBatch messages
	delivered int    // bytes of the deliveries of one batch
	in        []byte
	ack       bool
	confirmed bool
	tag       uint64
}

const perBatch = 100

func newFlow(t testing.TB, size int, ack, confirm bool) *flow {
	h := start(t, nil)
	f := &flow{t: t, pub: h.raw(), cons: h.raw(), ack: ack, confirmed: confirm}
	f.pub.open(1)
	f.pub.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
	if confirm {
		f.pub.call(1, &amqp.ConfirmSelect{}, &amqp.ConfirmSelectOk{})
	}
	f.cons.open(1)
	f.cons.call(1, &amqp.BasicConsume{Queue: "q", ConsumerTag: "t", NoAck: !ack}, &amqp.BasicConsumeOk{})
	var one raw
	body := strings.Repeat("x", size)
	for range perBatch {
		one.publish(1, "", "q", false, body)
	}
	f.batch = one.out
	one = raw{}
	one.send(1, &amqp.BasicDeliver{ConsumerTag: "t", RoutingKey: "q"})
	one.publish(1, "", "q", false, body)
	publish := amqp.AppendMethod(nil, 1, &amqp.BasicPublish{RoutingKey: "q"})
	f.delivered = perBatch * (len(one.out) - len(publish))
	f.in = make([]byte, f.delivered)
	return f
}

// run passes n batches through the server.
func (f *flow) run(n int) {
	for range n {
		if _, err := f.pub.c.Write(f.batch); err != nil {
			f.t.Fatal(err)
		}
		if _, err := io.ReadFull(f.cons.c, f.in); err != nil {
			f.t.Fatal(err)
		}
		f.tag += perBatch
		if f.ack {
			f.cons.out = amqp.AppendAck(f.cons.out[:0], 1, f.tag, true)
			if _, err := f.cons.c.Write(f.cons.out); err != nil {
				f.t.Fatal(err)
			}
		}
		for f.confirmed { // until all of the batch are
			frame, err := f.pub.tryFrame()
			if err != nil || amqp.PeekMethod(frame.Payload) != amqp.IDBasicAck {
				f.t.Fatal(frame, err)
			}
			if tag, _, _, _ := amqp.ParseSettle(frame.Payload); tag == f.tag {
				break
			}
		}
	}
}

// mallocs returns how many objects were allocated per message, by everything in the process.
func (f *flow) mallocs(batches int) float64 {
	f.run(batches / 2) // pools fill and slices reach their size
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f.run(batches)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(batches*perBatch)
}

var flows = []struct {
	size         int
	ack, confirm bool
}{{16, false, false}, {16, true, false}, {16, true, true}, {1024, false, false}, {1024, true, true}, {2048, true, false}}

func flowName(size int, ack, confirm bool) string {
	return fmt.Sprintf("%d bytes, ack %v, confirm %v", size, ack, confirm)
}

// The way of a message from its publisher's socket to its consumer's allocates nothing; what is left is per batch.
func TestMessagesAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	for _, f := range flows {
		t.Run(flowName(f.size, f.ack, f.confirm), func(t *testing.T) {
			if n := newFlow(t, f.size, f.ack, f.confirm).mallocs(2000); n > 0.05 {
				t.Errorf("%.3f allocations for each message, want at most 0.05", n)
			} else {
				t.Logf("%.4f allocations for each message", n)
			}
		})
	}
}

// BenchmarkMessage is one message from socket to socket; allocations are those of the whole process.
func BenchmarkMessage(b *testing.B) {
	for _, f := range flows {
		b.Run(flowName(f.size, f.ack, f.confirm), func(b *testing.B) {
			fl := newFlow(b, f.size, f.ack, f.confirm)
			fl.run(500)
			b.SetBytes(int64(f.size))
			b.ReportAllocs()
			b.ResetTimer()
			fl.run((b.N + perBatch - 1) / perBatch)
		})
	}
}
