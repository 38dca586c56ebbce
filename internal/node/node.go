package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/internal/config"
	"github.com/warrenmq/warren/internal/meta"
	"github.com/warrenmq/warren/internal/server"
	"github.com/warrenmq/warren/internal/store"
)

// CompatibleVersion is the version of RabbitMQ whose behaviour Warren has, as clients read it from the handshake.
const CompatibleVersion = "3.13.7"

const (
	closeTimeout = 10 * time.Second // for clients to go when the node stops
	alarmEvery   = time.Second      // how often memory is looked at
)

// A Node is a running broker.
type Node struct {
	cfg    *config.Config
	log    *slog.Logger
	lock   *os.File
	meta   *meta.Store
	store  *store.Store
	full   atomic.Bool // the message log says that it has no room
	failed atomic.Bool // the message log cannot be written

	reserved bool // the reserve exists; owned by watch
	broker   *broker.Broker
	server   *server.Server
	addrs    []net.Addr
	stop     chan struct{}
	tasks    sync.WaitGroup
}

// Start makes a node and has it accept clients. The error says in one line what is in the way: a port that is taken, a
// data directory that is in use or cannot be written, a setting that cannot be followed.
func Start(cfg *config.Config, log *slog.Logger) (*Node, error) {
	n := &Node{cfg: cfg, log: log, stop: make(chan struct{})}
	if err := n.start(); err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

func (n *Node) start() error {
	cfg := n.cfg
	if err := n.lockData(); err != nil {
		return err
	}
	if err := n.makeRoom(); err != nil {
		return err
	}
	var err error
	var tlsConfig *tls.Config
	if len(cfg.TLSListeners) > 0 {
		if tlsConfig, err = cfg.TLS.Open(); err != nil {
			return err
		}
	}
	if n.meta, err = meta.Open(filepath.Join(cfg.DataDir, "definitions"), meta.Options{Log: n.log, Failed: n.stuck}); err != nil {
		return err
	}
	messages, err := n.openMessages()
	if err != nil {
		return err
	}
	name := nodeName()
	clusterName := cfg.ClusterName
	if clusterName == "" {
		clusterName = name
	}
	n.broker = broker.New(broker.Options{
		ClusterName: clusterName, InboxMax: int(cfg.InboxBytes), MemoryLimit: memoryLimit(cfg), Log: n.log,
		Definitions: n.meta, Messages: messages,
	})
	users := auth.New(cfg)
	if err := n.restore(users); err != nil {
		return err
	}
	plain, err := listen(cfg.Listeners)
	if err != nil {
		return err
	}
	secure, err := listen(cfg.TLSListeners)
	if err != nil {
		closeAll(plain)
		return err
	}
	n.server = server.New(server.Options{
		Broker: n.broker, Users: users, Log: n.log, Product: "RabbitMQ", Version: CompatibleVersion,
		Prepare: func(c net.Conn) error { return prepare(c, cfg.TCP) }, HandshakeTimeout: cfg.HandshakeTimeout,
		Heartbeat: cfg.Heartbeat, FrameMax: cfg.FrameMax, ChannelMax: cfg.ChannelMax, ConnectionMax: cfg.ConnectionMax,
		MaxMessageSize: cfg.MaxMessageSize, ConsumerTimeout: cfg.ConsumerTimeout, OutboxMax: int(cfg.OutboxBytes),
	})
	for _, l := range plain {
		n.serve(l, false)
	}
	for _, l := range secure {
		n.serve(tls.NewListener(l, tlsConfig), true)
	}
	n.tasks.Add(1)
	go n.watch() // ends when stop is closed
	return nil
}

func (n *Node) serve(l net.Listener, secure bool) {
	n.addrs = append(n.addrs, l.Addr())
	n.log.Info("accepting AMQP connections", "address", l.Addr().String(), "tls", secure)
	n.server.Serve(l, secure)
}

// Addrs returns where the node listens, those in the clear first.
func (n *Node) Addrs() []net.Addr { return n.addrs }

// Close tells clients that the broker shuts down, waits for them to go for a while, and frees the data directory.
func (n *Node) Close() {
	close(n.stop)
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	n.server.Close(ctx)
	n.tasks.Wait()
	n.broker.Stop()
	n.release()
	n.log.Info("stopped")
}

func (n *Node) release() {
	if n.store != nil {
		if err := n.store.Close(); err != nil {
			n.log.Error("closing the message log failed", "error", err)
		}
	}
	if n.meta != nil {
		n.closeDefinitions()
	}
	if n.lock != nil {
		n.lock.Close() // the lock goes with it
	}
}

// closeDefinitions closes the definitions. Badger goes on trying for ever where it cannot write; but all that was answered for
// is synced, so a node that stops does not wait for that.
func (n *Node) closeDefinitions() {
	done := make(chan error, 1)
	go func() { done <- n.meta.Close() }() // ends when Badger does, or with the process
	select {
	case err := <-done:
		if err != nil {
			n.log.Error("closing the definitions failed", "error", err)
		}
	case <-time.After(closeTimeout):
		n.log.Error("closing the definitions takes too long: the disk cannot be written")
	}
}

// lockData makes sure that there is a data directory and that this process is alone in it.
func (n *Node) lockData() error {
	dir := n.cfg.DataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the data directory's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return fmt.Errorf("the data directory %s is in use by another process", dir)
	}
	n.lock = f
	return nil
}

// watch raises and clears the alarms of memory and disk.
func (n *Node) watch() {
	defer n.tasks.Done()
	t := time.NewTicker(alarmEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			n.broker.Alarms.CheckMemory()
			n.checkDisk()
		case <-n.stop:
			return
		}
	}
}

func listen(list []config.Listener) (out []net.Listener, err error) {
	for _, l := range list {
		nl, err := net.Listen("tcp", l.Addr)
		if err != nil {
			closeAll(out)
			return nil, fmt.Errorf("listen on %s: %w", l.Addr, err)
		}
		out = append(out, nl)
	}
	return out, nil
}

func closeAll(list []net.Listener) {
	for _, l := range list {
		l.Close()
	}
}

// prepare sets the options of an accepted socket.
func prepare(c net.Conn, o config.TCP) error {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	if err := t.SetNoDelay(o.NoDelay); err != nil {
		return err
	}
	if err := t.SetKeepAlive(o.KeepAlive); err != nil {
		return err
	}
	if o.SendBuffer > 0 {
		if err := t.SetWriteBuffer(o.SendBuffer); err != nil {
			return err
		}
	}
	if o.ReceiveBuffer > 0 {
		return t.SetReadBuffer(o.ReceiveBuffer)
	}
	return nil
}

func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return "warren@" + host
}

// memoryLimit returns the bytes of memory at which publishers are blocked.
func memoryLimit(cfg *config.Config) int64 {
	if cfg.MemoryHighWatermarkAbsolute > 0 {
		return cfg.MemoryHighWatermarkAbsolute
	}
	return int64(float64(totalMemory()) * cfg.MemoryHighWatermark)
}

// totalMemory returns the bytes of memory that the machine has, 0 if that is unknown.
func totalMemory() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return 0
	}
	return int64(info.Totalram) * int64(info.Unit)
}
