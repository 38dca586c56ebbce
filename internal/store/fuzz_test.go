package store_test

import (
	"strings"
	"testing"

	"github.com/warrenmq/warren/internal/store"
	"github.com/warrenmq/warren/internal/store/storetest"
)

// FuzzRecovery flips bits of a store at rest. It opens, what it returns is what was stored, and what is gone is reported
// or lay in a footer's or the manifest's stead, which records or an older manifest stand in for.
func FuzzRecovery(f *testing.F) {
	disks := []*storetest.Disk{atRest(f, true), atRest(f, false)}
	f.Add(false, uint32(8192*8), uint32(0), uint32(0))
	f.Add(true, uint32(1), uint32(4096*8+5), uint32(70000*8))
	f.Add(true, uint32(9000*8), uint32(40), uint32(524288))
	f.Fuzz(func(t *testing.T, clean bool, a, b, c uint32) {
		d := disks[0]
		if !clean {
			d = disks[1]
		}
		d = d.Crash(1) // a copy: nothing is unsynced
		for i, name := range d.Names() {
			d.Flip(name, int64([...]uint32{a, b, c}[i%3])%(80<<10*8))
		}
		opt := small()
		st, report, err := store.Open(d, "data", opt)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for id := range st.Queues() {
			q := st.Queue(id)
			prev := uint64(0)
			for e := range q.Recovered() {
				if e.Seq <= prev {
					t.Errorf("queue %d: message %d after %d", id, e.Seq, prev)
				}
				prev = e.Seq
			}
			for from := uint64(0); ; {
				got := make(chan []store.Message, 1)
				q.Read(from, 1<<62, 16<<10, func(ms []store.Message, err error) { got <- ms })
				ms := <-got
				if len(ms) == 0 {
					break
				}
				for i := range ms {
					from = ms[i].Seq + 1
					if ms[i].Err != nil {
						continue
					}
					n++
					if err := checkMessage(id, &ms[i]); err != nil {
						t.Errorf("queue %d: message %d: %v", id, ms[i].Seq, err)
					}
				}
			}
		}
		if n < atRestLive/2 && len(report.Damaged) == 0 {
			t.Errorf("%d of %d messages are left, and the report says %+v", n, atRestLive, report)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

const atRestLive = 2 * 100

// atRest returns the disk of a store with a log and extents, closed or cut off.
func atRest(tb testing.TB, clean bool) *storetest.Disk {
	d := storetest.New(1)
	opt := small()
	opt.LogMax = 128 << 10
	st, _, err := store.Open(d, "data", opt)
	if err != nil {
		tb.Fatal(err)
	}
	for id := uint64(1); id <= 2; id++ {
		h := newTold()
		q := st.Queue(id)
		q.Handle(h, store.FlushSync)
		for seq := uint64(1); seq <= 300; seq++ {
			m := message(id, seq)
			q.Message(&m)
			if seq > 50 && seq <= 250 {
				q.Settle(seq-50, seq-50)
			}
			if seq%16 == 0 || seq == 300 {
				q.Submit()
				h.durable(seq)
			}
		}
	}
	if clean {
		if err := st.Close(); err != nil {
			tb.Fatal(err)
		}
		return d.Crash(1)
	}
	c := d.Crash(1)
	if err := st.Close(); err != nil {
		tb.Fatal(err)
	}
	return c
}

// What lies in a folder need not be a store.
func TestStrangeFiles(t *testing.T) {
	d := storetest.New(1)
	for _, name := range []string{"data/00000007.log", "data/readme.log", "data/manifest-a"} {
		f, err := d.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(strings.Repeat("what is this? ", 3000)), 0); err != nil {
			t.Fatal(err)
		}
	}
	st, report, err := store.Open(d, "data", small())
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Damaged) != 1 || !report.ManifestLost {
		t.Errorf("report: %+v", report)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
