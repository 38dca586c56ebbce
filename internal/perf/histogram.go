package perf

import "math/bits"

// subBits sets how finely a Histogram tells values apart: 2^subBits steps between powers of two, so that a quantile is
// off by less than 1.6 %.
const subBits = 6

// A Histogram counts values from 0 to 2^62 in buckets whose width grows with the value. Adding takes a few nanoseconds
// and no memory. It is used by one goroutine at a time.
type Histogram struct {
	counts [(64 - subBits) << subBits]int64
	n      int64
	max    int64
}

// bucket returns the bucket of v: below 2^subBits each value has its own; above, the leading subBits+1 bits tell.
func bucket(v int64) int {
	shift := bits.Len64(uint64(v)) - subBits - 1
	if shift <= 0 {
		return int(v)
	}
	return shift<<subBits + int(v>>shift)
}

// top returns the largest value that falls in bucket i.
func top(i int) int64 {
	if i < 2<<subBits {
		return int64(i)
	}
	shift := i>>subBits - 1
	lead := int64(i - shift<<subBits)
	return (lead+1)<<shift - 1
}

// Add counts v; a negative value counts as 0.
func (h *Histogram) Add(v int64) {
	v = min(max(v, 0), 1<<62-1)
	h.counts[bucket(v)]++
	h.n++
	h.max = max(h.max, v)
}

// Merge adds what o has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

// Count returns how many values were added.
func (h *Histogram) Count() int64 { return h.n }

// Max returns the largest value added, exactly.
func (h *Histogram) Max() int64 { return h.max }

// Quantile returns a value that a share q (0 to 1) of all values does not exceed; 0 if there are none.
func (h *Histogram) Quantile(q float64) int64 {
	want := int64(q*float64(h.n) + 0.999999)
	want = min(max(want, 1), h.n)
	var sum int64
	for i, c := range h.counts {
		if sum += c; sum >= want && c > 0 {
			return min(top(i), h.max)
		}
	}
	return 0
}
