package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/internal/config"
)

// patience bounds what a test waits for. It is reached only by what never happens.
const patience = 20 * time.Second

// A host is a server with a broker of its own, the vhost / and the user guest, on a port of its own.
type host struct {
	t      testing.TB
	broker *broker.Broker
	users  *auth.Store
	server *Server
	addr   string
	closed sync.Once
}

// start makes a host, which is closed with the test. change may adapt the options, which are those of a node's defaults.
func start(t testing.TB, change func(*Options)) *host {
	t.Helper()
	cfg := config.Default()
	users, err := auth.NewWithDefaultUser(cfg)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b := broker.New(broker.Options{ClusterName: "test", InboxMax: int(cfg.InboxBytes), Log: log})
	b.AddVHost("/")
	opt := Options{
		Broker: b, Users: users, Log: log, Product: "RabbitMQ", Version: "3.13.7", HandshakeTimeout: cfg.HandshakeTimeout,
		Heartbeat: cfg.Heartbeat, FrameMax: cfg.FrameMax, ChannelMax: cfg.ChannelMax, MaxMessageSize: cfg.MaxMessageSize,
		ConsumerTimeout: cfg.ConsumerTimeout, OutboxMax: int(cfg.OutboxBytes),
	}
	if change != nil {
		change(&opt)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, broker: b, users: users, server: New(opt), addr: l.Addr().String()}
	h.server.Serve(l, false)
	t.Cleanup(h.close)
	return h
}

func (h *host) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h.closed.Do(func() { h.server.Close(ctx) })
}

// user adds a user, whose password is its name, with permissions in /.
func (h *host) user(name string, p auth.Permission, tags ...string) {
	h.t.Helper()
	if err := h.users.PutUser(auth.User{Name: name, PasswordHash: auth.HashPassword(name), Tags: tags}); err != nil {
		h.t.Fatal(err)
	}
	if err := h.users.SetPermission(name, "/", p); err != nil {
		h.t.Fatal(err)
	}
}

// dial connects as a user whose password is its name. The connection is closed with the test.
func (h *host) dial(user string) *client.Connection {
	h.t.Helper()
	c, err := client.Dial("amqp://" + user + ":" + user + "@" + h.addr + "/")
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return c
}

// channel opens a channel on a connection of its own.
func (h *host) channel() *client.Channel {
	h.t.Helper()
	return openOn(h.t, h.dial("guest"))
}

func openOn(t testing.TB, c *client.Connection) *client.Channel {
	t.Helper()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// must stops the test if one of the errors is not nil.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// next returns the next value from c.
func next[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("%s: the channel is closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came", what)
	}
	panic("unreachable")
}

// nothing makes sure that c holds nothing. Whatever could come must be there already.
func nothing[T any](t testing.TB, what string, c <-chan T) {
	t.Helper()
	select {
	case v, ok := <-c:
		if ok {
			t.Errorf("%s: %+v came", what, v)
		}
	default:
	}
}

// refusedWith checks that err is what the server closed a channel or connection with.
func refusedWith(t testing.TB, err error, code amqp.Code, text string) {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) || e.Code != int(code) || e.Reason != text {
		t.Errorf("got %v, want %d %q", err, code, text)
	}
}

// declare makes a queue and returns its name.
func declare(t testing.TB, ch *client.Channel, name string, args client.Table) string {
	t.Helper()
	q, err := ch.QueueDeclare(name, false, false, false, false, args)
	must(t, err)
	return q.Name
}

func publish(t testing.TB, ch *client.Channel, exchange, key, body string) {
	t.Helper()
	must(t, ch.Publish(exchange, key, false, false, client.Publishing{Body: []byte(body)}))
}

// take gets one message without acknowledgement; "" if there is none.
func take(t testing.TB, ch *client.Channel, queue string) string {
	t.Helper()
	d, ok, err := ch.Get(queue, true)
	must(t, err)
	if !ok {
		return ""
	}
	return string(d.Body)
}
