package crash

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

const (
	startTimeout = 30 * time.Second // from exec to the first accepted connection
	stopTimeout  = 30 * time.Second // from SIGTERM to exit
)

// A process is a broker with a data directory that outlives it.
type process struct {
	t        *testing.T
	bin      string
	dir      string
	addr     string
	settings string // of warren.conf

	cmd     *exec.Cmd
	exited  chan struct{}
	status  error         // set before exited is closed
	log     output        // of all its lives
	started time.Duration // from exec to accepting, of this life
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// build makes the binary, once for all tests, with the race detector if the tests have it.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "crash-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "warren")
	args := []string{"build", "-o", bin}
	if raceDetector() {
		args = append(args, "-race", "-tags", "checked")
	}
	if out, err := exec.Command("go", append(args, "../../cmd/warren")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/warren: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if bin, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(status)
}

// raceDetector tells whether this test was built with -race; then the broker is too.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// newProcess returns a broker that has yet to start.
func newProcess(t *testing.T, dir, settings string) *process {
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	p := &process{t: t, bin: bin, dir: dir, addr: l.Addr().String(), settings: settings}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("warren's log ends with:\n%s", lastLines(p.log.String(), 60))
		}
	})
	return p
}

// start runs the broker until it accepts connections.
func (p *process) start() {
	p.t.Helper()
	conf := filepath.Join(p.t.TempDir(), "warren.conf")
	if err := os.WriteFile(conf, []byte(p.settings), 0o600); err != nil {
		p.t.Fatal(err)
	}
	begin := time.Now()
	p.cmd = exec.Command(p.bin, "--config", conf, "--data", p.dir, "--listen", p.addr)
	p.cmd.Env = environment()
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	exited := make(chan struct{})
	p.exited = exited
	go func() { // ends with the process
		p.status = p.cmd.Wait()
		close(exited)
	}()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(startTimeout)
	for {
		if c, err := net.Dial("tcp", p.addr); err == nil {
			c.Close()
			p.started = time.Since(begin)
			return
		}
		select {
		case <-tick.C:
		case <-exited:
			p.t.Fatalf("warren ended before it accepted a connection: %v", p.status)
		case <-late:
			p.t.Fatalf("warren does not accept at %s after %v", p.addr, startTimeout)
		}
	}
}

// kill ends the broker as a power switch ends a process. It returns when it is gone.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.exited
	p.cmd = nil
}

// stop ends the broker as an operator does.
func (p *process) stop() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		p.cmd.Process.Signal(syscall.SIGQUIT) // so that the log shows where it stands
		<-p.exited
		p.t.Errorf("warren still ran %v after SIGTERM", stopTimeout)
	}
	if p.status != nil {
		p.t.Errorf("warren stopped with %v", p.status)
	}
	p.cmd = nil
}

// resident returns the bytes of memory of its own that the broker has, without pages of files.
func (p *process) resident() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	p.t.Fatal("no RssAnon in /proc")
	return 0
}

func (p *process) dial() *client.Connection {
	p.t.Helper()
	c, err := client.Dial("amqp://guest:guest@" + p.addr + "/")
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *process) channel(c *client.Connection) *client.Channel {
	p.t.Helper()
	ch, err := c.Channel()
	if err != nil {
		p.t.Fatal(err)
	}
	return ch
}

// environment is that of the tests without settings for brokers.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "WARREN_") || strings.HasPrefix(v, "RABBITMQ_")
	})
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
