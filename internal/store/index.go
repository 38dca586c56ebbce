package store

import (
	"math/bits"
	"sort"
	"sync"
)

// A chunk is up to 64 of a queue's messages in one file, in order of seq: 12 bytes each and 80 for the chunk, so 13.3 for
// a message of a deep queue.
type chunk struct {
	base  uint64 // seq of the first
	live  uint64 // a bit for each slot whose message is not settled
	file  *file
	slots []slot
	meta  []meta // after a restart, until the queue has taken it
}

type slot struct {
	delta uint32 // seq less base
	off   uint32
	size  uint32 // of the record without padding
}

// meta is what a restart tells the queue of a message.
type meta struct {
	expires         int64
	head            uint32
	priority, flags uint8
}

const (
	chunkMax   = 64
	chunkSmall = 8 // slots of a chunk of a queue that is not deep
)

var chunkPools = [2]sync.Pool{
	{New: func() any { return &chunk{slots: make([]slot, 0, chunkSmall)} }},
	{New: func() any { return &chunk{slots: make([]slot, 0, chunkMax)} }},
}

func newChunk(deep bool) *chunk {
	if deep {
		return chunkPools[1].Get().(*chunk)
	}
	return chunkPools[0].Get().(*chunk)
}

func (c *chunk) free() {
	pool := &chunkPools[0]
	if cap(c.slots) == chunkMax {
		pool = &chunkPools[1]
	}
	*c = chunk{slots: c.slots[:0]}
	pool.Put(c)
}

func (c *chunk) last() uint64 { return c.base + uint64(c.slots[len(c.slots)-1].delta) }

// from returns the first slot whose seq is at least seq.
func (c *chunk) from(seq uint64) int {
	if seq <= c.base {
		return 0
	}
	return sort.Search(len(c.slots), func(i int) bool { return c.base+uint64(c.slots[i].delta) >= seq })
}

// mask returns the bits of the slots with seqs in [from, to].
func (c *chunk) mask(from, to uint64) uint64 {
	lo, hi := c.from(from), len(c.slots)
	if to < c.last() {
		hi = c.from(to + 1)
	}
	return bitsBelow(hi) &^ bitsBelow(lo)
}

func bitsBelow(n int) uint64 {
	if n >= 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

// An index knows where a queue's live messages lie. Its chunks are in order of seq and do not overlap.
type index struct {
	chunks []*chunk
	head   int  // chunks before it are gone
	holes  int  // chunks behind it that are nil
	cut    bool // the next message begins a chunk
	count  int
	bytes  int64
}

// insert adds a message behind all others. The caller sees to it that seq is higher than theirs.
func (x *index) insert(seq uint64, f *file, off, size uint32) (*chunk, int) {
	var c *chunk
	if n := len(x.chunks); n > x.head {
		c = x.chunks[n-1]
	}
	if c == nil || x.cut || c.file != f || len(c.slots) == cap(c.slots) || seq-c.base > 1<<32-1 {
		if x.head > 64 && x.head > len(x.chunks)/2 {
			n := copy(x.chunks, x.chunks[x.head:])
			clear(x.chunks[n:])
			x.chunks, x.head = x.chunks[:n], 0
		}
		x.cut = false
		c = newChunk(x.count >= chunkMax)
		c.base, c.file = seq, f
		x.chunks = append(x.chunks, c)
	}
	i := len(c.slots)
	c.slots = append(c.slots, slot{uint32(seq - c.base), off, size})
	c.live |= 1 << i
	f.live.Add(int64(padded(int(size))))
	f.count.Add(1)
	x.count++
	x.bytes += int64(padded(int(size)))
	return c, i
}

// at returns the position of the first chunk that may hold seq or a higher one.
func (x *index) at(seq uint64) int {
	lo, hi := x.head, len(x.chunks)
	if lo < hi && x.chunks[lo] != nil && seq <= x.chunks[lo].last() {
		return lo // acks mostly come to the oldest
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		m := mid
		for m < hi && x.chunks[m] == nil {
			m++
		}
		if m < hi && x.chunks[m].last() < seq {
			lo = m + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// settle makes the messages in [from, to] dead. It returns how many were live, and whether a file has none left.
func (x *index) settle(from, to uint64) (n int, emptied bool) {
	for i := x.at(from); i < len(x.chunks); i++ {
		c := x.chunks[i]
		if c == nil {
			continue
		}
		if c.base > to {
			break
		}
		if kill := c.mask(from, to) & c.live; kill != 0 {
			emptied = x.kill(i, kill) || emptied
			n += bits.OnesCount64(kill)
		}
	}
	x.tidy()
	return n, emptied
}

// kill makes the slots of chunk i dead whose bits are set, and reports whether its file has nothing live left. The caller
// tidies up.
func (x *index) kill(i int, mask uint64) (emptied bool) {
	c := x.chunks[i]
	var size int64
	for m := mask; m != 0; m &= m - 1 {
		size += int64(padded(int(c.slots[bits.TrailingZeros64(m)].size)))
	}
	n := bits.OnesCount64(mask)
	c.live &^= mask
	c.file.live.Add(-size)
	emptied = c.file.count.Add(int64(-n)) == 0
	x.count -= n
	x.bytes -= size
	switch {
	case c.live == 0:
		c.free()
		x.chunks[i] = nil
		x.holes++
	case cap(c.slots) == chunkMax && c.meta == nil && bits.OnesCount64(c.live) <= chunkSmall && i < len(x.chunks)-1:
		x.chunks[i] = c.shrunk()
	}
	return emptied
}

// tidy drops chunks that are gone from both ends, and from between when they are most.
func (x *index) tidy() {
	for n := len(x.chunks); n > x.head && x.chunks[n-1] == nil; n-- {
		x.chunks = x.chunks[:n-1]
		x.holes--
	}
	for x.head < len(x.chunks) && x.chunks[x.head] == nil {
		x.head++
		x.holes--
	}
	switch n := len(x.chunks) - x.head; {
	case n == 0:
		if cap(x.chunks) > chunkMax {
			x.chunks = nil // a queue that was deep once keeps nothing of it
		}
		x.chunks, x.head, x.holes = x.chunks[:0], 0, 0
	case x.holes > 64 && x.holes > n/2:
		kept := make([]*chunk, 0, n-x.holes)
		for _, c := range x.chunks[x.head:] {
			if c != nil {
				kept = append(kept, c)
			}
		}
		x.chunks, x.head, x.holes = kept, 0, 0
	}
}

// shrunk returns a small chunk with what is live in c, and frees c.
func (c *chunk) shrunk() *chunk {
	d := newChunk(false)
	d.file = c.file
	for m := c.live; m != 0; m &= m - 1 {
		s := c.slots[bits.TrailingZeros64(m)]
		if len(d.slots) == 0 {
			d.base = c.base + uint64(s.delta)
		}
		s.delta = uint32(c.base + uint64(s.delta) - d.base)
		d.live |= 1 << len(d.slots)
		d.slots = append(d.slots, s)
	}
	c.free()
	return d
}

// find returns the chunk and slot of seq if it is live.
func (x *index) find(seq uint64) (*chunk, int, bool) {
	i := x.at(seq)
	for i < len(x.chunks) && x.chunks[i] == nil {
		i++
	}
	if i == len(x.chunks) {
		return nil, 0, false
	}
	c := x.chunks[i]
	k := c.from(seq)
	if seq < c.base || k == len(c.slots) || c.base+uint64(c.slots[k].delta) != seq || c.live&(1<<k) == 0 {
		return nil, 0, false
	}
	return c, k, true
}
