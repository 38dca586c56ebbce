// Package config reads Warren's settings: a file in the format and with the key names of RabbitMQ's rabbitmq.conf, then
// the environment. internal/node loads them once at start and hands each part what it needs of the Config.
//
// One table (settings.go) holds everything there is to know of a setting: its key, its default, what it means and in which
// unit, and the function that stores it. The parser, Default, docs/config.md and docs/warren.conf.sample all come from it.
// To add a setting, add a field to Config and an entry to the table, and run `make generate`.
//
// A key that Warren does not know is a warning, because a rabbitmq.conf is to be read as it is; a value that does not fit
// its key is an error with the file and the line. The package watches nothing: a changed file counts at the next start.
package config

import (
	"log/slog"
	"time"
)

// Config is every setting of one node. It is filled by Load or Default and not changed after.
type Config struct {
	Listeners    []Listener // AMQP in the clear
	TLSListeners []Listener // AMQP over TLS, as TLS below says
	TLS          TLS
	TCP          TCP

	HandshakeTimeout time.Duration // from accept to connection.open-ok
	Heartbeat        time.Duration // offered in connection.tune, whole seconds; 0 switches heartbeats off
	FrameMax         uint32        // bytes with header and end octet, offered in connection.tune; 0 is no limit
	ChannelMax       uint16        // channels of a connection, offered in connection.tune; 0 is no limit
	ConnectionMax    int           // connections of this node; 0 is no limit
	MaxMessageSize   int64         // bytes of a body
	ConsumerTimeout  time.Duration // a delivery unacknowledged for longer closes its channel; 0 is never

	DefaultUser        string   // made when there are no users yet
	DefaultPass        string   // of DefaultUser
	DefaultUserTags    []string // of DefaultUser, sorted
	DefaultVhost       string   // made when there are no vhosts yet
	DefaultPermissions Permissions

	LoopbackUsers []string // may log in from this machine only; sorted
	Mechanisms    []string // SASL mechanisms in the order offered
	CertLoginFrom string   // what EXTERNAL takes the user's name from: distinguished_name or common_name

	MemoryHighWatermark         float64 // share of the machine's memory at which publishers are blocked
	MemoryHighWatermarkAbsolute int64   // the same in bytes; 0 leaves it to MemoryHighWatermark
	DiskFreeLimit               int64   // bytes free on the data directory's disk below which publishers are blocked
	DiskFreeLimitRelative       float64 // the same as a multiple of the machine's memory; 0 leaves it to DiskFreeLimit

	ClusterName string     // shown to clients; "" is the node's own name
	LogConsole  bool       // log to standard error
	LogLevel    slog.Level // the least that is logged

	DataDir     string // everything the node keeps is below it
	CacheBytes  int64  // of messages waiting in all queues that are kept in memory
	InboxBytes  int64  // of message bodies waiting in one queue's inbox; a publisher beyond it waits
	OutboxBytes int64  // of message bodies waiting for one connection's writer; consumers without prefetch wait beyond it
}

// A Listener is one address to accept connections at.
type Listener struct {
	Name string // the last word of its key, for logs
	Addr string // host:port as net.Listen takes it; an empty host is every interface, port 0 any free port
}

// Permissions are what the default user may do in the default vhost: regular expressions that a name must match.
type Permissions struct {
	Configure, Write, Read string
}

// TCP is what is set on each accepted socket. Zeros leave the system's defaults.
type TCP struct {
	NoDelay       bool
	KeepAlive     bool
	SendBuffer    int // bytes
	ReceiveBuffer int // bytes
}

// Default returns the settings of a node without a file.
func Default() *Config {
	c := new(Config)
	for _, s := range all() {
		if s.Default == "" {
			continue
		}
		for _, kv := range s.defaults() {
			if err := s.Set(c, kv.part, kv.value); err != nil {
				panic("config: the default of " + s.Key + " does not fit: " + err.Error())
			}
		}
	}
	return c
}
