package broker

import (
	"testing"

	"github.com/warrenmq/warren/internal/leak"
)

// Every queue's runner has ended when the tests have.
func TestMain(m *testing.M) { leak.Main(m) }
