package broker

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// No goroutine outlives the tests.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(10 * time.Second); code == 0 && runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			println("goroutines are left")
			code = 1
		}
		time.Sleep(5 * time.Millisecond) // runners end a moment after their queues are empty
	}
	os.Exit(code)
}
