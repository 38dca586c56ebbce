package server

import (
	"net"
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/auth"
)

// Each operation that a permission is about is refused with the name of what it needs, and closes only its channel.
func TestPermissions(t *testing.T) {
	h := start(t, nil)
	admin := h.channel()
	declare(t, admin, "mine", nil)
	declare(t, admin, "other", nil)
	must(t, admin.ExchangeDeclare("mine.x", "topic", false, false, false, false, nil))
	must(t, admin.ExchangeDeclare("other.x", "topic", false, false, false, false, nil))
	own := "^(mine|amq\\.gen)"
	h.user("u", auth.Permission{Configure: own, Write: own, Read: own})
	conn := h.dial("u")

	queueRefused := "ACCESS_REFUSED - access to queue 'other' in vhost '/' refused for user 'u'"
	exchangeRefused := "ACCESS_REFUSED - access to exchange 'other.x' in vhost '/' refused for user 'u'"
	for _, tt := range []struct {
		name string
		do   func(ch *client.Channel) error
		want string // "" if it is allowed
	}{
		{"declare", func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("mine.new", false, false, false, false, nil)
			return err
		}, ""},
		{"declare with a generated name", func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("", false, false, true, false, nil)
			return err
		}, ""},
		{"declare another's", func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("other", false, false, false, false, nil)
			return err
		}, queueRefused},
		{"a passive declare needs none", func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive("other", false, false, false, false, nil)
			return err
		}, ""},
		{"delete another's", func(ch *client.Channel) error {
			_, err := ch.QueueDelete("other", false, false, false)
			return err
		}, queueRefused},
		{"refused before it is missed", func(ch *client.Channel) error {
			_, err := ch.QueueDelete("others", false, false, false)
			return err
		}, "ACCESS_REFUSED - access to queue 'others' in vhost '/' refused for user 'u'"},
		{"purge", func(ch *client.Channel) error { _, err := ch.QueuePurge("other", false); return err }, queueRefused},
		{"get", func(ch *client.Channel) error { _, _, err := ch.Get("other", true); return err }, queueRefused},
		{"consume", func(ch *client.Channel) error {
			_, err := ch.Consume("other", "", true, false, false, false, nil)
			return err
		}, queueRefused},
		{"a dead-letter exchange needs write", func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("mine.dl", false, false, false, false, client.Table{"x-dead-letter-exchange": "other.x"})
			return err
		}, exchangeRefused},
		{"an alternate exchange needs write", func(ch *client.Channel) error {
			return ch.ExchangeDeclare("mine.ae", "fanout", false, false, false, false, client.Table{"alternate-exchange": "other.x"})
		}, exchangeRefused},
		{"bind", func(ch *client.Channel) error { return ch.QueueBind("mine", "k", "mine.x", false, nil) }, ""},
		{"bind needs write on the queue", func(ch *client.Channel) error { return ch.QueueBind("other", "k", "mine.x", false, nil) },
			queueRefused},
		{"bind needs read on the exchange", func(ch *client.Channel) error { return ch.QueueBind("mine", "k", "other.x", false, nil) },
			exchangeRefused},
		{"exchange.declare", func(ch *client.Channel) error {
			return ch.ExchangeDeclare("other.x", "topic", false, false, false, false, nil)
		}, exchangeRefused},
		{"exchange.delete", func(ch *client.Channel) error { return ch.ExchangeDelete("other.x", false, false) }, exchangeRefused},
		{"publish", func(ch *client.Channel) error { return publishSync(ch, "other.x", "k") }, exchangeRefused},
		{"publish to a missing exchange", func(ch *client.Channel) error { return publishSync(ch, "none", "k") },
			"ACCESS_REFUSED - access to exchange 'none' in vhost '/' refused for user 'u'"},
		{"publish to the default exchange", func(ch *client.Channel) error { return publishSync(ch, "", "mine") },
			"ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'u'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ch := openOn(t, conn)
			err := tt.do(ch)
			if tt.want == "" {
				must(t, err)
				return
			}
			refusedWith(t, err, amqp.AccessRefused, tt.want)
		})
	}
	if conn.IsClosed() {
		t.Error("a refusal closed the connection")
	}
}

// publishSync publishes and returns the error that the server closes the channel with, if it does.
func publishSync(ch *client.Channel, exchange, key string) error {
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	if err := ch.Publish(exchange, key, false, false, client.Publishing{}); err != nil {
		return err
	}
	err := ch.Tx() // a round trip
	if err == nil {
		return nil
	}
	if e := <-closed; e != nil { // the client knows that it is closed before it says why
		return e
	}
	return err
}

// A change of permissions counts at once for channels that are open.
func TestPermissionsChange(t *testing.T) {
	h := start(t, nil)
	all := auth.Permission{Configure: ".*", Write: ".*", Read: ".*"}
	h.user("u", all)
	ch := openOn(t, h.dial("u"))
	q := declare(t, ch, "q", nil)
	publish(t, ch, "", q, "one")
	if got := take(t, ch, q); got != "one" {
		t.Fatalf("got %q", got)
	}
	must(t, h.users.SetPermission("u", "/", auth.Permission{Configure: ".*", Read: ".*"}))
	refusedWith(t, publishSync(ch, "", q), amqp.AccessRefused,
		"ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'u'")
}

// Topic permissions limit routing keys at publish and binding keys at bind, with the user's name expanded.
func TestTopicPermissions(t *testing.T) {
	h := start(t, nil)
	h.user("u", auth.Permission{Configure: ".*", Write: ".*", Read: ".*"})
	must(t, h.users.SetTopicPermission("u", "/", "amq.topic", auth.TopicPermission{Write: `^{username}\.`, Read: `^pub\.`}))
	conn := h.dial("u")
	for _, tt := range []struct {
		name string
		do   func(ch *client.Channel) error
		want string
	}{
		{"own key", func(ch *client.Channel) error { return publishSync(ch, "amq.topic", "u.a") }, ""},
		{"another's key", func(ch *client.Channel) error { return publishSync(ch, "amq.topic", "v.a") },
			"ACCESS_REFUSED - access to topic 'v.a' in exchange 'amq.topic' in vhost '/' refused for user 'u'"},
		{"only topic exchanges have them", func(ch *client.Channel) error { return publishSync(ch, "amq.direct", "v.a") }, ""},
		{"binding key", func(ch *client.Channel) error { return bindNew(t, ch, "pub.#") }, ""},
		{"another binding key", func(ch *client.Channel) error { return bindNew(t, ch, "#") },
			"ACCESS_REFUSED - access to topic '#' in exchange 'amq.topic' in vhost '/' refused for user 'u'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(openOn(t, conn))
			if tt.want == "" {
				must(t, err)
				return
			}
			refusedWith(t, err, amqp.AccessRefused, tt.want)
		})
	}
}

func bindNew(t *testing.T, ch *client.Channel, key string) error {
	return ch.QueueBind(declare(t, ch, "", nil), key, "amq.topic", false, nil)
}

// The user-id property must be the login's, unless the user may impersonate others.
func TestUserID(t *testing.T) {
	h := start(t, nil)
	h.user("actor", auth.Permission{Configure: ".*", Write: ".*", Read: ".*"}, "impersonator")
	for _, tt := range []struct{ user, id, want string }{
		{"guest", "guest", ""},
		{"guest", "actor", "PRECONDITION_FAILED - user_id property set to 'actor' but authenticated user was 'guest'"},
		{"actor", "guest", ""},
	} {
		ch := openOn(t, h.dial(tt.user))
		closed := ch.NotifyClose(make(chan *client.Error, 1))
		must(t, ch.Publish("", "none", false, false, client.Publishing{UserId: tt.id}))
		err := ch.Tx()
		if tt.want == "" {
			must(t, err)
			continue
		}
		refusedWith(t, next(t, "channel.close", closed), amqp.PreconditionFailed, tt.want)
	}
}

func TestLogin(t *testing.T) {
	h := start(t, nil)
	h.user("u", auth.Permission{Configure: ".*", Write: ".*", Read: ".*"})
	for _, tt := range []struct {
		url, want string
		code      amqp.Code
	}{
		{"amqp://u:wrong@" + h.addr + "/", "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. " +
			"For details see the broker logfile.", amqp.AccessRefused},
		{"amqp://u:u@" + h.addr + "/none", "NOT_ALLOWED - vhost none not found", amqp.NotAllowed},
	} {
		c, err := client.Dial(tt.url)
		if err == nil {
			c.Close()
			t.Errorf("%s: no error", tt.url)
		} else {
			t.Log(err) // the client library has words of its own for some
		}
	}
	h.broker.AddVHost("shut")
	if _, err := client.Dial("amqp://u:u@" + h.addr + "/shut"); err == nil {
		t.Error("a vhost without permission was opened")
	}
}

// connection.update-secret is answered; a user that is gone is refused.
func TestUpdateSecret(t *testing.T) {
	h := start(t, nil)
	h.user("u", auth.Permission{Configure: ".*", Write: ".*", Read: ".*"})
	c := h.dial("u")
	must(t, c.UpdateSecret("anything", "renewal"))
	closed := c.NotifyClose(make(chan *client.Error, 1))
	h.users.DeleteUser("u")
	if err := c.UpdateSecret("anything", "renewal"); err == nil {
		t.Error("the secret of a deleted user was renewed")
	}
	if e := next(t, "connection.close", closed); e == nil || e.Code != int(amqp.AccessRefused) {
		t.Errorf("closed with %v", e)
	}
}

// A client that cannot take a close frame is kept for a while after a refused login, but it does not hold up a server that
// stops, nor does it wait for one that has left.
func TestRefusedLoginIsNotWaitedFor(t *testing.T) {
	h := start(t, nil)
	for _, leave := range []func(net.Conn){func(c net.Conn) { c.Close() }, func(net.Conn) { h.close() }} {
		c, err := net.Dial("tcp", h.addr)
		must(t, err)
		defer c.Close()
		r := raw{t: t, c: c, out: []byte(amqp.ProtocolHeader)}
		r.send(0, &amqp.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00wrong", Locale: "en_US"})
		r.flush()
		r.until(0, &amqp.ConnectionStart{})
		if n := h.server.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
		leave(c)
		settled(t, "the connection is gone", func() bool { return h.server.Connections() == 0 })
	}
}
