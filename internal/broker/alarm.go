package broker

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
)

// Alarms are the resources that the broker is short of. While there is one, connections that publish are not read.
type Alarms struct {
	limit int64 // bytes of memory; 0: no limit

	blocked atomic.Bool

	mu      sync.Mutex // guards the fields below
	memory  bool
	disk    bool
	changed chan struct{} // closed at the next change
	watch   []func(reason string)
}

// Watch has f called after each change, with the reason or "" when all is well. f must not block.
func (a *Alarms) Watch(f func(reason string)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watch = append(a.watch, f)
}

// Blocked reports whether publishers must wait.
func (a *Alarms) Blocked() bool { return a.blocked.Load() }

// Reason returns what the broker is short of, in RabbitMQ's words, "" if nothing, and a channel that is closed when that
// changes.
func (a *Alarms) Reason() (string, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == nil {
		a.changed = make(chan struct{})
	}
	return a.reason(), a.changed
}

func (a *Alarms) reason() string {
	switch {
	case a.memory && a.disk:
		return "low on memory & disk"
	case a.memory:
		return "low on memory"
	case a.disk:
		return "low on disk"
	}
	return ""
}

// SetMemory raises or clears the memory alarm.
func (a *Alarms) SetMemory(on bool) { a.set(&a.memory, on) }

// SetDisk raises or clears the disk alarm.
func (a *Alarms) SetDisk(on bool) { a.set(&a.disk, on) }

func (a *Alarms) set(which *bool, on bool) {
	a.mu.Lock()
	if *which == on {
		a.mu.Unlock()
		return
	}
	*which = on
	reason := a.reason()
	a.blocked.Store(reason != "")
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
	watch := a.watch
	a.mu.Unlock()
	for _, f := range watch {
		f(reason)
	}
}

// CheckMemory compares the memory in use with the limit. internal/node calls it every second or so. What is garbage does
// not count: where it would, it is collected first, and so it is as long as the alarm lasts.
func (a *Alarms) CheckMemory() {
	if a.limit <= 0 {
		return
	}
	over := memoryInUse() > a.limit
	if over {
		runtime.GC()
		over = memoryInUse() > a.limit
	}
	a.SetMemory(over)
}

func memoryInUse() int64 {
	samples := [...]metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples[:])
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}
