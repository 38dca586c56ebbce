//go:build !linux

package perf

import "time"

// sleepUntil blocks until a time of now.
func sleepUntil(at int64) { time.Sleep(time.Duration(at - now())) }
