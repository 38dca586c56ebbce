package crash

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// rounds is how often the broker is killed.
func rounds(t *testing.T) int {
	if v := os.Getenv("WARREN_CRASH_ROUNDS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("WARREN_CRASH_ROUNDS: %v", err)
		}
		return n
	}
	switch {
	case testing.Short():
		return 5
	case raceDetector():
		return 10 // it is slow
	}
	return 20
}

// Every fifth end is an orderly one: then nothing at all may be missing or come twice.
const orderly = 5

// TestKill kills the broker under load again and again, and looks each time whether all is where it should be.
func TestKill(t *testing.T) {
	// Little memory for messages, so that some are on disk only.
	p := newProcess(t, t.TempDir(), "warren.cache_bytes = 256KiB\n")
	p.start()
	s := newScene(t, p)
	s.declare()
	var slowest, slowestClean time.Duration
	for round := 1; round <= rounds(t) && !t.Failed(); round++ {
		s.begin()
		<-time.After(time.Duration(100+rand.IntN(2000)) * time.Millisecond)
		clean := round%orderly == 0
		if clean {
			s.rest()
			p.stop()
		} else {
			p.kill()
		}
		end := time.Now()
		if !clean {
			s.abandon()
		}
		p.start()
		if clean {
			slowestClean = max(slowestClean, p.started)
		} else {
			slowest = max(slowest, p.started)
		}
		s.check(end, clean, round%3 == 0)
		if t.Failed() {
			t.Logf("in round %d", round)
		}
	}
	published := uint64(0)
	for _, p := range s.topics {
		published += p.next - 1
	}
	t.Logf("%d messages; slowest start %v after a kill, %v after SIGTERM", published, slowest, slowestClean)
	p.stop()
}
