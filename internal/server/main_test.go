package server

import (
	"testing"

	"github.com/warrenmq/warren/internal/leak"
)

// Every connection's reader and writer has ended when the tests have, and every server's sweeper.
func TestMain(m *testing.M) { leak.Main(m) }
