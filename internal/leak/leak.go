// Package leak checks that a package's tests leave no goroutine behind. Each such package's TestMain calls Main; nothing
// else does. What counts is the number of goroutines before and after all tests, so that every one that a test started must
// have ended, by whatever way the code under test promises.
package leak

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// Main runs the tests and exits: with 1 if they fail, or if goroutines are left. The fuzzer leaves some of its own and is
// not asked.
func Main(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if code == 0 && !fuzzing && !Settles(before) {
		stacks := make([]byte, 1<<20)
		fmt.Fprintf(os.Stderr, "%d goroutines are left, there were %d:\n%s\n", runtime.NumGoroutine(), before,
			stacks[:runtime.Stack(stacks, true)])
		code = 1
	}
	os.Exit(code)
}

// Settles waits until no more goroutines run than limit, and reports whether that came to be. They end a moment after what
// they did can be seen, and there is no event to wait for; the bound is only reached when one is stuck.
func Settles(limit int) bool {
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > limit; {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
	return true
}
