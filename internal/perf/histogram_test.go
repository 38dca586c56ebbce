package perf

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Each bucket ends where the next begins, and a value is at most its bucket's top.
func TestHistogramBuckets(t *testing.T) {
	var h Histogram
	for i := range bucket(1<<62-1) + 1 {
		if got := bucket(top(i)); got != i {
			t.Fatalf("bucket(top(%d)) = %d", i, got)
		}
		if got := bucket(top(i) + 1); got != i+1 {
			t.Fatalf("bucket(top(%d)+1) = %d", i, got)
		}
	}
	if last := bucket(1<<62 - 1); last >= len(h.counts) {
		t.Fatalf("bucket %d of %d", last, len(h.counts))
	}
}

func TestHistogramQuantile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		values []int64
		q      float64
		want   int64
	}{
		{"nothing", nil, 0.5, 0},
		{"one value is every quantile", []int64{7}, 0.01, 7},
		{"the median of three", []int64{1, 2, 100}, 0.5, 2},
		{"0.99 of a hundred is the 99th", append(slices.Repeat([]int64{5}, 98), 6, 90), 0.99, 6},
		{"1 is the maximum, exactly", []int64{3, 1000003}, 1, 1000003},
		{"negative counts as 0", []int64{-5, -1}, 1, 0},
	} {
		var h Histogram
		for _, v := range tt.values {
			h.Add(v)
		}
		if got := h.Quantile(tt.q); got != tt.want {
			t.Errorf("%s: Quantile(%v) = %d, want %d", tt.name, tt.q, got, tt.want)
		}
	}
}

// A quantile is at most 1.6 % above the exact one, and never below; merging is the same as adding.
func TestHistogramAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a, b Histogram
	var all []int64
	for i := range 10000 {
		v := int64(r.ExpFloat64() * 1e6)
		all = append(all, v)
		if i%2 == 0 {
			a.Add(v)
		} else {
			b.Add(v)
		}
	}
	a.Merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		exact, got := all[max(0, int(q*10000)-1)], a.Quantile(q)
		if got < exact || float64(got) > float64(exact)*1.016+1 {
			t.Errorf("Quantile(%v) = %d, exactly %d", q, got, exact)
		}
	}
	if a.Count() != 10000 || a.Max() != all[9999] {
		t.Errorf("count %d, max %d, want 10000, %d", a.Count(), a.Max(), all[9999])
	}
}
