package store_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/warrenmq/warren/internal/store"
	"github.com/warrenmq/warren/internal/store/storetest"
)

// A told is a handler that remembers and can be waited for.
type told struct {
	mu     sync.Mutex
	cond   *sync.Cond
	upTo   uint64 // Durable
	failed uint64
	err    error
	alarms []store.Alarm
	damage []store.Damage
}

func newTold() *told {
	h := &told{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *told) set(f func()) {
	h.mu.Lock()
	f()
	h.mu.Unlock()
	h.cond.Broadcast()
}

func (h *told) Durable(upTo uint64)           { h.set(func() { h.upTo = upTo }) }
func (h *told) Failed(upTo uint64, err error) { h.set(func() { h.failed, h.err = upTo, err }) }
func (h *told) alarm(a store.Alarm)           { h.set(func() { h.alarms = append(h.alarms, a) }) }
func (h *told) damaged(d store.Damage)        { h.set(func() { h.damage = append(h.damage, d) }) }

// until waits for what is told to make ok true.
func (h *told) until(ok func() bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for !ok() {
		h.cond.Wait()
	}
}

func (h *told) durable(seq uint64) { h.until(func() bool { return h.upTo >= seq }) }

// A rig is a store on a disk of its own, and what it tells.
type rig struct {
	*testing.T
	disk *storetest.Disk
	opt  store.Options
	told *told
	st   *store.Store
}

func newRig(t *testing.T) *rig {
	r := &rig{T: t, disk: storetest.New(1), opt: small(), told: newTold()}
	r.opt.Alarm, r.opt.Damaged = r.told.alarm, r.told.damaged
	return r
}

func (r *rig) open() *store.Report {
	r.Helper()
	st, report, err := store.Open(r.disk, "data", r.opt)
	if err != nil {
		r.Fatal(err)
	}
	r.st = st
	return report
}

func (r *rig) close() {
	r.Helper()
	if err := r.st.Close(); err != nil {
		r.Fatal(err)
	}
}

// queue opens a queue whose handler is r.told.
func (r *rig) queue(id uint64) *store.Queue {
	q := r.st.Queue(id)
	q.Handle(r.told, store.FlushSync)
	return q
}

// fill appends messages and waits until they are durable.
func (r *rig) fill(q *store.Queue, from, to uint64) {
	for seq := from; seq <= to; seq++ {
		m := message(q.ID(), seq)
		q.Message(&m)
		if seq%8 == 0 {
			q.Submit()
		}
	}
	q.Submit()
	r.told.durable(to)
}

// live returns the numbers of q's messages, read back and compared.
func (r *rig) live(q *store.Queue) (seqs []uint64) {
	r.Helper()
	for from := uint64(0); ; {
		got := make(chan []store.Message, 1)
		q.Read(from, 1<<62, 10<<10, func(ms []store.Message, err error) {
			if err != nil {
				r.Error(err)
			}
			got <- ms
		})
		ms := <-got
		if len(ms) == 0 {
			return seqs
		}
		for i := range ms {
			if err := checkMessage(q.ID(), &ms[i]); err == nil {
				seqs = append(seqs, ms[i].Seq)
			} else if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, storetest.ErrInjected) {
				r.Error(err)
			}
			from = ms[i].Seq + 1
		}
	}
}

func numbers(from, to uint64) (out []uint64) {
	for ; from <= to; from++ {
		out = append(out, from)
	}
	return out
}

func (r *rig) want(q *store.Queue, want []uint64) {
	r.Helper()
	if got := r.live(q); !slices.Equal(got, want) {
		r.Fatalf("queue %d holds %v, want %v", q.ID(), got, want)
	}
}

// Messages whose settlement comes before their commit are not written; they are durable all the same.
func TestElided(t *testing.T) {
	r := newRig(t)
	r.open()
	q := r.queue(1)
	var c counter
	for seq := range uint64(100) {
		m := message(1, seq+1)
		m.Holder = &c
		q.Message(&m)
	}
	q.Settle(1, 100)
	q.Submit()
	r.told.durable(100)
	r.close()
	if st := r.st.Stats(); st.Elided != 100 || st.WrittenBytes != 0 || st.PendingBytes != 0 {
		t.Errorf("elided messages: %+v", st)
	}
	if c.n != 100 {
		t.Errorf("%d of 100 references released", c.n)
	}
}

type counter struct{ n int }

func (c *counter) Release(n int32) { c.n += int(n) }

// A failed sync is not repeated on the same file: the commit goes to a new segment, and nobody is told of a failure.
func TestFailedSyncMovesOn(t *testing.T) {
	r := newRig(t)
	r.open()
	q := r.queue(1)
	r.fill(q, 1, 20)
	var mu sync.Mutex
	first := ""
	r.disk.Hook(func(op storetest.Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.Kind == "sync" && strings.HasSuffix(op.Name, ".log") && (first == "" || op.Name == first) {
			first = op.Name
			return storetest.ErrInjected
		}
		return nil
	})
	r.fill(q, 21, 40)
	r.disk = r.disk.Crash(7)
	r.disk.Hook(nil)
	report := r.open()
	if r.told.err != nil || len(r.told.alarms) > 0 {
		t.Errorf("told of %v, %v", r.told.err, r.told.alarms)
	}
	r.want(r.queue(1), numbers(1, 40))
	t.Logf("%+v", report)
	r.close()
}

// When a new segment cannot be written either, messages fail, an alarm goes on, and both end by themselves.
func TestFailedDisk(t *testing.T) {
	r := newRig(t)
	r.open()
	q := r.queue(1)
	r.fill(q, 1, 20)
	r.disk.Hook(func(op storetest.Op) error {
		if op.Kind == "sync" {
			return syscall.EIO
		}
		return nil
	})
	var c counter
	m := message(1, 21)
	m.Holder = &c
	q.Message(&m)
	q.Settle(5, 6)
	q.Submit()
	r.told.until(func() bool { return r.told.failed == 21 && len(r.told.alarms) > 0 })
	if !errors.Is(r.told.err, syscall.EIO) || r.told.alarms[0].Kind != store.AlarmFailed || !r.told.alarms[0].On {
		t.Errorf("told of %v, %v", r.told.err, r.told.alarms)
	}
	r.disk.Hook(nil)
	r.told.until(func() bool { return len(r.told.alarms) == 2 })
	r.fill(q, 22, 30)
	r.close()
	if c.n != 1 {
		t.Errorf("the failed message's memory was released %d times", c.n)
	}
	r.open()
	r.want(r.queue(1), slices.Concat(numbers(1, 4), numbers(7, 20), numbers(22, 30)))
	r.close()
}

// A full disk shows as an alarm before messages fail; then they fail and settlements still work; consuming frees space.
func TestFullDisk(t *testing.T) {
	r := newRig(t)
	r.opt.LogMax = 1 << 30
	r.disk.Limit(1 << 20)
	r.open()
	q := r.queue(1)
	last := uint64(0)
	for r.told.failed == 0 {
		for range 8 {
			last++
			m := message(1, last)
			q.Message(&m)
		}
		q.Submit()
		r.told.until(func() bool { return r.told.upTo >= last || r.told.failed >= last })
	}
	stored := r.told.upTo
	if !errors.Is(r.told.err, syscall.ENOSPC) || r.told.alarms[0].Kind != store.AlarmSpace {
		t.Errorf("told of %v, %v", r.told.err, r.told.alarms)
	}
	r.want(q, numbers(1, stored))
	q.Settle(1, stored/2)
	q.Submit()
	r.told.until(func() bool {
		n := len(r.told.alarms)
		return n >= 4 && !r.told.alarms[n-1].On && !r.told.alarms[n-2].On
	})
	r.fill(q, last+1, last+20)
	r.want(q, slices.Concat(numbers(stored/2+1, stored), numbers(last+1, last+20)))
	r.close()
}

// A log over its limit is freed by moving what lives to extents, whichever way; nothing is lost, and nothing comes back.
func TestLogIsBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		every uint64 // one message in so many stays
	}{{"all live", 1}, {"half live", 2}, {"one in 40", 40}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.open()
			var want [2][]uint64
			for round := range uint64(40) {
				for id := range uint64(2) {
					q := r.st.Queue(id + 1)
					h := newTold()
					q.Handle(h, store.FlushSync)
					from := round*40 + 1
					r2 := *r
					r2.told = h
					r2.fill(q, from, from+39)
					for seq := from; seq < from+40; seq++ {
						if seq%tt.every == 0 {
							want[id] = append(want[id], seq)
						} else {
							q.Settle(seq, seq)
						}
					}
					q.Submit()
				}
			}
			for again := range 3 {
				for id := range uint64(2) {
					r.want(r.st.Queue(id+1), want[id])
				}
				r.close()
				if st := r.st.Stats(); st.Extents == 0 && tt.every > 1 || int64(st.Segments) > r.opt.LogMax/r.opt.SegmentSize+2 {
					t.Errorf("%+v", st)
				}
				report := r.open()
				if len(report.Damaged) > 0 || report.Messages != len(want[0])+len(want[1]) {
					t.Errorf("restart %d: %+v", again, report)
				}
			}
			r.close()
		})
	}
}

// A damaged record costs its message, and the report says whose it was.
func TestFlippedBit(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		t.Run(fmt.Sprintf("sealed=%v", sealed), func(t *testing.T) {
			r := newRig(t)
			r.open()
			q := r.queue(3)
			r.fill(q, 1, 20)
			if sealed {
				r.close()
			} else {
				r.disk = r.disk.Crash(1)
			}
			for _, name := range r.disk.Names() {
				if strings.HasSuffix(name, ".log") {
					r.disk.Flip(name, (8192+3000)*8)
				}
			}
			report := r.open()
			if sealed && len(report.Damaged) > 0 || !sealed && (len(report.Damaged) != 1 || report.Damaged[0].Queue != 3 || report.Damaged[0].Messages != 1) {
				t.Errorf("report: %+v", report)
			}
			if n := len(r.live(r.queue(3))); n != 19 {
				t.Errorf("%d messages of 20 are left", n)
			}
			r.close()
		})
	}
}

// Dropping a deep queue takes its messages away for good, and its space.
func TestDrop(t *testing.T) {
	r := newRig(t)
	r.open()
	q := r.queue(1)
	r.fill(q, 1, 2000)
	q.Drop()
	h := newTold()
	other := r.st.Queue(2)
	other.Handle(h, store.FlushSync)
	for seq := range uint64(200) {
		m := message(2, seq+1)
		other.Message(&m)
	}
	other.Submit()
	h.durable(200)
	r.close()
	r.open()
	if ids := slices.Collect(r.st.Queues()); !slices.Equal(ids, []uint64{2}) {
		t.Errorf("queues %v", ids)
	}
	r.want(r.st.Queue(2), numbers(1, 200))
	r.close()
}

// A stalled sync raises an alarm while it lasts, and the next batch gathers meanwhile.
func TestSlowSync(t *testing.T) {
	r := newRig(t)
	r.opt.SlowSync, r.opt.CommitMax = time.Millisecond, 64<<10
	r.open()
	q := r.queue(1)
	gate := make(chan struct{})
	var once sync.Once
	r.disk.Hook(func(op storetest.Op) error {
		if op.Kind == "sync" && strings.HasSuffix(op.Name, ".log") {
			once.Do(func() { <-gate })
		}
		return nil
	})
	m := message(1, 1)
	q.Message(&m)
	q.Submit()
	r.told.until(func() bool { return len(r.told.alarms) == 1 })
	for seq := range uint64(30) {
		m := message(1, seq+2)
		q.Message(&m)
		q.Submit()
	}
	close(gate)
	r.told.durable(31)
	r.told.until(func() bool { return len(r.told.alarms) == 2 })
	r.close()
	if st := r.st.Stats(); st.Commits != 2 {
		t.Errorf("%d commits, want 2", st.Commits)
	}
}

// Pressure is asked for when the disk falls behind, and ends.
func TestPressure(t *testing.T) {
	r := newRig(t)
	r.open()
	q := r.queue(1)
	gate := make(chan struct{})
	r.disk.Hook(func(op storetest.Op) error {
		if op.Kind == "sync" && strings.HasSuffix(op.Name, ".log") {
			<-gate
		}
		return nil
	})
	var slow <-chan struct{}
	seq := uint64(0)
	for slow == nil {
		seq++
		m := message(1, seq)
		q.Message(&m)
		slow = q.Submit()
	}
	close(gate)
	<-slow
	r.told.durable(seq)
	r.close()
}

// Without a sync per commit messages are durable after the write; a sync follows if the mode is FlushInterval.
func TestFlushModes(t *testing.T) {
	for _, mode := range []store.Flush{store.FlushInterval, store.FlushNone} {
		r := newRig(t)
		r.open()
		q := r.st.Queue(1)
		q.Handle(r.told, mode)
		m := message(1, 1)
		q.Message(&m)
		q.Submit()
		r.told.durable(1)
		r.want(q, numbers(1, 1))
		if mode == store.FlushNone {
			if n := r.st.Stats().Syncs; n != 0 {
				t.Errorf("%d syncs for a queue that wants none", n)
			}
			r.close()
			continue
		}
		for r.st.Stats().Syncs == 0 {
			runtime.Gosched()
		}
		after := r.disk.Crash(1)
		r.close()
		r.disk = after
		r.open()
		r.want(r.st.Queue(1), numbers(1, 1))
		r.close()
	}
}

// A message that is not on disk yet can be read, and one that is larger than a segment be stored.
func TestReadEarlyAndLarge(t *testing.T) {
	r := newRig(t)
	r.open()
	q := r.queue(1)
	early := message(1, 1)
	q.Message(&early)
	r.want(q, numbers(1, 1))
	large := store.Message{Seq: 2, Body: make([]byte, 300<<10)}
	large.Body[299<<10] = 7
	q.Message(&large)
	q.Submit()
	r.told.durable(2)
	r.close()
	r.open()
	q = r.queue(1)
	got := make(chan []store.Message, 1)
	q.Read(2, 2, 1, func(ms []store.Message, err error) { got <- ms })
	if ms := <-got; len(ms) != 1 || ms[0].Err != nil || !slices.Equal(ms[0].Body, large.Body) {
		t.Errorf("the large message came back as %d messages", len(ms))
	}
	q.Settle(1, 2)
	r.close()
}
