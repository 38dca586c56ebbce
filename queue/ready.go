package queue

import "math/bits"

// ready holds the messages that wait for a consumer: one fifo, or one for each priority in use.
type ready struct {
	levels []fifo    // by priority; one of them unless the queue has priorities
	used   [4]uint64 // a bit for each level that holds messages
	n      int
	bytes  int64 // of bodies
	memory int64 // bytes of messages
}

func newReady(maxPriority uint8) ready {
	return ready{levels: make([]fifo, int(maxPriority)+1)}
}

func (r *ready) level(it *item) int {
	return min(int(it.msg.Priority), len(r.levels)-1)
}

func (r *ready) push(it item) {
	l := r.level(&it)
	r.levels[l].push(it)
	r.added(l, &it)
}

// restore puts an item that was taken out back into its old place.
func (r *ready) restore(it item) {
	l := r.level(&it)
	r.levels[l].restore(it)
	r.added(l, &it)
}

func (r *ready) added(l int, it *item) {
	r.used[l>>6] |= 1 << (l & 63)
	r.n++
	r.bytes += int64(it.msg.Size)
	r.memory += int64(it.msg.Footprint())
}

// rest gives memory back when nothing waits and nobody uses the queue.
func (r *ready) rest() {
	for l := range r.levels {
		if f := &r.levels[l]; len(f.ring) > fifoFirst {
			f.ring = nil
		}
	}
}

// top returns the highest level that holds messages, -1 if all are empty.
func (r *ready) top() int {
	if len(r.levels) == 1 {
		return int(r.used[0]&1) - 1
	}
	for i := 3; i >= 0; i-- {
		if r.used[i] != 0 {
			return i<<6 + 63 - bits.LeadingZeros64(r.used[i])
		}
	}
	return -1
}

func (r *ready) peek() *item {
	if l := r.top(); l >= 0 {
		return r.levels[l].peek()
	}
	return nil
}

// pop takes out the first message. There must be one.
func (r *ready) pop() item {
	l := r.top()
	it := r.levels[l].pop()
	r.removed(l, &it)
	return it
}

func (r *ready) removed(l int, it *item) {
	r.n--
	r.bytes -= int64(it.msg.Size)
	r.memory -= int64(it.msg.Footprint())
	if r.levels[l].len() == 0 {
		r.used[l>>6] &^= 1 << (l & 63)
	}
}

// remove takes out the message with the given seq, if it is ready.
func (r *ready) remove(seq uint64) (item, bool) {
	for l := range r.levels {
		if it, ok := r.levels[l].remove(seq); ok {
			r.removed(l, &it)
			return it, true
		}
	}
	return item{}, false
}
