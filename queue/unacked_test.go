package queue

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Each handle settles its delivery once; those of a session are found in order; counts are right.
func TestUnacked(t *testing.T) {
	type held struct {
		h   Handle
		seq uint64
	}
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 2))
		var u unacked
		members := [3]member{}
		want := map[*member][]held{} // in order of delivery
		var settled []Handle
		total, bytes := 0, int64(0)
		filling := true
		for seq := range uint64(20_000) {
			if seq%3000 == 0 {
				filling = !filling
			}
			m := &members[r.IntN(len(members))]
			switch k := r.IntN(10); {
			case k < 3 || filling && k < 6:
				it := entry(seq, 0, r.IntN(50))
				h := u.add(it, m, nil)
				if h.slot == 0 || slices.Contains(settled, h) {
					t.Fatalf("handle %v was used before", h)
				}
				want[m] = append(want[m], held{h, seq})
				total++
				bytes += int64(it.msg.Size)
			case k < 9 && len(want[m]) > 0:
				i := r.IntN(len(want[m]))
				w := want[m][i]
				want[m] = slices.Delete(want[m], i, i+1)
				d, ok := u.take(w.h)
				if !ok || d.seq != w.seq || d.member != m {
					t.Fatalf("take(%v) = %d, %v, want %d", w.h, d.seq, ok, w.seq)
				}
				total--
				bytes -= int64(d.msg.Size)
				settled = append(settled, w.h)
			case len(settled) > 0:
				if d, ok := u.take(settled[r.IntN(len(settled))]); ok {
					t.Fatalf("delivery %d was settled twice", d.seq)
				}
			}
			if u.n != total || u.bytes != bytes || m.unacked != len(want[m]) {
				t.Fatalf("%d unacked, %d bytes, %d of the session, want %d, %d, %d", u.n, u.bytes, m.unacked, total, bytes, len(want[m]))
			}
		}
		for i := range members {
			m := &members[i]
			var handles []Handle
			for _, w := range want[m] {
				handles = append(handles, w.h)
			}
			if got := u.handles(m); !slices.Equal(got, handles) {
				t.Fatalf("handles %v, want %v", got, handles)
			}
		}
		for _, h := range []Handle{{}, {0, 1}, {1 << 31, 1}, {uint32(len(u.slots)) + 1, 1}} {
			if _, ok := u.take(h); ok {
				t.Errorf("there is a delivery called %v", h)
			}
		}
	}
}

// Slots of a time with many deliveries go when none is left, and handles of that time mean nothing afterwards.
func TestUnackedGivesMemoryBack(t *testing.T) {
	var u unacked
	var m member
	var handles []Handle
	for seq := range uint64(5000) {
		handles = append(handles, u.add(entry(seq, 0, 1), &m, nil))
	}
	for _, h := range handles {
		u.take(h)
	}
	if u.slots != nil {
		t.Errorf("%d slots are kept", len(u.slots))
	}
	u.add(entry(1, 0, 1), &m, nil)
	for _, h := range handles {
		if _, ok := u.take(h); ok {
			t.Fatalf("%v is from another time", h)
		}
	}
}
