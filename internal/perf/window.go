package perf

import (
	"sync"
	"sync/atomic"
)

// A window bounds what is on its way: producers acquire before they write, and whoever sees messages arrive (or confirms)
// releases. Both are an atomic add unless a producer has to wait.
type window struct {
	limit int64

	taken    atomic.Int64
	released atomic.Int64
	waiting  atomic.Int32
	need     atomic.Int64 // of a producer that waits

	mu     sync.Mutex // guards closed, and the wait for wake
	wake   *sync.Cond
	closed bool
}

// newWindow makes a window of limit messages; 0 never makes a producer wait, and counts all the same.
func newWindow(limit int64) *window {
	w := &window{limit: limit}
	w.wake = sync.NewCond(&w.mu)
	return w
}

// take claims n if they fit. A claim larger than the window fits when nothing is on its way.
func (w *window) take(n int64) bool {
	for {
		t := w.taken.Load()
		out := t - w.released.Load()
		if w.limit > 0 && out+n > w.limit && out > 0 {
			return false
		}
		if w.taken.CompareAndSwap(t, t+n) {
			return true
		}
	}
}

// acquire waits until n more fit; false says that the window was closed.
func (w *window) acquire(n int64) bool {
	if w.take(n) {
		return true
	}
	w.need.Store(n)
	w.waiting.Add(1)
	defer w.waiting.Add(-1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed {
		if w.take(n) {
			return true
		}
		w.wake.Wait()
	}
	return false
}

// release gives n back.
func (w *window) release(n int64) {
	out := w.taken.Load() - w.released.Add(n)
	if w.waiting.Load() == 0 || out > 0 && out+w.need.Load() > w.limit {
		return
	}
	w.mu.Lock()
	w.wake.Broadcast()
	w.mu.Unlock()
}

// close lets all who wait go.
func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	w.wake.Broadcast()
	w.mu.Unlock()
}
