package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/amqp"
)

func TestAlternateExchange(t *testing.T) {
	h := start(t, nil)
	ch := h.channel()
	must(t, ch.ExchangeDeclare("ae", "fanout", false, false, false, false, nil),
		ch.ExchangeDeclare("x", "direct", false, false, false, false, client.Table{"alternate-exchange": "ae"}))
	direct, other := declare(t, ch, "", nil), declare(t, ch, "", nil)
	must(t, ch.QueueBind(direct, "known", "x", false, nil), ch.QueueBind(other, "", "ae", false, nil))
	returns := ch.NotifyReturn(make(chan client.Return, 10))
	for _, key := range []string{"known", "unknown"} {
		must(t, ch.Publish("x", key, true, false, client.Publishing{Body: []byte(key)}))
	}
	if a, b := take(t, ch, direct), take(t, ch, other); a != "known" || b != "unknown" {
		t.Errorf("got %q and %q", a, b)
	}
	nothing(t, "basic.return", returns) // what an alternate exchange takes counts as routed
}

func TestCarbonCopies(t *testing.T) {
	h := start(t, nil)
	ch := h.channel()
	for _, q := range []string{"to", "cc", "bcc"} {
		declare(t, ch, q, nil)
	}
	must(t, ch.Publish("", "to", false, false, client.Publishing{Body: []byte("m"), Headers: client.Table{
		"CC": []any{"cc", "to"}, "BCC": []any{"bcc", "cc"}, "kept": "yes"}}))
	for _, q := range []string{"to", "cc", "bcc"} {
		d, ok, err := ch.Get(q, true)
		must(t, err)
		if !ok || string(d.Body) != "m" || d.Headers["BCC"] != nil || d.Headers["kept"] != "yes" ||
			fmt.Sprint(d.Headers["CC"]) != "[cc to]" || d.RoutingKey != "to" {
			t.Errorf("%s got %v %v", q, ok, d.Headers)
		}
		if again := take(t, ch, q); again != "" {
			t.Errorf("%s got two copies", q)
		}
	}
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	must(t, ch.Publish("", "to", false, false, client.Publishing{Headers: client.Table{"CC": "cc"}}))
	if e := next(t, "channel.close", closed); e.Code != int(amqp.PreconditionFailed) {
		t.Errorf("a CC that is no array: %v", e)
	}
}

func TestRecentHistory(t *testing.T) {
	h := start(t, nil)
	ch := h.channel()
	must(t, ch.ExchangeDeclare("x", "x-recent-history", false, false, false, false, client.Table{"x-recent-history-length": 2}),
		ch.ExchangeDeclare("behind", "fanout", false, false, false, false, nil))
	for _, m := range []string{"1", "2", "3"} {
		publish(t, ch, "x", "k", m)
	}
	q, indirect := declare(t, ch, "", nil), declare(t, ch, "", nil)
	must(t, ch.QueueBind(q, "", "x", false, nil), ch.QueueBind(indirect, "", "behind", false, nil),
		ch.ExchangeBind("behind", "", "x", false, nil))
	for _, name := range []string{q, indirect} {
		if a, b, c := take(t, ch, name), take(t, ch, name), take(t, ch, name); a != "2" || b != "3" || c != "" {
			t.Errorf("replayed %q %q %q", a, b, c)
		}
	}
	must(t, ch.QueueBind(q, "", "x", false, nil)) // the same again is not a new binding
	if m := take(t, ch, q); m != "" {
		t.Errorf("replayed %q again", m)
	}
}

// Answers to direct replies come on the channel that asked, from any connection, until it is closed.
func TestDirectReplyTo(t *testing.T) {
	h := start(t, nil)
	asker, server := h.channel(), h.channel()
	q := declare(t, server, "rpc", nil)
	requests, err := server.Consume(q, "", true, false, false, false, nil)
	must(t, err)
	replies, err := asker.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	must(t, err)
	var name string
	for i := range 3 {
		must(t, asker.Publish("", q, false, false, client.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: fmt.Sprint(i)}))
		r := next(t, "request", requests)
		name = r.ReplyTo
		if !strings.HasPrefix(name, "amq.rabbitmq.reply-to.") {
			t.Fatalf("reply-to is %q", name)
		}
		_, err := server.QueueDeclarePassive(name, false, false, false, false, nil)
		must(t, err)
		must(t, server.Publish("", name, true, false, client.Publishing{CorrelationId: r.CorrelationId, Body: []byte("answer")}))
		if a := next(t, "reply", replies); a.CorrelationId != fmt.Sprint(i) || string(a.Body) != "answer" {
			t.Errorf("got %+v", a)
		}
	}
	must(t, asker.Close())
	returns := server.NotifyReturn(make(chan client.Return, 1))
	must(t, server.Publish("", name, true, false, client.Publishing{}))
	if r := next(t, "basic.return", returns); r.ReplyCode != uint16(amqp.NoRoute) {
		t.Errorf("returned with %d", r.ReplyCode)
	}
	_, err = server.QueueDeclarePassive(name, false, false, false, false, nil)
	refusedWith(t, err, amqp.NotFound, "NOT_FOUND - no queue '"+name+"' in vhost '/'")
}

func TestDirectReplyToRefusals(t *testing.T) {
	h := start(t, nil)
	conn := h.dial("guest")
	ch := openOn(t, conn)
	_, err := ch.Consume("amq.rabbitmq.reply-to", "", false, false, false, false, nil)
	refusedWith(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer cannot acknowledge")
	ch = openOn(t, conn)
	_, err = ch.Consume("amq.rabbitmq.reply-to", "a", true, false, false, false, nil)
	must(t, err)
	_, err = ch.Consume("amq.rabbitmq.reply-to", "b", true, false, false, false, nil)
	refusedWith(t, err, amqp.PreconditionFailed, "PRECONDITION_FAILED - reply consumer already set")
	ch = openOn(t, conn)
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	must(t, ch.Publish("", "q", false, false, client.Publishing{ReplyTo: "amq.rabbitmq.reply-to"}))
	refusedWith(t, next(t, "channel.close", closed), amqp.PreconditionFailed, "PRECONDITION_FAILED - fast reply consumer does not exist")
}

// A mandatory message that no queue takes is returned before it is acknowledged.
func TestReturnBeforeAck(t *testing.T) {
	h := start(t, nil)
	r := h.raw()
	r.open(1)
	r.call(1, &amqp.ConfirmSelect{}, &amqp.ConfirmSelectOk{})
	const n = 200
	for range n {
		r.publish(1, "", "nowhere", true, "body")
	}
	r.flush()
	returned, acked := 0, uint64(0)
	for acked < n {
		f := r.frame()
		if f.Type != amqp.FrameMethod {
			continue
		}
		switch m := r.parse(f).(type) {
		case *amqp.BasicReturn:
			returned++
			if m.ReplyCode != uint16(amqp.NoRoute) || m.ReplyText != "NO_ROUTE" || m.RoutingKey != "nowhere" {
				t.Fatalf("got %+v", m)
			}
		case *amqp.BasicAck:
			if m.DeliveryTag > uint64(returned) {
				t.Fatalf("%d is acknowledged and %d are returned", m.DeliveryTag, returned)
			}
			acked = m.DeliveryTag
		default:
			t.Fatalf("got %+v", m)
		}
	}
	if returned != n {
		t.Errorf("%d of %d are returned", returned, n)
	}
}

// A queue that refuses makes it a nack, also if another took the message; each tag is settled once.
func TestConfirmsAndNacks(t *testing.T) {
	h := start(t, nil)
	ch := h.channel()
	must(t, ch.ExchangeDeclare("x", "fanout", false, false, false, false, nil))
	full := declare(t, ch, "full", client.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	open := declare(t, ch, "open", nil)
	must(t, ch.QueueBind(full, "", "x", false, nil), ch.QueueBind(open, "", "x", false, nil), ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan client.Confirmation, 100))
	const n = 10
	for i := range n {
		publish(t, ch, "x", "", fmt.Sprint(i))
	}
	publish(t, ch, "", "nowhere", "") // unroutable is acknowledged
	var acked []uint64
	for range n + 1 {
		c := next(t, "confirmation", confirms)
		if c.Ack {
			acked = append(acked, c.DeliveryTag)
		}
	}
	if !slices.Equal(acked, []uint64{1, n + 1}) {
		t.Errorf("acknowledged are %v, want the first and the last", acked)
	}
	if q, err := ch.QueueDeclarePassive(open, false, false, false, false, nil); err != nil || q.Messages != n {
		t.Errorf("%d messages reached the other queue, %v", q.Messages, err)
	}
}

func TestTransactions(t *testing.T) {
	h := start(t, nil)
	ch, watcher := h.channel(), h.channel()
	q := declare(t, ch, "q", nil)
	must(t, ch.Tx())
	publish(t, ch, "", q, "rolled back")
	must(t, ch.TxRollback())
	publish(t, ch, "", q, "1")
	publish(t, ch, "", q, "2")
	if m := take(t, watcher, q); m != "" {
		t.Errorf("%q is there before the commit", m)
	}
	returns := ch.NotifyReturn(make(chan client.Return, 1))
	must(t, ch.Publish("", "nowhere", true, false, client.Publishing{}))
	nothing(t, "basic.return before the commit", returns)
	must(t, ch.TxCommit())
	next(t, "basic.return", returns)

	// An acknowledgement counts with the commit; a rollback makes the delivery pending again.
	d, _, err := ch.Get(q, false)
	must(t, err, d.Ack(false), ch.TxRollback(), d.Nack(false, true), ch.TxCommit())
	if m := take(t, watcher, q); m != "1" {
		t.Errorf("got %q", m)
	}
	d, _, err = ch.Get(q, false)
	must(t, err, d.Ack(false), ch.TxCommit())

	// Closing rolls back.
	publish(t, ch, "", q, "lost")
	must(t, ch.Close())
	if m := take(t, watcher, q); m != "" {
		t.Errorf("got %q", m)
	}
}

func TestTransactionRefusals(t *testing.T) {
	h := start(t, nil)
	conn := h.dial("guest")
	for _, tt := range []struct {
		name string
		do   func(*client.Channel) error
		want string
	}{
		{"commit without select", (*client.Channel).TxCommit, "PRECONDITION_FAILED - channel is not transactional"},
		{"rollback without select", (*client.Channel).TxRollback, "PRECONDITION_FAILED - channel is not transactional"},
		{"confirm after tx", func(ch *client.Channel) error { must(t, ch.Tx()); return ch.Confirm(false) },
			"PRECONDITION_FAILED - cannot switch from tx to confirm mode"},
		{"tx after confirm", func(ch *client.Channel) error { must(t, ch.Confirm(false)); return ch.Tx() },
			"PRECONDITION_FAILED - cannot switch from confirm to tx mode"},
		{"refused publish", func(ch *client.Channel) error {
			q := declare(t, ch, "", client.Table{"x-max-length": 0, "x-overflow": "reject-publish"})
			must(t, ch.Tx())
			publish(t, ch, "", q, "m")
			return ch.TxCommit()
		}, "PRECONDITION_FAILED - partial tx completion"},
	} {
		t.Run(tt.name, func(t *testing.T) { refusedWith(t, tt.do(openOn(t, conn)), amqp.PreconditionFailed, tt.want) })
	}
}

func TestMaxMessageSize(t *testing.T) {
	h := start(t, func(o *Options) { o.MaxMessageSize = 1000 })
	ch := h.channel()
	q := declare(t, ch, "q", nil)
	publish(t, ch, "", q, strings.Repeat("a", 1000))
	if m := take(t, ch, q); len(m) != 1000 {
		t.Errorf("got %d bytes", len(m))
	}
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	publish(t, ch, "", q, strings.Repeat("a", 1001))
	refusedWith(t, next(t, "channel.close", closed), amqp.PreconditionFailed,
		"PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000")
}
