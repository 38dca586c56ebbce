package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/internal/config"
	"github.com/warrenmq/warren/internal/meta"
)

// local returns the settings of a node with its data in dir and a port of its own.
func local(dir string) *config.Config {
	c := config.Default()
	c.DataDir = dir
	c.Listeners = []config.Listener{{Name: "test", Addr: "127.0.0.1:0"}}
	return c
}

// begin starts a node, which is closed with the test if not by stop before.
func begin(t *testing.T, cfg *config.Config) (n *Node, stop func()) {
	t.Helper()
	n, err := Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(n.Close)
	t.Cleanup(stop)
	return n, stop
}

// dial connects as guest and opens a channel.
func dial(t *testing.T, n *Node) *client.Channel {
	t.Helper()
	c, err := client.Dial("amqp://guest:guest@" + n.Addrs()[0].String() + "/")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// After a restart messages find their way as before: by exchanges, queues and bindings with arguments, from exchange to
// exchange, to an alternate exchange. What was transient, exclusive or deleted is gone.
func TestDefinitionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	n, stop := begin(t, local(dir))
	ch := dial(t, n)
	limits := client.Table{"x-max-length": int32(2), "x-overflow": "reject-publish", "x-dead-letter-exchange": "dlx", "note": client.Table{"a": []any{int64(1), "b"}}}
	headers := client.Table{"x-match": "all", "format": "pdf", "pages": int32(3)}
	q := func(name string, durable, autoDelete, exclusive bool, args client.Table) error {
		_, err := ch.QueueDeclare(name, durable, autoDelete, exclusive, false, args)
		return err
	}
	must(t,
		ch.ExchangeDeclare("alternate", "fanout", true, false, false, false, nil),
		ch.ExchangeDeclare("front", "topic", true, false, false, false, client.Table{"alternate-exchange": "alternate"}),
		ch.ExchangeDeclare("inner", "headers", true, false, true, false, nil),
		ch.ExchangeDeclare("transient", "fanout", false, false, false, false, nil),
		ch.ExchangeDeclare("deleted", "fanout", true, false, false, false, nil),
		ch.ExchangeDeclare("leaves", "fanout", true, true, false, false, nil),
		q("limited", true, false, false, limits),
		q("pdf", true, true, false, nil),
		q("rest", true, false, false, nil),
		q("temporary", false, false, false, nil),
		q("mine", true, false, true, nil),
		q("gone", true, false, false, nil),
		ch.QueueBind("limited", "a.*", "front", false, nil),
		ch.ExchangeBind("inner", "doc.#", "front", false, nil),
		ch.QueueBind("pdf", "", "inner", false, headers),
		ch.QueueBind("rest", "", "alternate", false, nil),
		ch.QueueBind("temporary", "a.*", "front", false, nil),
		ch.QueueBind("rest", "a.*", "transient", false, nil),
		ch.QueueBind("rest", "a.*", "front", false, nil),
		ch.QueueUnbind("rest", "a.*", "front", nil),
		ch.QueueBind("gone", "a.*", "front", false, nil),
		ch.QueueBind("gone", "", "leaves", false, nil),
		ch.ExchangeDelete("deleted", false, false),
	)
	_, err := ch.QueueDelete("gone", false, false, false)
	must(t, err)
	stop()

	n, _ = begin(t, local(dir))
	ch = dial(t, n)
	for _, p := range []client.Publishing{{Body: []byte("limited")}, {Body: []byte("pdf"), Headers: client.Table{"format": "pdf", "pages": int32(3)}},
		{Body: []byte("rest"), Headers: client.Table{"format": "pdf", "pages": int32(4)}}} {
		key := "a.b"
		if p.Headers != nil {
			key = "doc.x"
		}
		must(t, ch.Publish("front", key, false, false, p))
	}
	must(t, ch.Publish("front", "unknown", false, false, client.Publishing{Body: []byte("rest")}))
	for _, queue := range []string{"limited", "pdf"} {
		d, ok, err := ch.Get(queue, true)
		if err != nil || !ok || string(d.Body) != queue {
			t.Errorf("from %s: %q, %v, %v", queue, d.Body, ok, err)
		}
	}
	rest, err := ch.QueueDeclarePassive("rest", true, false, false, false, nil)
	if err != nil || rest.Messages != 1 {
		t.Errorf("rest: %+v, %v: only what no binding takes goes to the alternate exchange", rest, err)
	}
	must(t, q("limited", true, false, false, limits), q("pdf", true, true, false, nil)) // declared alike
	for _, name := range []string{"temporary", "mine", "gone"} {
		ch := dial(t, n)
		if _, err := ch.QueueDeclarePassive(name, false, false, false, false, nil); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
			t.Errorf("queue %s: %v", name, err)
		}
	}
	for _, name := range []string{"transient", "deleted", "leaves"} {
		ch := dial(t, n)
		if err := ch.ExchangeDeclarePassive(name, "fanout", false, false, false, false, nil); err == nil || !strings.Contains(err.Error(), "NOT_FOUND") {
			t.Errorf("exchange %s: %v", name, err)
		}
	}
	if _, err := ch.QueueDeclare("limited", true, false, false, false, nil); err == nil || !strings.Contains(err.Error(), "inequivalent arg 'x-dead-letter-exchange'") {
		t.Errorf("limited without its arguments: %v", err)
	}
}

// Users and their permissions survive; the default user is made once and does not come back when it was deleted.
func TestUsersSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	cfg := local(dir)
	store, err := meta.Open(filepath.Join(dir, "definitions"), meta.Options{})
	must(t, err)
	users := auth.New(cfg)
	must(t, users.Restore(broker.UserJournal{Definitions: store}, broker.UserEntries(store.Load())...))
	must(t,
		users.PutUser(auth.User{Name: "ann", PasswordHash: auth.HashPassword("secret"), Tags: []string{"administrator"}}),
		users.SetPermission("ann", "/", auth.Permission{Configure: "^a", Write: ".*", Read: ".*"}),
		users.SetTopicPermission("ann", "/", "amq.topic", auth.TopicPermission{Write: "^x"}),
		users.PutUser(auth.User{Name: "bob"}),
		store.Commit(meta.Put(meta.VHost{Name: "/"})),
	)
	_, err = users.DeleteUser("bob")
	must(t, err, store.Close())

	n, _ := begin(t, cfg)
	addr := n.Addrs()[0].String()
	if _, err := client.Dial("amqp://guest:guest@" + addr + "/"); err == nil {
		t.Error("the default user was made though there were definitions")
	}
	c, err := client.Dial("amqp://ann:secret@" + addr + "/")
	must(t, err)
	defer c.Close()
	ch, err := c.Channel()
	must(t, err)
	if _, err := ch.QueueDeclare("a", true, false, false, false, nil); err != nil {
		t.Errorf("what ann may configure: %v", err)
	}
	if _, err := ch.QueueDeclare("b", true, false, false, false, nil); err == nil || !strings.Contains(err.Error(), "ACCESS_REFUSED") {
		t.Errorf("what ann may not configure: %v", err)
	}
}

// A node does not start with damaged definitions; it says where they are, and leaves them as they are.
func TestDamagedDefinitions(t *testing.T) {
	dir := t.TempDir()
	_, stop := begin(t, local(dir))
	stop()
	tables, _ := filepath.Glob(filepath.Join(dir, "definitions", "*.sst"))
	if len(tables) == 0 {
		t.Fatal("there are no tables")
	}
	data, err := os.ReadFile(tables[0])
	must(t, err)
	data[len(data)/2] ^= 1
	must(t, os.WriteFile(tables[0], data, 0o600))
	n, err := Start(local(dir), slog.New(slog.DiscardHandler))
	if err == nil {
		n.Close()
		t.Fatal("the node starts")
	}
	var d *meta.DamageError
	if !errors.As(err, &d) || !strings.Contains(err.Error(), filepath.Join(dir, "definitions")) {
		t.Errorf("it says: %v", err)
	}
	kept, err := os.ReadFile(filepath.Join(d.Found, filepath.Base(tables[0])))
	if err != nil || string(kept) != string(data) {
		t.Errorf("the damaged table was not kept: %v", err)
	}
}
