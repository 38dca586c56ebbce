package config

import (
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// load writes text to a file called warren.conf and loads it.
func load(t *testing.T, text string, env ...string) (*Config, string, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("warren.conf", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := Load("warren.conf", env)
	var all []string
	for _, w := range warnings {
		all = append(all, w.String())
	}
	return c, strings.Join(all, "\n"), err
}

func TestDefault(t *testing.T) {
	c := Default()
	want := &Config{
		Listeners:        []Listener{{"default", ":5672"}},
		TLS:              TLS{Depth: 1, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13},
		TCP:              TCP{NoDelay: true},
		HandshakeTimeout: 10 * time.Second, Heartbeat: time.Minute, FrameMax: 131072, ChannelMax: 2047,
		MaxMessageSize: 128 << 20, ConsumerTimeout: 30 * time.Minute,
		DefaultUser: "guest", DefaultPass: "guest", DefaultUserTags: []string{"administrator"}, DefaultVhost: "/",
		DefaultPermissions: Permissions{".*", ".*", ".*"},
		LoopbackUsers:      []string{"guest"}, Mechanisms: []string{"PLAIN", "AMQPLAIN"}, CertLoginFrom: "distinguished_name",
		MemoryHighWatermark: 0.4, DiskFreeLimit: 50e6,
		LogConsole: true, LogLevel: slog.LevelInfo,
		DataDir: "data", CacheBytes: 64 << 20, InboxBytes: 16 << 20, OutboxBytes: 1 << 20,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Default() =\n%+v, want\n%+v", c, want)
	}
}

func TestLoad(t *testing.T) {
	for _, tt := range []struct {
		rule, text string
		got        func(c *Config) any
		want       any
	}{
		{"spaces and comments do not matter", "# a file\r\n\n  heartbeat=30 # seconds\r\n", func(c *Config) any { return c.Heartbeat }, 30 * time.Second},
		{"the last line of a key counts", "heartbeat = 1\nheartbeat = 2\n", func(c *Config) any { return c.Heartbeat }, 2 * time.Second},
		{"a comment ends a value, as in RabbitMQ", "default_pass = a#b\n", func(c *Config) any { return c.DefaultPass }, "a"},
		{"quotes keep a # in a value", "default_pass = 'a#b = c' # secret\n", func(c *Config) any { return c.DefaultPass }, "a#b = c"},
		{"quotes keep a value empty", "default_permissions.write = ''\n", func(c *Config) any { return c.DefaultPermissions.Write }, ""},
		{"quotes elsewhere are part of the value", "default_pass = it's\n", func(c *Config) any { return c.DefaultPass }, "it's"},
		{"a value may hold =", "default_pass = a=b\n", func(c *Config) any { return c.DefaultPass }, "a=b"},
		{"the first listener replaces the default one", "listeners.tcp.a = 5673\nlisteners.tcp.b = ::1:5674\nlisteners.tcp.c = [::]:5675\nlisteners.tcp.d = 127.0.0.1:0",
			func(c *Config) any { return c.Listeners },
			[]Listener{{"a", ":5673"}, {"b", "[::1]:5674"}, {"c", "[::]:5675"}, {"d", "127.0.0.1:0"}}},
		{"a listener's later line replaces its earlier", "listeners.tcp.a = 1\nlisteners.tcp.a = 2", func(c *Config) any { return c.Listeners }, []Listener{{"a", ":2"}}},
		{"no listener", "listeners.tcp = none", func(c *Config) any { return len(c.Listeners) }, 0},
		{"TLS listeners", "listeners.ssl.x = 5671\nssl_options.certfile = c\nssl_options.keyfile = k", func(c *Config) any { return c.TLSListeners }, []Listener{{"x", ":5671"}}},
		{"one TLS version", "ssl_options.versions.1 = tlsv1.3", func(c *Config) any { return c.TLS.MinVersion }, uint16(tls.VersionTLS13)},
		{"two TLS versions", "ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2", func(c *Config) any { return []uint16{c.TLS.MinVersion, c.TLS.MaxVersion} }, []uint16{tls.VersionTLS12, tls.VersionTLS13}},
		{"milliseconds", "handshake_timeout = 2500", func(c *Config) any { return c.HandshakeTimeout }, 2500 * time.Millisecond},
		{"a duration with a unit", "consumer_timeout = 2h", func(c *Config) any { return c.ConsumerTimeout }, 2 * time.Hour},
		{"no consumer timeout", "consumer_timeout = infinity", func(c *Config) any { return c.ConsumerTimeout }, time.Duration(0)},
		{"no frame limit", "frame_max = 0", func(c *Config) any { return c.FrameMax }, uint32(0)},
		{"no connection limit", "connection_max = infinity", func(c *Config) any { return c.ConnectionMax }, 0},
		{"sizes", "disk_free_limit.absolute = 2GB", func(c *Config) any { return c.DiskFreeLimit }, int64(2e9)},
		{"ratios", "vm_memory_high_watermark.relative = 0.6", func(c *Config) any { return c.MemoryHighWatermark }, 0.6},
		{"guest from anywhere", "loopback_users.guest = false", func(c *Config) any { return len(c.LoopbackUsers) }, 0},
		{"everybody from anywhere", "loopback_users = none", func(c *Config) any { return len(c.LoopbackUsers) }, 0},
		{"another loopback user does not free guest", "loopback_users.a = true", func(c *Config) any { return c.LoopbackUsers }, []string{"a", "guest"}},
		{"tags replace the default", "default_user_tags.monitoring = true\ndefault_user_tags.a.b = true", func(c *Config) any { return c.DefaultUserTags }, []string{"a.b", "monitoring"}},
		{"mechanisms replace the default", "auth_mechanisms.1 = EXTERNAL\nauth_mechanisms.2 = PLAIN", func(c *Config) any { return c.Mechanisms }, []string{"EXTERNAL", "PLAIN"}},
		{"log levels", "log.console.level = warning", func(c *Config) any { return c.LogLevel }, slog.LevelWarn},
		{"Warren's own", "warren.data_dir = /var/lib/warren", func(c *Config) any { return c.DataDir }, "/var/lib/warren"},
	} {
		c, warnings, err := load(t, tt.text)
		if err != nil || warnings != "" {
			t.Errorf("%s: %q: %v, %q", tt.rule, tt.text, err, warnings)
		} else if got := tt.got(c); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q gives %v, want %v", tt.rule, tt.text, got, tt.want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"\nheartbeat = soon", `warren.conf:2: heartbeat: "soon" is neither a whole number of seconds nor a duration such as 90s`},
		{"heartbeat = 65536", `warren.conf:1: heartbeat: "65536" is not a whole number of seconds up to 65535`},
		{"heartbeat = 500ms", `warren.conf:1: heartbeat: "500ms" is not a whole number of seconds up to 65535`},
		{"handshake_timeout = -1", `warren.conf:1: handshake_timeout: "-1" is neither a whole number of milliseconds nor a duration such as 90s`},
		{"handshake_timeout = 9223372036854775807", `warren.conf:1: handshake_timeout: "9223372036854775807" is longer than this machine can count`},
		{"heartbeat", "warren.conf:1: expected `key = value`"},
		{"[x]\nheart beat = 1", "warren.conf:1: expected `key = value`\nwarren.conf:2: expected `key = value`"},
		{"heartbeat = # none", "warren.conf:1: heartbeat has no value"},
		{"frame_max = 4095", "warren.conf:1: frame_max: 4095 is below 4096, the smallest frame that every client can speak"},
		{"frame_max = 8GB", "warren.conf:1: frame_max: 8000000000 is not between 0 and 4294967295"},
		{"channel_max = 65536", "warren.conf:1: channel_max: 65536 is not between 0 and 65535"},
		{"channel_max = many", `warren.conf:1: channel_max: "many" is not a whole number`},
		{"listeners.tcp.default = localhost", `warren.conf:1: listeners.tcp.default: "localhost" is not a port, host:port or [ipv6]:port`},
		{"listeners.tcp.default = 65536", `warren.conf:1: listeners.tcp.default: "65536" is not a port, host:port or [ipv6]:port`},
		{"listeners.tcp = 5672", `warren.conf:1: listeners.tcp: "5672" is not one of none`},
		{"listeners.ssl.default = 5671", "listeners.ssl.default: needs ssl_options.certfile and ssl_options.keyfile"},
		{"ssl_options.verify = verify_peer", "ssl_options.verify: verify_peer needs ssl_options.cacertfile"},
		{"ssl_options.versions.1 = sslv3", `warren.conf:1: ssl_options.versions.1: "sslv3" is not one of tlsv1.2, tlsv1.3`},
		{"auth_mechanisms.1 = CRAM-MD5", `warren.conf:1: auth_mechanisms.1: "CRAM-MD5" is not one of PLAIN, AMQPLAIN, EXTERNAL`},
		{"loopback_users.guest = no", `warren.conf:1: loopback_users.guest: "no" is neither true nor false`},
		{"disk_free_limit.absolute = lots", `warren.conf:1: disk_free_limit.absolute: "lots" is not a size such as 4096, 50MB or 1GiB`},
		{"vm_memory_high_watermark.relative = NaN", `warren.conf:1: vm_memory_high_watermark.relative: "NaN" is not a number between 0 and 1`},
		{"log.level = loud", `warren.conf:1: log.level: "loud" is not one of debug, info, warning, error, critical, none`},
		{strings.Repeat("#\n", maxFileBytes), "warren.conf: longer than 1048576 bytes"},
	} {
		c, _, err := load(t, tt.text)
		if err == nil || err.Error() != tt.want || c != nil {
			t.Errorf("%.40q: got %v, want %s", tt.text, err, tt.want)
		}
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a missing file is taken")
	}
}

func TestLoadWarns(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"hearbeat = 3", "warren.conf:1: unknown setting hearbeat is ignored; did you mean heartbeat?"},
		{"listener.tcp.mine = 3", "warren.conf:1: unknown setting listener.tcp.mine is ignored; did you mean listeners.tcp.mine?"},
		{"mqtt.listeners.tcp.default = 1883", "warren.conf:1: unknown setting mqtt.listeners.tcp.default is ignored"},
		{"cluster_partition_handling = ignore", "warren.conf:1: cluster_partition_handling has no effect in Warren: the side without a majority always stops serving"},
		{"ssl_options.fail_if_no_peer_cert = true", "ssl_options.fail_if_no_peer_cert: has no effect without ssl_options.verify = verify_peer"},
	} {
		if _, warnings, err := load(t, tt.text); err != nil || warnings != tt.want {
			t.Errorf("%q: warns %q, %v, want %q", tt.text, warnings, err, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	c, warnings, err := load(t, "heartbeat = 1\nlisteners.tcp.a = 1\n", "PATH=/bin", "WARREN_HEARTBEAT=2",
		"WARREN_DEFAULT_PASS=a#b", "WARREN_LISTENERS__TCP__B=127.0.0.1:2", "WARREN_DATA_DIR=/d", "WARREN_CONFIG_FILE=x", "WARREN_HEARTBAET=3")
	if err != nil {
		t.Fatal(err)
	}
	if want := "WARREN_HEARTBAET: unknown setting heartbaet is ignored; did you mean heartbeat?"; warnings != want {
		t.Errorf("warns %q, want %q", warnings, want)
	}
	if c.Heartbeat != 2*time.Second || c.DefaultPass != "a#b" || c.DataDir != "/d" {
		t.Errorf("the environment does not win over the file: %+v", c)
	}
	if want := []Listener{{"a", ":1"}, {"b", "127.0.0.1:2"}}; !reflect.DeepEqual(c.Listeners, want) {
		t.Errorf("listeners are %v, want %v", c.Listeners, want)
	}
	if _, _, err := load(t, "", "WARREN_HEARTBEAT=x"); err == nil || !strings.HasPrefix(err.Error(), "WARREN_HEARTBEAT: heartbeat: ") {
		t.Errorf("a bad variable gives %v", err)
	}
}

// The sizes that RabbitMQ 3.10.8 takes, and the larger units.
func TestParseBytes(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64 // -1: refused
	}{
		{"7", 7}, {"0", 0}, {"50MB", 50e6}, {"5mb", 5e6}, {"50MiB", 50 << 20}, {"1GB", 1e9}, {"1k", 1024}, {"1kb", 1000},
		{"2g", 2 << 30}, {"3TB", 3e12}, {"1TiB", 1 << 40}, {"5B", 5},
		{"", -1}, {"b", -1}, {"-1", -1}, {"1.5GB", -1}, {"10 MB", -1}, {"1P", -1}, {"1bb", -1}, {"9223372036854775807k", -1}, {"ȺȺȺk", -1}, {"5K", 5 << 10}, {"5\u212a", 5 << 10}, // the Kelvin sign is a k in lower case
	} {
		got, err := ParseBytes(tt.in)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
		}
	}
}

// Whatever a file holds, Load answers with settings or with an error, and does not panic.
func FuzzLoad(f *testing.F) {
	f.Add("heartbeat = 3\n")
	f.Add("listeners.tcp.a = [::1]:3 # x\ndefault_pass = 'a'\n")
	f.Add("disk_free_limit.absolute = 9MiB\n\x00=\xff")
	f.Fuzz(func(t *testing.T, text string) {
		l := loader{c: Default(), table: all(), cleared: map[string]bool{}}
		l.readFile("f", strings.NewReader(text))
		l.check()
	})
}

// Every setting can be found by its own key, and no two share one.
func TestTable(t *testing.T) {
	l := loader{table: all()}
	for i := range l.table {
		s := &l.table[i]
		if got, _ := l.find(strings.ReplaceAll(s.Key, "$", "x")); got != s {
			t.Errorf("%s is hidden by %s", s.Key, got.Key)
		}
		if s.Doc == "" || s.Set == nil {
			t.Errorf("%s has no Doc or no Set", s.Key)
		}
	}
}
