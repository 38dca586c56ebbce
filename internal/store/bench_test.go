package store_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/warrenmq/warren/internal/store"
)

// cpu returns what the process has used of its CPUs so far.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

type window struct {
	q    *store.Queue
	sent uint64
	done atomic.Uint64
	wake chan struct{}
}

func (w *window) Durable(upTo uint64) {
	w.done.Store(upTo)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *window) Failed(upTo uint64, err error) { panic(err) }

func benchOpen(b *testing.B, dir string) *store.Store {
	b.Helper()
	s, _, err := store.Open(store.OS, dir, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// perMillion reports CPU seconds per million of n.
func perMillion(b *testing.B, name string, used time.Duration, n int) {
	b.ReportMetric(used.Seconds()*1e6/float64(n), name)
}

// 1 KiB messages with at most 256 of them unconfirmed in all, each settled once it is durable: what a broker's shallow
// queues ask of the store. -benchtime 1000000x gives figures that compare.
func BenchmarkAppend(b *testing.B) {
	for _, queues := range []int{1, 4, 1000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			s := benchOpen(b, b.TempDir())
			wake := make(chan struct{}, 1)
			ws := make([]*window, queues)
			for i := range ws {
				ws[i] = &window{q: s.Queue(uint64(i + 1)), wake: wake}
				ws[i].q.Handle(ws[i], store.FlushSync)
			}
			m := store.Message{Address: make([]byte, 12), Props: make([]byte, 15), Body: make([]byte, 1024)}
			share := max(1, 256/queues)
			b.ReportAllocs()
			b.ResetTimer()
			begin := cpu()
			for sent, settled, first := 0, 0, 0; settled < b.N; {
				progress := false
				for k := range ws {
					w := ws[(first+k)%len(ws)]
					if queues > 256 && k >= 256 {
						break
					}
					done := w.done.Load()
					n := 0
					for sent < b.N && int(w.sent-done) < share {
						w.sent++
						m.Seq = w.sent
						w.q.Message(&m)
						sent++
						n++
					}
					if n > 0 {
						progress = true
						w.q.Submit()
					}
				}
				settled = 0
				for _, w := range ws {
					settled += int(w.done.Load())
				}
				if queues > 256 {
					first = (first + 256) % len(ws)
				}
				if !progress && settled < b.N {
					<-wake
				}
				for _, w := range ws {
					if d := w.done.Load(); d > 0 {
						w.q.Settle(d-min(d-1, uint64(share)), d)
					}
				}
			}
			b.StopTimer()
			perMillion(b, "cpu-s/M", cpu()-begin, b.N)
			st := s.Stats()
			b.ReportMetric(float64(st.WrittenBytes+st.FooterBytes+st.MovedBytes)/float64(st.Messages*1051), "write-amp")
			b.ReportMetric(float64(st.Messages)/float64(st.Syncs), "msgs/sync")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// A backlog of 1 KiB messages is filled without waiting, recovered, and drained.
func BenchmarkBacklog(b *testing.B) {
	for _, queues := range []int{1, 1000} {
		b.Run(fmt.Sprintf("queues=%d", queues), func(b *testing.B) {
			count := max(b.N, queues)
			dir := b.TempDir()
			s := benchOpen(b, dir)
			qs := make([]*store.Queue, queues)
			hs := make([]*told, queues)
			for i := range qs {
				qs[i], hs[i] = s.Queue(uint64(i+1)), newTold()
				qs[i].Handle(hs[i], store.FlushSync)
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			m := store.Message{Address: make([]byte, 12), Props: make([]byte, 15), Body: make([]byte, 1024)}
			b.ResetTimer()
			begin := cpu()
			for i := range count {
				m.Seq = uint64(i/queues + 1)
				q := qs[i%queues]
				q.Message(&m)
				if (i/queues)%16 == 15 || i >= count-queues {
					if slow := q.Submit(); slow != nil {
						<-slow
					}
				}
			}
			for i, h := range hs {
				h.durable(uint64((count-1-i)/queues + 1))
			}
			perMillion(b, "fill-cpu-s/M", cpu()-begin, count)
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(count), "heap-B/msg")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			begin = cpu()
			s, r, err := store.Open(store.OS, dir, store.Options{})
			if err != nil || r.Messages != count {
				b.Fatal(err, r)
			}
			perMillion(b, "open-cpu-s/M", cpu()-begin, count)
			b.ReportMetric(r.Took.Seconds()*1e6/float64(count), "open-s/M")
			begin = cpu()
			total := 0
			for i := range qs {
				total += drain(b, s.Queue(uint64(i+1)))
			}
			perMillion(b, "drain-cpu-s/M", cpu()-begin, count)
			if total != count {
				b.Fatalf("drained %d of %d", total, count)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// drain reads and settles all of a queue, 256 KiB at a time.
func drain(b *testing.B, q *store.Queue) (n int) {
	got := make(chan []store.Message, 1)
	for from := uint64(1); ; {
		q.Read(from, 1<<62, 250<<10, func(ms []store.Message, err error) { got <- ms })
		ms := <-got
		if len(ms) == 0 {
			return n
		}
		for i := range ms {
			if ms[i].Err != nil {
				b.Fatal(ms[i].Err)
			}
			ms[i].Holder.Release(1)
		}
		last := ms[len(ms)-1].Seq
		q.Settle(from, last)
		q.Submit()
		n += len(ms)
		from = last + 1
	}
}
