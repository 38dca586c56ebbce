package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/warrenmq/warren/internal/perf"
)

// errAbsent is the error of newBroker if there is no such broker here.
var errAbsent = errors.New("not installed here")

const (
	startTimeout   = 2 * time.Minute  // to accepting clients; a RabbitMQ takes ten seconds
	stopTimeout    = 30 * time.Second // between asking a broker to end and killing it
	versionTimeout = 5 * time.Second  // a program that is not Warren may not know the word
)

// A broker is one that the bench starts and stops. Its files lie in dir, which the bench owns.
type broker struct {
	name  string
	title string // name and version; RabbitMQ tells its own when it has started
	dir   string
	addr  string
	slow  int // it is given so many times less of what would take it minutes

	command func() *exec.Cmd
	prepare func() error // makes dir ready for a first start; may be nil
	cleanup func()       // after its process has ended; may be nil

	cmd  *exec.Cmd // nil unless it runs
	done chan struct{}
	took time.Duration // from its last start until it served a client
}

// newBroker makes a broker ready to be started in dir, on ports from port on.
func newBroker(ctx context.Context, name, dir string, port int, warren string) (*broker, error) {
	switch name {
	case "warren":
		return newWarren(ctx, dir, port, warren)
	case "rabbitmq":
		return newRabbitMQ(dir, port+1)
	}
	return nil, fmt.Errorf("no broker is called %q", name)
}

// newWarren builds Warren unless a program is given.
func newWarren(ctx context.Context, dir string, port int, program string) (*broker, error) {
	if program == "" {
		root, err := moduleRoot()
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(root, "cmd", "warren")); err != nil {
			return nil, fmt.Errorf("%w: no cmd/warren", errAbsent)
		}
		program = dir + ".program"
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/warren")
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build cmd/warren: %w\n%s", err, out)
		}
	}
	b := &broker{name: "Warren", title: "Warren", dir: dir, addr: fmt.Sprintf("127.0.0.1:%d", port), slow: 1}
	// To clients Warren gives the version of RabbitMQ that it is compatible with; its own it tells on the command line.
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "version").Output()
	if words := strings.Fields(string(out)); err == nil && len(words) > 1 {
		b.title += " " + words[1]
	}
	b.command = func() *exec.Cmd {
		return exec.Command(program, "--data", filepath.Join(dir, "data"), "--listen", b.addr)
	}
	return b, nil
}

// rabbitHome is where Debian's package has the start scripts that look at nothing but their environment.
const rabbitHome = "/usr/lib/rabbitmq/bin"

// newRabbitMQ uses three ports: for AMQP, for its distribution, and for a port mapper of its own.
func newRabbitMQ(dir string, port int) (*broker, error) {
	script := filepath.Join(rabbitHome, "rabbitmq-server")
	if _, err := os.Stat(script); err != nil {
		return nil, fmt.Errorf("%w: no %s", errAbsent, script)
	}
	if os.Getuid() != 0 {
		return nil, fmt.Errorf("%w for this user: the package's scripts want to be root", errAbsent)
	}
	b := &broker{name: "RabbitMQ", dir: dir, addr: fmt.Sprintf("127.0.0.1:%d", port), slow: 5}
	in := func(name string) string { return filepath.Join(dir, name) }
	env := []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + dir, fmt.Sprintf("ERL_EPMD_PORT=%d", port+2),
		"ERL_CRASH_DUMP=" + in("crash"), "RABBITMQ_NODENAME=warrenbench@localhost",
		fmt.Sprintf("RABBITMQ_NODE_PORT=%d", port), "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		fmt.Sprintf("RABBITMQ_DIST_PORT=%d", port+1), "RABBITMQ_MNESIA_BASE=" + in("data"),
		"RABBITMQ_LOG_BASE=" + in("log"), "RABBITMQ_CONFIG_FILE=" + in("rabbitmq"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + in("plugins"), "RABBITMQ_CONF_ENV_FILE=" + in("none"),
		"RABBITMQ_PID_FILE=" + in("pid"), "RABBITMQ_GENERATED_CONFIG_DIR=" + in("generated"),
	}
	b.prepare = func() error {
		return errors.Join(
			os.WriteFile(in(".erlang.cookie"), []byte("WARRENBENCH"), 0o400),
			os.WriteFile(in("plugins"), []byte("[].\n"), 0o644),
			os.WriteFile(in("rabbitmq.conf"), []byte("log.file.level = warning\n"), 0o644),
		)
	}
	b.command = func() *exec.Cmd {
		cmd := exec.Command(script)
		cmd.Env = env
		return cmd
	}
	b.cleanup = func() { // the port mapper that the node has started outlives it
		cmd := exec.Command("epmd", "-kill")
		cmd.Env = env
		cmd.Run()
	}
	return b, nil
}

// moduleRoot returns the folder of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" || file == os.DevNull {
		return "", fmt.Errorf("not inside Warren's module: %w", err)
	}
	return filepath.Dir(file), nil
}

// endpoint returns where clients connect.
func (b *broker) endpoint() perf.Endpoint { return perf.Endpoint{Addrs: []string{b.addr}} }

// part returns how many of n things the broker is given where each takes long.
func (b *broker) part(n int) int { return max(1, n/b.slow) }

// ready returns when the broker accepts clients, started if need be; fresh starts it anew with nothing in it.
func (b *broker) ready(ctx context.Context, fresh bool) error {
	if b.cmd != nil && !fresh && b.alive() {
		return nil
	}
	b.stop()
	if err := errors.Join(os.RemoveAll(b.dir), os.MkdirAll(b.dir, 0o755)); err != nil {
		return err
	}
	if b.prepare != nil {
		if err := b.prepare(); err != nil {
			return err
		}
	}
	return b.start(ctx)
}

// start runs the program on what dir holds.
func (b *broker) start(ctx context.Context) error {
	out, err := os.Create(filepath.Join(b.dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	b.cmd = b.command()
	b.cmd.Stdout, b.cmd.Stderr, b.cmd.Dir = out, out, b.dir
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the bench, which then stops it
	begin := time.Now()
	if err := b.cmd.Start(); err != nil {
		b.cmd = nil
		return fmt.Errorf("start %s: %w", b.name, err)
	}
	b.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) { // ends with the process
		cmd.Wait()
		close(done)
	}(b.cmd, b.done)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	go func(done chan struct{}) { // ends with start
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}(b.done)
	server, err := perf.Await(ctx, b.endpoint())
	if err != nil {
		said, _ := os.ReadFile(out.Name())
		b.stop()
		return fmt.Errorf("%s does not come up: %w\n%s", b.name, err, bytes.TrimSpace(said))
	}
	b.took = time.Since(begin)
	if b.title == "" {
		b.title = server
	}
	return nil
}

func (b *broker) alive() bool {
	select {
	case <-b.done:
		return false
	default:
		return true
	}
}

// pids returns the broker's own process. RabbitMQ's script has become the Erlang machine by now, or has told its number.
func (b *broker) pids() []int {
	if said, err := os.ReadFile(filepath.Join(b.dir, "pid")); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(said))); err == nil {
			return []int{pid}
		}
	}
	return []int{b.cmd.Process.Pid}
}

// stop asks the broker to end and waits for it.
func (b *broker) stop() { b.end(syscall.SIGTERM) }

// kill ends the broker as a crash does.
func (b *broker) kill() { b.end(syscall.SIGKILL) }

// end sends the broker a signal that ends it, and waits until nothing of its process group is left.
func (b *broker) end(signal syscall.Signal) {
	if b.cmd == nil {
		return
	}
	group := -b.cmd.Process.Pid
	b.cmd.Process.Signal(signal)
	select {
	case <-b.done:
	case <-time.After(stopTimeout):
	}
	syscall.Kill(group, syscall.SIGKILL) // what the process may have left behind
	<-b.done
	if b.cleanup != nil {
		b.cleanup()
	}
	b.cmd = nil
}
