package store

import (
	"math/rand/v2"
	"testing"
)

// The index agrees with a map, whatever is inserted and settled.
func TestIndex(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var x index
		model := map[uint64]uint32{}
		files := []*file{{}, {}, {}}
		next, low := uint64(1), uint64(1)
		f := files[0]
		for range 400 {
			switch rng.IntN(4) {
			case 0:
				for range rng.IntN(100) {
					size := uint32(40 + rng.IntN(100))
					x.insert(next, f, uint32(next), size)
					model[next] = size
					next += 1 + uint64(rng.IntN(3))
				}
				if rng.IntN(4) == 0 {
					f = files[rng.IntN(3)]
				}
			case 1, 2, 3:
				from := low + uint64(rng.IntN(200))
				to := from + uint64(rng.IntN(1+rng.IntN(80)))
				if rng.IntN(3) == 0 {
					from = low
					low = to
				}
				n, _ := x.settle(from, to)
				want := 0
				for s := from; s <= to; s++ {
					if _, ok := model[s]; ok {
						want++
						delete(model, s)
					}
				}
				if n != want {
					t.Fatalf("seed %d: settle %d to %d found %d, want %d", seed, from, to, n, want)
				}
			}
			var bytes int64
			for s := low - min(low, 10); s < next; s++ {
				size, want := model[s]
				bytes += int64(padded(int(size)))
				c, k, ok := x.find(s)
				if ok != want || ok && c.slots[k].off != uint32(s) {
					t.Fatalf("seed %d: find %d = %v, want %v", seed, s, ok, want)
				}
			}
			if x.count != len(model) {
				t.Fatalf("seed %d: %d messages, want %d", seed, x.count, len(model))
			}
			var live, count int64
			for _, f := range files {
				live += f.live.Load()
				count += f.count.Load()
			}
			if live != x.bytes || count != int64(x.count) {
				t.Fatalf("seed %d: files hold %d in %d, the index %d in %d", seed, count, live, x.count, x.bytes)
			}
		}
	}
}
