package node

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

// No goroutine outlives the tests: Close waits for all that a node has started.
func TestMain(m *testing.M) {
	if dir := os.Getenv(runNode); dir != "" {
		beVictim(dir)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(10 * time.Second); code == 0 && runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			code = 1
		}
		time.Sleep(5 * time.Millisecond) // those of clients end a moment after their connections
	}
	os.Exit(code)
}
