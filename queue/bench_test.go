package queue

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// A benchSession takes everything, and acknowledges it if it is to.
type benchSession struct {
	q    *Queue
	acks []Event
}

func (s *benchSession) Deliver(c *Consumer, batch []Delivery) {
	if c.NoAck {
		return
	}
	for _, d := range batch {
		s.acks = append(s.acks, Ack(d.Handle))
	}
}

func (s *benchSession) Got(Delivery, bool, int) {}
func (s *benchSession) Room(*Consumer) int      { return 64 << 10 }
func (s *benchSession) Acquire(*Consumer) bool  { return true }
func (s *benchSession) Cancelled(*Consumer)     {}

func (s *benchSession) settle() {
	if len(s.acks) > 0 {
		s.q.Submit(s.acks)
		s.acks = s.acks[:0]
	}
}

type nobody struct{}

func (nobody) DeadLetter(*Queue, *Settings, *amqp.Message, Reason, func()) {}
func (nobody) Expired(*Queue)                                              {}
func (nobody) Confirmed([]uint64, bool)                                    {}

const benchBatch = 64 // messages that a reader submits at a time

// benchEvents makes a batch of messages that lie in one buffer, as those that were read together do.
func benchEvents(size int) (events []Event, release func()) {
	m := letter{key: "some.routing.key", size: size}.message()
	buf := amqp.NewBuffer(benchBatch * m.Footprint())
	data := buf.Bytes()
	for range benchBatch {
		c := m.CopyTo(buf, data[:m.Footprint()])
		data = data[m.Footprint():]
		events = append(events, Publish(c, nobody{}, 1))
	}
	m.Release(1)
	return events, func() { buf.Release(1) }
}

// Published, delivered without acknowledgement, confirmed.
func BenchmarkPublishNoAck(b *testing.B) { benchDeliver(b, true) }

// Published, delivered, acknowledged, confirmed.
func BenchmarkPublishAck(b *testing.B) { benchDeliver(b, false) }

func benchDeliver(b *testing.B, noAck bool) {
	for _, size := range []int{16, 1024} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			q := New(Config{Name: "q"}, NoSettings(), nobody{}, DefaultInboxMax, Storage{})
			s := &benchSession{q: q}
			q.Consume(&Consumer{Session: s, NoAck: noAck}, func() {})
			events, release := benchEvents(size)
			defer release()
			b.ReportAllocs()
			b.SetBytes(int64(size))
			b.ResetTimer()
			for n := 0; n < b.N; n += benchBatch {
				q.Submit(events[:min(benchBatch, b.N-n)])
				s.settle()
			}
		})
	}
}

// A backlog of a hundred thousand is filled, and drained by a consumer that acknowledges. An operation is a message.
func BenchmarkBacklog(b *testing.B) {
	const depth = 100_000
	for _, size := range []int{16, 1024} {
		events, release := benchEvents(size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for n := 0; n < b.N; n += depth {
				q := New(Config{Name: "q"}, NoSettings(), nobody{}, DefaultInboxMax, Storage{})
				for range min(depth, b.N-n) / benchBatch {
					q.Submit(events)
				}
				s := &benchSession{q: q}
				q.Consume(&Consumer{Session: s, Prefetch: 256}, func() {})
				for len(s.acks) > 0 {
					s.settle()
				}
				q.Delete(false, false)
			}
		})
		release()
	}
}

// What a queue costs that nobody uses: one that was never used, and one that messages went through.
func BenchmarkIdleQueue(b *testing.B) {
	for _, used := range []bool{false, true} {
		b.Run(map[bool]string{false: "new", true: "used"}[used], func(b *testing.B) {
			events, release := benchEvents(100)
			defer release()
			queues := make([]*Queue, b.N)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.GC() // what pools hold goes the second time
			runtime.ReadMemStats(&before)
			for i := range queues {
				cfg := Config{VHost: "/", Name: fmt.Sprintf("queue-%d", i), Durable: true}
				q := New(cfg, NoSettings(), nobody{}, DefaultInboxMax, Storage{})
				if used {
					s := &benchSession{q: q}
					q.Submit(events)
					q.Consume(&Consumer{Session: s}, func() {})
					s.settle()
					q.Leave(s)
				}
				queues[i] = q
			}
			runtime.GC()
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N), "bytes/queue")
			runtime.KeepAlive(queues)
		})
	}
}

func (nobody) Lost(*Queue, int) {}
