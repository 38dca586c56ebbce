package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrAbsent says that no RabbitMQ is installed here.
var ErrAbsent = errors.New("no rabbitmq-server on this machine")

const (
	startTime = 90 * time.Second // a broker may take to accept connections
	stopTime  = 30 * time.Second // and to end
)

// A Broker is a broker process that we started.
type Broker struct {
	Addr string // of its AMQP listener

	cmd    *exec.Cmd
	output bytes.Buffer // owned by the process until exited is closed
	exited chan struct{}
	after  func() // run when the process has ended
}

// StartWarren builds ./cmd/warren of the module at root and starts it with its data in dir, which must exist.
func StartWarren(root, dir string) (*Broker, error) {
	binary := filepath.Join(dir, "warren")
	build := exec.Command("go", "build", "-o", binary, "./cmd/warren")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build ./cmd/warren: %w\n%s", err, out)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "--data", filepath.Join(dir, "data"), "--listen", addr)
	return start(cmd, addr, nil)
}

// StartRabbitMQ starts the installed RabbitMQ as a node of its own: own name, ports, port mapper and folders, all under
// dir. It returns ErrAbsent if there is none.
func StartRabbitMQ(dir string) (*Broker, error) {
	bin, err := findRabbitMQ()
	if err != nil {
		return nil, err
	}
	var addrs [3]string
	for i := range addrs {
		if addrs[i], err = freeAddr(); err != nil {
			return nil, err
		}
	}
	port := func(i int) string { _, p, _ := net.SplitHostPort(addrs[i]); return p }
	plugins := filepath.Join(dir, "enabled_plugins")
	if err := os.WriteFile(plugins, []byte(pluginList(bin)), 0o600); err != nil {
		return nil, err
	}
	epmd := append(os.Environ(), "ERL_EPMD_PORT="+port(2), "ERL_EPMD_ADDRESS=127.0.0.1")
	cmd := exec.Command(filepath.Join(bin, "rabbitmq-server"))
	cmd.Env = append(epmd,
		"HOME="+dir, "RABBITMQ_NODENAME=conformance@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+port(0), "RABBITMQ_DIST_PORT="+port(1), "RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"), "RABBITMQ_ENABLED_PLUGINS_FILE="+plugins,
		"RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "none"), "RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "none"))
	return start(cmd, addrs[0], func() {
		// The node leaves its port mapper behind; it ends only when no node is registered with it any more.
		stop := exec.Command("epmd", "-kill")
		stop.Env = epmd
		stop.Run()
	})
}

// findRabbitMQ returns the folder of the server's scripts. Debian's scripts in PATH change to the user rabbitmq, so those
// they call come first.
func findRabbitMQ() (string, error) {
	dirs := []string{"/usr/lib/rabbitmq/bin"}
	if path, err := exec.LookPath("rabbitmq-server"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "rabbitmq-server")); err == nil {
			return dir, nil
		}
	}
	return "", ErrAbsent
}

// pluginList names the exchange plugins that this RabbitMQ carries, as its plugins file does.
func pluginList(bin string) string {
	var found []string
	for _, name := range []string{"rabbitmq_consistent_hash_exchange", "rabbitmq_random_exchange",
		"rabbitmq_recent_history_exchange", "rabbitmq_sharding"} {
		at, _ := filepath.Glob(filepath.Join(bin, "..", "lib", "*", "plugins", name+"-*"))
		beside, _ := filepath.Glob(filepath.Join(bin, "..", "plugins", name+"-*"))
		if len(at)+len(beside) > 0 {
			found = append(found, name)
		}
	}
	return "[" + strings.Join(found, ",") + "].\n"
}

// start runs cmd and waits until addr accepts connections.
func start(cmd *exec.Cmd, addr string, after func()) (*Broker, error) {
	b := &Broker{Addr: addr, cmd: cmd, exited: make(chan struct{}), after: after}
	cmd.Stdout, cmd.Stderr = &b.output, &b.output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process, which Stop ends
		cmd.Wait()
		close(b.exited)
	}()
	for deadline := time.Now().Add(startTime); ; {
		if speaks(addr) {
			return b, nil
		}
		select {
		case <-b.exited:
			return nil, fmt.Errorf("%s ended at once:\n%s", cmd.Path, b.output.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			b.Stop()
			return nil, fmt.Errorf("%s does not answer at %s:\n%s", cmd.Path, addr, b.output.String())
		}
	}
}

// speaks reports whether something at addr answers a wrong protocol header, as every AMQP broker does.
func speaks(addr string) bool {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Second))
	nc.Write([]byte("AMQP????"))
	n, _ := nc.Read(make([]byte, 8))
	return n > 0
}

// Stop ends the broker with SIGTERM, waits for it, and kills what does not go.
func (b *Broker) Stop() error {
	// Negative: the group, because RabbitMQ's script is the parent of its runtime.
	group := -b.cmd.Process.Pid
	syscall.Kill(group, syscall.SIGTERM)
	var err error
	select {
	case <-b.exited:
	case <-time.After(stopTime):
		syscall.Kill(group, syscall.SIGKILL)
		<-b.exited
		err = fmt.Errorf("%s did not end by SIGTERM:\n%s", b.cmd.Path, b.output.String())
	}
	if b.after != nil {
		b.after()
	}
	return err
}

// freeAddr returns an address on which nobody listens now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
