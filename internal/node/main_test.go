package node

import (
	"os"
	"testing"

	"github.com/warrenmq/warren/internal/leak"
)

// No goroutine outlives the tests: Close waits for all that a node has started.
func TestMain(m *testing.M) {
	if dir := os.Getenv(runNode); dir != "" {
		beVictim(dir)
	}
	leak.Main(m)
}
