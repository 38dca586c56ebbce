package config

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"
)

// groups is the table of settings. Keys that RabbitMQ has keep its name, default and unit; Warren's own begin with
// "warren.". A setting that is read and has no effect here says so by its Set, ignored.
func groups() []Group {
	return []Group{
		{"Listeners", []Setting{
			{Key: "listeners.tcp.$name", Default: "default = 5672",
				Doc:   "An address to accept AMQP connections at, as `port`, `host:port` or `[ipv6]:port`. The last word of the key is free. Without a host, all interfaces.",
				Set:   listener(func(c *Config) *[]Listener { return &c.Listeners }),
				Clear: func(c *Config) { c.Listeners = nil }},
			{Key: "listeners.tcp",
				Doc: "`none` opens no address in the clear.",
				Set: none(func(c *Config) { c.Listeners = nil })},
			{Key: "listeners.ssl.$name",
				Doc: "An address to accept AMQP over TLS at, usually 5671. Needs `ssl_options.certfile` and `ssl_options.keyfile`.",
				Set: listener(func(c *Config) *[]Listener { return &c.TLSListeners })},
			{Key: "handshake_timeout", Default: "10000",
				Doc: "Milliseconds that a connection may take from its first byte until a vhost is open.",
				Set: duration(time.Millisecond, func(c *Config) *time.Duration { return &c.HandshakeTimeout })},
			{Key: "connection_max", Default: "infinity",
				Doc: "Connections that this node accepts; `infinity` is no limit.",
				Set: limit(0, math.MaxInt32, func(c *Config) *int { return &c.ConnectionMax })},
			{Key: "tcp_listen_options.nodelay", Default: "true",
				Doc: "Send at once rather than gather small packets.",
				Set: boolean(func(c *Config) *bool { return &c.TCP.NoDelay })},
			{Key: "tcp_listen_options.keepalive", Default: "false",
				Doc: "TCP keepalive on client connections, besides AMQP heartbeats.",
				Set: boolean(func(c *Config) *bool { return &c.TCP.KeepAlive })},
			{Key: "tcp_listen_options.sndbuf", Default: "0",
				Doc: "Bytes of the socket's send buffer; 0 leaves it to the system.",
				Set: bytes(0, math.MaxInt32, func(c *Config) *int { return &c.TCP.SendBuffer })},
			{Key: "tcp_listen_options.recbuf", Default: "0",
				Doc: "Bytes of the socket's receive buffer; 0 leaves it to the system.",
				Set: bytes(0, math.MaxInt32, func(c *Config) *int { return &c.TCP.ReceiveBuffer })},
			{Key: "tcp_listen_options.linger.on", Default: "",
				Doc: "Accepted and ignored: Warren writes what it has to say before it closes a socket.",
				Set: ignored("what is unsent is written before a socket is closed")},
			{Key: "tcp_listen_options.linger.timeout", Default: "",
				Doc: "Accepted and ignored, as `tcp_listen_options.linger.on`.",
				Set: ignored("what is unsent is written before a socket is closed")},
			{Key: "tcp_listen_options.backlog",
				Doc: "Connections waiting to be accepted.",
				Set: ignored("the system's limit (net.core.somaxconn) applies")},
			{Key: "num_acceptors.tcp",
				Doc: "Processes that accept connections.",
				Set: ignored("one goroutine accepts")},
			{Key: "num_acceptors.ssl",
				Doc: "Processes that accept TLS connections.",
				Set: ignored("one goroutine accepts, each connection shakes hands in its own")},
		}},

		{"TLS", []Setting{
			{Key: "ssl_options.cacertfile",
				Doc: "PEM file with the certificates of the authorities that client certificates are checked against.",
				Set: text(func(c *Config) *string { return &c.TLS.CAFile })},
			{Key: "ssl_options.certfile",
				Doc: "PEM file with the server's certificate, then its intermediates.",
				Set: text(func(c *Config) *string { return &c.TLS.CertFile })},
			{Key: "ssl_options.keyfile",
				Doc: "PEM file with the private key of `ssl_options.certfile`.",
				Set: text(func(c *Config) *string { return &c.TLS.KeyFile })},
			{Key: "ssl_options.verify", Default: "verify_none",
				Doc: "`verify_peer` asks clients for a certificate and checks it; `verify_none` does not ask.",
				Set: oneOf(func(c *Config, v string) { c.TLS.VerifyPeer = v == "verify_peer" }, "verify_none", "verify_peer")},
			{Key: "ssl_options.fail_if_no_peer_cert", Default: "false",
				Doc: "With `verify_peer`, refuse a client that sends no certificate.",
				Set: boolean(func(c *Config) *bool { return &c.TLS.RequirePeerCert })},
			{Key: "ssl_options.depth", Default: "1",
				Doc: "Intermediate certificates allowed between a client's certificate and its authority.",
				Set: limit(0, 255, func(c *Config) *int { return &c.TLS.Depth })},
			{Key: "ssl_options.versions.$n", Default: "1 = tlsv1.3, 2 = tlsv1.2",
				Doc:   "TLS versions to speak, `tlsv1.2` or `tlsv1.3`, in any order.",
				Set:   tlsVersion,
				Clear: func(c *Config) { c.TLS.MinVersion, c.TLS.MaxVersion = 0, 0 }},
		}},

		{"Protocol limits", []Setting{
			{Key: "heartbeat", Default: "60",
				Doc: "Seconds, offered to clients in connection.tune; 0 offers none. The client's answer counts.",
				Set: seconds16(func(c *Config) *time.Duration { return &c.Heartbeat })},
			{Key: "frame_max", Default: "131072",
				Doc: "Bytes of the largest frame, offered in connection.tune; at least 4096, or 0 for no limit.",
				Set: frameMax},
			{Key: "channel_max", Default: "2047",
				Doc: "Channels that one connection may have open, offered in connection.tune; 0 is no limit.",
				Set: limit(0, math.MaxUint16, func(c *Config) *uint16 { return &c.ChannelMax })},
			{Key: "max_message_size", Default: "134217728",
				Doc: "Bytes of the largest message body, at most 512 MiB. A larger one closes its channel.",
				Set: bytes(0, 512<<20, func(c *Config) *int64 { return &c.MaxMessageSize })},
			{Key: "consumer_timeout", Default: "1800000",
				Doc: "Milliseconds that a delivery may stay unacknowledged before its channel is closed; `infinity` is for ever.",
				Set: orInfinity(duration(time.Millisecond, func(c *Config) *time.Duration { return &c.ConsumerTimeout }))},
			{Key: "warren.inbox_bytes", Default: "16MiB",
				Doc: "Bytes of message bodies that may wait for one queue. A publisher that finds it full waits, and TCP slows it down.",
				Set: bytes(4096, math.MaxInt64, func(c *Config) *int64 { return &c.InboxBytes })},
			{Key: "warren.cache_bytes", Default: "64MiB",
				Doc: "Bytes of messages that wait in all queues together which are kept in memory; beyond it a queue keeps some at its head and leaves the rest on disk.",
				Set: bytes(0, math.MaxInt64, func(c *Config) *int64 { return &c.CacheBytes })},
			{Key: "warren.outbox_bytes", Default: "1MiB",
				Doc: "Bytes of message bodies that may wait for one connection's socket. Consumers without prefetch get no more until some have left.",
				Set: bytes(4096, math.MaxInt64, func(c *Config) *int64 { return &c.OutboxBytes })},
		}},

		{"Users and logins", []Setting{
			{Key: "default_user", Default: "guest",
				Doc: "The user that a node without users makes when it starts.",
				Set: text(func(c *Config) *string { return &c.DefaultUser })},
			{Key: "default_pass", Default: "guest",
				Doc: "The default user's password. Put it in single quotes if it holds a `#`.",
				Set: text(func(c *Config) *string { return &c.DefaultPass })},
			{Key: "default_user_tags.$tag", Default: "administrator = true",
				Doc:   "Tags of the default user: `true` gives it the tag that the key ends with. Naming one replaces the default.",
				Set:   names(func(c *Config) *[]string { return &c.DefaultUserTags }),
				Clear: func(c *Config) { c.DefaultUserTags = nil }},
			{Key: "default_vhost", Default: "/",
				Doc: "The vhost that a node without vhosts makes when it starts.",
				Set: text(func(c *Config) *string { return &c.DefaultVhost })},
			{Key: "default_permissions.configure", Default: ".*",
				Doc: "Names that the default user may declare and delete in the default vhost, as a regular expression.",
				Set: text(func(c *Config) *string { return &c.DefaultPermissions.Configure })},
			{Key: "default_permissions.write", Default: ".*",
				Doc: "Names that the default user may write to.",
				Set: text(func(c *Config) *string { return &c.DefaultPermissions.Write })},
			{Key: "default_permissions.read", Default: ".*",
				Doc: "Names that the default user may read from.",
				Set: text(func(c *Config) *string { return &c.DefaultPermissions.Read })},
			{Key: "loopback_users.$user", Default: "guest = true",
				Doc: "`true`: the user that the key ends with may log in from this machine only; `false`: from anywhere. `guest` stays `true` until it is set to `false`.",
				Set: names(func(c *Config) *[]string { return &c.LoopbackUsers })},
			{Key: "loopback_users",
				Doc: "`none` lets every user log in from anywhere.",
				Set: none(func(c *Config) { c.LoopbackUsers = nil })},
			{Key: "auth_mechanisms.$n", Default: "1 = PLAIN, 2 = AMQPLAIN",
				Doc:   "SASL mechanisms offered to clients: `PLAIN`, `AMQPLAIN`, `EXTERNAL`. The last, by client certificate, is offered only on TLS to a client whose certificate was verified.",
				Set:   mechanism,
				Clear: func(c *Config) { c.Mechanisms = nil }},
			{Key: "ssl_cert_login_from", Default: "distinguished_name",
				Doc: "What `EXTERNAL` takes the user's name from: `distinguished_name` (such as `CN=app,O=Example`) or `common_name`.",
				Set: oneOf(func(c *Config, v string) { c.CertLoginFrom = v }, "distinguished_name", "common_name")},
		}},

		{"Memory and disk", []Setting{
			{Key: "vm_memory_high_watermark.relative", Default: "0.4",
				Doc: "Share of the machine's memory in use by the broker at which publishers are blocked.",
				Set: ratio(0, 1, func(c *Config) *float64 { return &c.MemoryHighWatermark })},
			{Key: "vm_memory_high_watermark.absolute",
				Doc: "The same in bytes, such as `2GB`. Wins over the share.",
				Set: bytes(1, math.MaxInt64, func(c *Config) *int64 { return &c.MemoryHighWatermarkAbsolute })},
			{Key: "disk_free_limit.absolute", Default: "50MB",
				Doc: "Bytes free on the data directory's disk below which publishers are blocked.",
				Set: bytes(0, math.MaxInt64, func(c *Config) *int64 { return &c.DiskFreeLimit })},
			{Key: "disk_free_limit.relative",
				Doc: "The same as a multiple of the machine's memory, such as `1.0`. Wins over the bytes.",
				Set: ratio(0, 100, func(c *Config) *float64 { return &c.DiskFreeLimitRelative })},
		}},

		{"Node", []Setting{
			{Key: "warren.data_dir", Default: "data",
				Doc: "Directory of everything the node keeps. A relative one starts at the working directory.",
				Set: text(func(c *Config) *string { return &c.DataDir })},
			{Key: "cluster_name",
				Doc: "Shown to clients in the server's properties. Unset, the node's own name.",
				Set: text(func(c *Config) *string { return &c.ClusterName })},
			{Key: "cluster_partition_handling",
				Doc: "What RabbitMQ does when nodes lose sight of each other.",
				Set: ignored("the side without a majority always stops serving")},
			{Key: "log.console", Default: "true",
				Doc: "Log to standard error.",
				Set: boolean(func(c *Config) *bool { return &c.LogConsole })},
			{Key: "log.console.level", Default: "info",
				Doc: "The least that is logged: `debug`, `info`, `warning`, `error`, `critical` or `none`.",
				Set: level},
			{Key: "log.level",
				Doc: "The same as `log.console.level`; of both, the later line counts.",
				Set: level},
		}},
	}
}

// frameMax is 0 or at least the protocol's frame-min-size. Spec: 4.2.3.
func frameMax(c *Config, _, value string) error {
	var n uint32
	err := bytes(0, math.MaxUint32, func(*Config) *uint32 { return &n })(c, "", value)
	if err == nil && n != 0 && n < 4096 {
		err = fmt.Errorf("%s is below 4096, the smallest frame that every client can speak", value)
	}
	if err == nil {
		c.FrameMax = n
	}
	return err
}

// tlsVersion widens the range of versions to value.
func tlsVersion(c *Config, _, value string) error {
	v, ok := map[string]uint16{"tlsv1.2": tls.VersionTLS12, "tlsv1.3": tls.VersionTLS13}[value]
	if !ok {
		return fmt.Errorf("%q is not one of tlsv1.2, tlsv1.3", value)
	}
	t := &c.TLS
	if t.MinVersion == 0 || v < t.MinVersion {
		t.MinVersion = v
	}
	t.MaxVersion = max(v, t.MaxVersion)
	return nil
}

func mechanism(c *Config, _, value string) error {
	known := []string{"PLAIN", "AMQPLAIN", "EXTERNAL"}
	if !slices.Contains(known, value) {
		return fmt.Errorf("%q is not one of PLAIN, AMQPLAIN, EXTERNAL", value)
	}
	if !slices.Contains(c.Mechanisms, value) {
		c.Mechanisms = append(c.Mechanisms, value)
	}
	return nil
}

// levelNone is above everything that is ever logged.
const levelNone = slog.Level(64)

func level(c *Config, _, value string) error {
	l, ok := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "notice": slog.LevelInfo, "warning": slog.LevelWarn,
		"error": slog.LevelError, "critical": slog.LevelError + 4, "none": levelNone,
	}[value]
	if !ok {
		return fmt.Errorf("%q is not one of debug, info, warning, error, critical, none", value)
	}
	c.LogLevel = l
	return nil
}
