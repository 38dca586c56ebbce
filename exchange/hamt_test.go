package exchange

import (
	"fmt"
	"testing"
)

// FuzzHamt plays puts and deletes, two bytes each, against a Go map. Few keys and bad hashes make deep nodes, lists and
// collapses common. All earlier versions must stay as they were.
func FuzzHamt(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 1, 1, 0, 3, 1, 2, 1, 3}, uint8(0))
	f.Add([]byte{0, 1, 0, 33, 0, 65, 0, 97, 1, 33, 1, 65, 1, 1}, uint8(1))
	f.Add([]byte{0, 1, 0, 2, 0, 3, 0, 1, 1, 2, 1, 1, 1, 3}, uint8(2))
	f.Fuzz(func(t *testing.T, ops []byte, hashing uint8) {
		if len(ops) > 400 {
			ops = ops[:400]
		}
		hash := func(key string) uint64 {
			switch hashing % 4 {
			case 0:
				return hashOf(key)
			case 1:
				return hashOf(key) & 0xff00000000000000 // alike in all but the last levels
			case 2:
				return 7 // all alike
			default:
				return hashOf(key) & 0x3f
			}
		}
		type version struct {
			got  hamt[int]
			want map[string]int
		}
		versions := []version{{want: map[string]int{}}}
		for i := 0; i+1 < len(ops); i += 2 {
			last := versions[len(versions)-1]
			next := version{want: map[string]int{}}
			for k, v := range last.want {
				next.want[k] = v
			}
			key := fmt.Sprint(ops[i+1] % 64)
			if ops[i]%3 != 1 {
				next.got = last.got.put(hash(key), key, i)
				next.want[key] = i
			} else {
				next.got = last.got.del(hash(key), key)
				delete(next.want, key)
			}
			versions = append(versions, next)
		}
		for i, v := range versions {
			if v.got.size != len(v.want) {
				t.Fatalf("version %d: size = %d, want %d", i, v.got.size, len(v.want))
			}
			for k := range 64 {
				key := fmt.Sprint(k)
				got, ok := v.got.get(hash(key), key)
				want, wantOK := v.want[key]
				if got != want || ok != wantOK {
					t.Fatalf("version %d: get(%s) = %d, %v, want %d, %v", i, key, got, ok, want, wantOK)
				}
			}
			n := 0
			v.got.each(func(int) bool { n++; return true })
			if n != len(v.want) {
				t.Fatalf("version %d: each called for %d values, want %d", i, n, len(v.want))
			}
			checkHamt(t, v.got.root, true)
		}
	})
}

// checkHamt fails if a node below the root holds so little that it should have been folded into its parent.
func checkHamt(t *testing.T, n *hamtNode[int], root bool) {
	t.Helper()
	if n == nil {
		return
	}
	if len(n.children) == 0 && (len(n.entries) == 0 || len(n.entries) == 1 && !root) {
		t.Fatalf("a node with %d entries and no children, root = %v", len(n.entries), root)
	}
	for _, c := range n.children {
		checkHamt(t, c, false)
	}
}

func TestHamtStopsEach(t *testing.T) {
	var m hamt[int]
	for i := range 100 {
		m = m.set(fmt.Sprint(i), i)
	}
	n := 0
	if m.each(func(int) bool { n++; return n < 50 }) || n != 50 {
		t.Errorf("each went on to %d values, want 50", n)
	}
}
