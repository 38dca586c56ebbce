package server

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// No goroutine outlives the tests: every connection's reader and writer has ended, and every server's sweeper. (The fuzzer
// leaves some of its own.)
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if code == 0 && !fuzzing && !settles(before) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines are left, there were %d:\n%s\n", runtime.NumGoroutine(), before,
			stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// settles waits until no more goroutines run than limit. Goroutines end a moment after what they did can be seen, and
// there is no event to wait for; the bound is only reached when one is stuck.
func settles(limit int) bool {
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > limit; {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}
