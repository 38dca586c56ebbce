package node

import (
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/warrenmq/warren/internal/config"
)

// runNode, in the environment, makes the test binary a node with its data in that directory, to be killed.
const runNode = "WARREN_TEST_NODE_DATA"

func TestMain(m *testing.M) {
	if dir := os.Getenv(runNode); dir != "" {
		n, err := Start(local(dir), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n.Addrs()[0])
		select {}
	}
	os.Exit(m.Run())
}

// local returns the settings of a node with its data in dir and a port of its own.
func local(dir string) *config.Config {
	c := config.Default()
	c.DataDir = dir
	c.Listeners = []config.Listener{{Name: "test", Addr: "127.0.0.1:0"}}
	return c
}

// start starts a node, which is closed with the test if not before.
func start(t *testing.T, cfg *config.Config) (n *Node, close func()) {
	t.Helper()
	n, err := Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	close = func() {
		if !closed {
			closed = true
			n.Close()
		}
	}
	t.Cleanup(close)
	return n, close
}
