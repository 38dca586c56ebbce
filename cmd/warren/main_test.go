package main

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

// runMain makes the test binary behave as the command: the tests start it as a process of its own.
const runMain = "TEST_BINARY_IS_WARREN"

func TestMain(m *testing.M) {
	if os.Getenv(runMain) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// warren returns the command, to be run in a directory of its own with nothing of this process's settings.
func warren(t *testing.T, args ...string) *exec.Cmd {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{runMain + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir}
	return cmd
}

// freeAddr returns an address that nobody listens on now.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// started runs a broker until it accepts connections.
func started(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := warren(t, args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "msg=started") {
			go func() { // ends with the process
				for lines.Scan() {
				}
			}()
			return cmd
		}
		t.Log(lines.Text())
	}
	t.Fatal("it does not start")
	return nil
}

// A broker that is asked to stop tells its clients and ends with status 0.
func TestStop(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		addr := freeAddr(t)
		cmd := started(t, "--listen", addr, "--data", filepath.Join(t.TempDir(), "made", "on", "the", "way"))
		c, err := client.Dial("amqp://guest:guest@" + addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		closed := c.NotifyClose(make(chan *client.Error, 1))
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		want := "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
		if e := <-closed; e == nil || e.Code != 320 || e.Reason != want {
			t.Errorf("%v: the client was told %v", sig, e)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", sig, err)
		}
		c.Close()
	}
}

// What cannot be started, or is not understood, is said in one line on standard error, with status 1.
func TestFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	data := t.TempDir()
	running := started(t, "--listen", freeAddr(t), "--data", data)
	conf := filepath.Join(t.TempDir(), "warren.conf")
	if err := os.WriteFile(conf, []byte("heartbeat = 60\nframe_max = small\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	free := freeAddr(t)
	for _, tt := range []struct {
		name string
		args []string
		env  string
		want string
	}{
		{"port taken", []string{"--listen", taken.Addr().String()}, "", "listen on " + taken.Addr().String() + ": "},
		{"data directory in use", []string{"--listen", free, "--data", data}, "", "the data directory " + data + " is in use by another process"},
		{"bad setting", []string{"--config", conf}, "", conf + ":2: frame_max: "},
		{"bad variable", []string{"--listen", free}, "WARREN_HEARTBEAT=often", "WARREN_HEARTBEAT: heartbeat: "},
		{"no settings file", []string{"--config", "none.conf"}, "", "none.conf: no such file"},
		{"settings file of the environment", nil, "WARREN_CONFIG_FILE=none.conf", "none.conf: no such file"},
		{"bad address", []string{"--listen", "5672"}, "", "--listen 5672: want host:port"},
		{"unknown flag", []string{"--nonsense"}, "", "-nonsense"},
		{"unknown command", []string{"nonsense"}, "", `unknown command "nonsense"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := warren(t, tt.args...)
			if tt.env != "" {
				cmd.Env = append(cmd.Env, tt.env)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("ended with %v, want status 1", err)
			}
			said := stderr.String()
			last := said[strings.LastIndex(strings.TrimSuffix(said, "\n"), "\n")+1:]
			if !strings.HasPrefix(last, "warren: ") || !strings.Contains(last, tt.want) {
				t.Errorf("said %q, want a line with %q", said, tt.want)
			}
			if n := strings.Count(said, "\n"); n != 1 {
				t.Errorf("said %d lines, want one:\n%s", n, said)
			}
		})
	}
	if err := running.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := running.Wait(); err != nil {
		t.Error(err)
	}
}

func TestVersion(t *testing.T) {
	out, err := warren(t, "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "warren devel (compatible with RabbitMQ 3.") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("got %q, %v", out, err)
	}
}

// A second signal while clients are slow to go does no harm, and a client that never answers does not hold the broker up
// for ever.
func TestStopWithDeafClient(t *testing.T) {
	addr := freeAddr(t)
	cmd := started(t, "--listen", addr)
	c, err := net.Dial("tcp", addr) // in the middle of its handshake
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("AMQP\x00\x00\x09\x01"))
	c.Read(make([]byte, 100))
	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not stop")
	}
}
