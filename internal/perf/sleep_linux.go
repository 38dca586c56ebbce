package perf

import "syscall"

// sleepUntil blocks the goroutine's thread until a time of now. The runtime's own timers are rounded to a millisecond,
// which is five messages' worth at 5,000 a second.
func sleepUntil(at int64) {
	if d := at - now(); d > 0 {
		ts := syscall.NsecToTimespec(d)
		syscall.Nanosleep(&ts, nil) // interrupted early by a signal: the caller looks at the clock again
	}
}
