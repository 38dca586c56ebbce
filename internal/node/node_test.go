package node

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/internal/config"
)

const certs = "../../testdata/tls/"

// settings returns the settings of a node on free ports with a data directory of its own.
func settings(t *testing.T) *config.Config {
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.Listeners = []config.Listener{{Name: "test", Addr: "127.0.0.1:0"}}
	return cfg
}

func start(t *testing.T, cfg *config.Config) *Node {
	t.Helper()
	n, err := Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// roundTrip publishes a message and gets it.
func roundTrip(t *testing.T, c *client.Connection) {
	t.Helper()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("long enough for several TLS records ", 20_000)
	if err := ch.Publish("", q.Name, false, false, client.Publishing{Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
	if d, ok, err := ch.Get(q.Name, true); err != nil || !ok || string(d.Body) != body {
		t.Fatalf("got %v, %d bytes, %v", ok, len(d.Body), err)
	}
}

func TestStartAndClose(t *testing.T) {
	cfg := settings(t)
	for range 2 { // the port and the data directory are free again
		n, err := Start(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listeners[0].Addr = n.Addrs()[0].String()
		c, err := client.Dial("amqp://guest:guest@" + cfg.Listeners[0].Addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, c)
		closed := c.NotifyClose(make(chan *client.Error, 1))
		n.Close()
		want := "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
		if e := <-closed; e == nil || e.Code != 320 || e.Reason != want {
			t.Errorf("closed with %v", e)
		}
	}
}

// What cannot be started is said in one line, and leaves nothing behind.
func TestStartFaults(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	used := settings(t)
	start(t, used)
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"port taken", func(c *config.Config) { c.Listeners[0].Addr = taken.Addr().String() }, "address already in use"},
		{"second port taken", func(c *config.Config) {
			c.Listeners = append(c.Listeners, config.Listener{Addr: taken.Addr().String()})
		}, "address already in use"},
		{"data directory in use", func(c *config.Config) { c.DataDir = used.DataDir }, "is in use by another process"},
		{"data directory is a file", func(c *config.Config) { c.DataDir = certs + "ca_cert.pem" }, "not a directory"},
		{"no certificate", func(c *config.Config) {
			c.TLSListeners = []config.Listener{{Addr: "127.0.0.1:0"}}
			c.TLS.CertFile, c.TLS.KeyFile = "none", "none"
		}, "load the server's certificate"},
		{"bad permission", func(c *config.Config) { c.DefaultPermissions.Read = "(" }, "regular expression"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := settings(t)
			tt.change(cfg)
			n, err := Start(cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				n.Close()
				t.Fatal("it started")
			}
			if s := err.Error(); !strings.Contains(s, tt.want) || strings.Contains(s, "\n") {
				t.Errorf("got %q, want one line with %q", s, tt.want)
			}
			// The directory is free, unless it is the other's.
			if cfg.DataDir != used.DataDir && tt.name != "data directory is a file" {
				cfg := *cfg
				cfg.Listeners, cfg.TLSListeners = []config.Listener{{Addr: "127.0.0.1:0"}}, nil
				cfg.DefaultPermissions.Read = ".*"
				start(t, &cfg)
			}
		})
	}
}

// secure returns the settings of a node that speaks TLS.
func secure(t *testing.T) *config.Config {
	cfg := settings(t)
	cfg.Listeners = nil
	cfg.TLSListeners = []config.Listener{{Name: "test", Addr: "127.0.0.1:0"}}
	cfg.TLS.CAFile, cfg.TLS.CertFile, cfg.TLS.KeyFile = certs+"ca_cert.pem", certs+"server_cert.pem", certs+"server_key.pem"
	return cfg
}

// trust returns a client's side of TLS that trusts the tests' authority.
func trust(t *testing.T) *tls.Config {
	pem, err := os.ReadFile(certs + "ca_cert.pem")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

func pair(t *testing.T, name string) tls.Certificate {
	c, err := tls.LoadX509KeyPair(certs+name+"_cert.pem", certs+name+"_key.pem")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTLSVersions(t *testing.T) {
	addr := start(t, secure(t)).Addrs()[0].String()
	for _, tt := range []struct {
		version uint16
		ok      bool
	}{{tls.VersionTLS11, false}, {tls.VersionTLS12, true}, {tls.VersionTLS13, true}} {
		side := trust(t)
		side.MinVersion, side.MaxVersion = tt.version, tt.version
		c, err := client.DialTLS("amqps://guest:guest@"+addr+"/", side)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tls.VersionName(tt.version), err)
		}
		if err == nil {
			if v := c.ConnectionState().Version; v != tt.version {
				t.Errorf("spoke %s, want %s", tls.VersionName(v), tls.VersionName(tt.version))
			}
			roundTrip(t, c)
			c.Close()
		}
	}
	// A client in the clear gets no answer that it could take for one.
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("AMQP\x00\x00\x09\x01"))
	if b, _ := io.ReadAll(c); len(b) > 7 { // an alert
		t.Errorf("got %q", b)
	}
}

// A client with a certificate logs in as the user that its subject names.
func TestTLSExternal(t *testing.T) {
	cfg := secure(t)
	cfg.TLS.VerifyPeer = true
	cfg.Mechanisms = append(cfg.Mechanisms, "EXTERNAL")
	cfg.DefaultUser = "CN=client,O=Warren"
	addr := start(t, cfg).Addrs()[0].String()
	dial := func(side *tls.Config) (*client.Connection, error) {
		return client.DialConfig("amqps://"+addr+"/", client.Config{TLSClientConfig: side, SASL: []client.Authentication{&client.ExternalAuth{}}})
	}
	side := trust(t)
	side.Certificates = []tls.Certificate{pair(t, "client")}
	c, err := dial(side)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	c.Close()

	if c, err := dial(trust(t)); err == nil { // the mechanism is not offered without a certificate
		c.Close()
		t.Error("logged in by a certificate that was not shown")
	}
	side.Certificates = []tls.Certificate{pair(t, "server")} // whose subject is nobody, and which is not a client's
	if c, err := dial(side); err == nil {
		c.Close()
		t.Error("logged in by another's certificate")
	}
}

// With verify_peer and fail_if_no_peer_cert a client without a certificate, or with one that is not for clients, is refused.
func TestTLSPeerVerification(t *testing.T) {
	cfg := secure(t)
	cfg.TLS.VerifyPeer, cfg.TLS.RequirePeerCert = true, true
	addr := start(t, cfg).Addrs()[0].String()
	good := trust(t)
	good.Certificates = []tls.Certificate{pair(t, "client")}
	c, err := client.DialTLS("amqps://guest:guest@"+addr+"/", good)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	foreign := trust(t)
	foreign.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { c := pair(t, "server"); return &c, nil }
	for name, side := range map[string]*tls.Config{"none": trust(t), "not a client's": foreign} {
		c, err := client.DialTLS("amqps://guest:guest@"+addr+"/", side)
		if err == nil {
			c.Close()
			t.Errorf("%s: accepted", name)
		}
		if errors.Is(err, client.ErrCredentials) {
			t.Errorf("%s: got as far as the login", name)
		}
	}
}

// A listener that speaks TLS is not held up by a client that does not.
func TestTLSSilentClient(t *testing.T) {
	cfg := secure(t)
	addr := start(t, cfg).Addrs()[0].String()
	for range 20 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := client.DialTLS("amqps://guest:guest@"+addr+"/", trust(t))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c)
	c.Close()
}
