package perf

import "testing"

func TestSeen(t *testing.T) {
	const page = 1 << pageBits
	id := func(producer, seq uint64) uint64 { return producer<<48 | seq }
	for _, tt := range []struct {
		name       string
		a, b       []uint64 // by two consumers of a queue
		count      int64    // distinct ones of producer 0
		duplicates int64
		strays     int64
	}{
		{"in order", []uint64{0, 1, 2}, nil, 3, 0, 0},
		{"out of order over pages", []uint64{2*page + 1, 0, page}, nil, 3, 0, 0},
		{"twice", []uint64{5, 5, 5}, nil, 1, 2, 0},
		{"twice over two consumers", []uint64{5, 6}, []uint64{6, 7}, 3, 1, 0},
		{"a page that one has not", []uint64{1}, []uint64{page + 1, 3 * page}, 3, 0, 0},
		{"producers apart", []uint64{id(0, 1), id(1, 1)}, []uint64{id(2, 1)}, 1, 0, 0},
		{"not a producer", []uint64{id(maxProducers, 1), 1}, nil, 1, 0, 1},
		{"not a number", []uint64{maxSeq, 1}, nil, 1, 0, 1},
	} {
		var a, b seen
		for _, v := range tt.a {
			a.mark(v)
		}
		for _, v := range tt.b {
			b.mark(v)
		}
		a.merge(&b)
		if a.from[0].count != tt.count || a.duplicates != tt.duplicates || a.strays != tt.strays {
			t.Errorf("%s: %d distinct, %d twice, %d astray, want %d, %d, %d", tt.name,
				a.from[0].count, a.duplicates, a.strays, tt.count, tt.duplicates, tt.strays)
		}
	}
}

func TestCompare(t *testing.T) {
	for _, tt := range []struct {
		name            string
		came            []uint64
		sent            int64
		belongs         []bool
		missing, strays int64
	}{
		{"all", []uint64{0, 1, 2}, 3, []bool{true}, 0, 0},
		{"one lost", []uint64{0, 2}, 3, []bool{true}, 1, 0},
		{"the last lost", []uint64{0, 1}, 3, []bool{true}, 1, 0},
		{"every second belongs", []uint64{0, 2, 4}, 6, []bool{true, false}, 0, 0},
		{"as many, but wrong", []uint64{0, 3, 4}, 6, []bool{true, false}, 1, 1},
		{"never sent", []uint64{0, 9}, 1, []bool{true}, 0, 1},
		{"nothing sent, nothing came", nil, 0, []bool{true}, 0, 0},
	} {
		var m bitmap
		for _, v := range tt.came {
			m.mark(v)
		}
		if missing, strays := compare(&m, tt.sent, tt.belongs); missing != tt.missing || strays != tt.strays {
			t.Errorf("%s: %d missing, %d astray, want %d, %d", tt.name, missing, strays, tt.missing, tt.strays)
		}
	}
}
