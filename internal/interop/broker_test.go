package interop

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second // from exec to the first accepted connection
	stopTimeout  = 30 * time.Second // from SIGTERM to exit
)

// broker returns the address of the broker to test. Unless the environment names one, it is a Warren built from this tree,
// which lives until t ends and must then stop with status 0.
func broker(t *testing.T) string {
	if addr := os.Getenv("WARREN_INTEROP_ADDR"); addr != "" {
		return addr
	}
	bin := filepath.Join(t.TempDir(), "warren")
	args := []string{"build", "-o", bin}
	if raceDetector() {
		args = append(args, "-race", "-tags", "checked")
	}
	build := exec.Command("go", append(args, "./cmd/warren")...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/warren: %v\n%s", err, out)
	}

	addr := freeAddr(t)
	var log bytes.Buffer // read once the process is gone
	cmd := exec.Command(bin, "--data", t.TempDir(), "--listen", addr)
	cmd.Env = withoutBrokerSettings(os.Environ())
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	var status error // set before exited is closed
	go func() {      // ends with the process
		status = cmd.Wait()
		close(exited)
	}()

	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			t.Errorf("warren still runs %v after SIGTERM", stopTimeout)
			cmd.Process.Signal(syscall.SIGQUIT) // so that the log shows where it stands
			<-exited
		}
		if status != nil {
			t.Errorf("warren stopped with %v", status)
		}
		if t.Failed() {
			t.Logf("warren's log ends with:\n%s", lastLines(log.String(), 100))
		}
	})
	waitUntilAccepting(t, addr, exited)
	return addr
}

// raceDetector tells whether this test was built with -race; then the broker is too.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func waitUntilAccepting(t *testing.T, addr string, exited <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(startTimeout)
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-exited:
			t.Fatal("warren ended before it accepted a connection")
		case <-late:
			t.Fatalf("warren does not accept at %s after %v", addr, startTimeout)
		}
	}
}

// withoutBrokerSettings drops the variables that configure a broker, so that the one under test has its defaults.
func withoutBrokerSettings(env []string) []string {
	var kept []string
	for _, v := range env {
		if !strings.HasPrefix(v, "RABBITMQ_") && !strings.HasPrefix(v, "WARREN_") {
			kept = append(kept, v)
		}
	}
	return kept
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
