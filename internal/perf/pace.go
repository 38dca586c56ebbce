package perf

import "time"

// start is what the times of this package count from.
var start = time.Now()

// now returns nanoseconds by the monotonic clock; it is never 0.
func now() int64 { return int64(time.Since(start)) + 1 }

// A pace says when messages of a steady rate are due.
type pace struct {
	gap   float64 // nanoseconds between two messages; 0: no pace
	start int64
}

// dueAt returns when message n is due.
func (p *pace) dueAt(n int64) int64 { return p.start + int64(float64(n)*p.gap) }

// due returns how many messages are due at a time when sent have been sent.
func (p *pace) due(at, sent int64) int64 {
	return int64(float64(at-p.start)/p.gap) + 1 - sent
}
