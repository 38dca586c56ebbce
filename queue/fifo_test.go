package queue

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// entry makes an item; its message is for priority and size only.
func entry(seq uint64, priority uint8, size int) item {
	return item{seq: seq, msg: &amqp.Message{Priority: priority, Size: size}}
}

// A fifo does as a sorted slice does, whatever comes, goes and comes back, deep and shallow.
func TestFifo(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 0))
		var f fifo
		var want, away []uint64
		seq := uint64(0)
		filling := true
		for op := range 20_000 {
			if op%2000 == 0 {
				filling = !filling
			}
			switch k := r.IntN(10); {
			case k < 4 || filling && k < 7:
				seq += 1 + r.Uint64N(3) // others go to consumers without a stop here
				f.push(entry(seq, 0, 0))
				want = append(want, seq)
			case k < 8:
				if len(want) == 0 {
					if f.peek() != nil {
						t.Fatalf("peek finds %d in an empty fifo", f.peek().seq)
					}
					continue
				}
				p := f.peek().seq
				it := f.pop()
				if it.seq != want[0] || p != want[0] {
					t.Fatalf("peek %d, pop %d, want %d", p, it.seq, want[0])
				}
				want = want[1:]
				away = append(away, it.seq)
			case k < 9:
				if len(away) == 0 {
					continue
				}
				i := r.IntN(len(away))
				f.restore(entry(away[i], 0, 0))
				at, _ := slices.BinarySearch(want, away[i])
				want = slices.Insert(want, at, away[i])
				away = slices.Delete(away, i, i+1)
			default:
				s := r.Uint64N(seq + 2)
				at, found := slices.BinarySearch(want, s)
				it, ok := f.remove(s)
				if ok != found || ok && it.seq != s {
					t.Fatalf("remove(%d) = %d, %v, want %v", s, it.seq, ok, found)
				}
				if found {
					want = slices.Delete(want, at, at+1)
				}
			}
			if f.len() != len(want) {
				t.Fatalf("%d items, want %d", f.len(), len(want))
			}
		}
		var all []uint64
		f.each(func(it *item) { all = append(all, it.seq) })
		slices.Sort(all)
		if !slices.Equal(all, want) {
			t.Fatalf("each finds %v, want %v", all, want)
		}
	}
}

// A fifo that was deep keeps no memory of it, and holds on to no message that is gone.
func TestFifoGivesMemoryBack(t *testing.T) {
	const deep = 100_000
	for name, take := range map[string]func(f *fifo, seq uint64){
		"pop":    func(f *fifo, _ uint64) { f.pop() },
		"remove": func(f *fifo, seq uint64) { f.remove(seq) },
	} {
		var f fifo
		for seq := range uint64(deep) {
			f.push(entry(seq, 0, 0))
		}
		for seq := range uint64(deep) {
			if seq == deep-100 && len(f.ring) > 8192 {
				t.Errorf("%s: room for %d items, and 100 left", name, len(f.ring))
			}
			take(&f, seq)
			if seq%1000 == 0 {
				held := 0
				for i := range f.ring {
					if f.ring[i].msg != nil {
						held++
					}
				}
				if held != f.n {
					t.Fatalf("%s: %d messages are held, want %d", name, held, f.n)
				}
			}
		}
		if f.ring != nil {
			t.Errorf("%s: room for %d items, and none left", name, len(f.ring))
		}
	}
}

// ready does as a slice sorted by priority and arrival does.
func TestReady(t *testing.T) {
	for _, maxPriority := range []uint8{0, 1, 9, 63, 64, 255} {
		r := rand.New(rand.NewPCG(uint64(maxPriority), 1))
		q := newReady(maxPriority)
		var want, away []item
		before := func(a, b item) int {
			pa, pb := min(a.msg.Priority, maxPriority), min(b.msg.Priority, maxPriority)
			if pa > pb || pa == pb && a.seq < b.seq {
				return -1
			}
			return 1
		}
		for seq := range uint64(20_000) {
			switch k := r.IntN(10); {
			case k < 5:
				it := entry(seq, uint8(r.UintN(256)), r.IntN(100))
				q.push(it)
				want = append(want, it)
			case k < 8 && len(want) > 0:
				slices.SortFunc(want, before)
				p := q.peek().seq
				it := q.pop()
				if p != want[0].seq || it != want[0] {
					t.Fatalf("peek %d, pop %d, want %d", p, it.seq, want[0].seq)
				}
				want = want[1:]
				away = append(away, it)
			case k < 9 && len(away) > 0:
				i := r.IntN(len(away))
				q.restore(away[i])
				want = append(want, away[i])
				away = slices.Delete(away, i, i+1)
			default:
				s := r.Uint64N(seq + 1)
				at := slices.IndexFunc(want, func(it item) bool { return it.seq == s })
				if _, ok := q.remove(s); ok != (at >= 0) {
					t.Fatalf("remove(%d) = %v", s, ok)
				}
				if at >= 0 {
					want = slices.Delete(want, at, at+1)
				}
			}
			bytes := int64(0)
			for _, it := range want {
				bytes += int64(it.msg.Size)
			}
			if q.n != len(want) || q.bytes != bytes || (q.peek() == nil) != (len(want) == 0) {
				t.Fatalf("%d items, %d bytes, want %d, %d", q.n, q.bytes, len(want), bytes)
			}
			if len(want) > 200 {
				for range len(want) {
					q.pop()
				}
				want = nil
			}
		}
	}
}
