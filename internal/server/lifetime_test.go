package server

import (
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/amqp"
)

func missing(t *testing.T, conn *client.Connection, queue string) {
	t.Helper()
	_, err := openOn(t, conn).QueueDeclarePassive(queue, false, false, false, false, nil)
	refusedWith(t, err, amqp.NotFound, "NOT_FOUND - no queue '"+queue+"' in vhost '/'")
}

// A consumer whose queue is deleted is told so.
func TestConsumerCancelNotification(t *testing.T) {
	h := start(t, nil)
	ch, other := h.channel(), h.channel()
	q := declare(t, ch, "q", nil)
	cancelled := ch.NotifyCancel(make(chan string, 1))
	deliveries, err := ch.Consume(q, "tag", false, false, false, false, nil)
	must(t, err)
	publish(t, other, "", q, "m")
	d := next(t, "delivery", deliveries)
	_, err = other.QueueDelete(q, false, false, false)
	must(t, err)
	if tag := next(t, "basic.cancel", cancelled); tag != "tag" {
		t.Errorf("cancelled is %q", tag)
	}
	must(t, d.Ack(false)) // of a message that is gone: no fault
	declare(t, ch, "q", nil)
	_, err = ch.Consume(q, "tag", false, false, false, false, nil) // the tag is free again
	must(t, err)
}

func TestExclusiveQueue(t *testing.T) {
	h := start(t, nil)
	owner, other := h.dial("guest"), h.dial("guest")
	ch := openOn(t, owner)
	_, err := ch.QueueDeclare("q", true, false, true, false, nil)
	must(t, err)
	locked := "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on " +
		"another connection or the exclusive property value does not match that of the original declaration."
	for name, do := range map[string]func(ch *client.Channel) error{
		"declare": func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("q", true, false, true, false, nil)
			return err
		},
		"passive": func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive("q", false, false, false, false, nil)
			return err
		},
		"bind":   func(ch *client.Channel) error { return ch.QueueBind("q", "", "amq.fanout", false, nil) },
		"unbind": func(ch *client.Channel) error { return ch.QueueUnbind("q", "", "amq.fanout", nil) },
		"purge":  func(ch *client.Channel) error { _, err := ch.QueuePurge("q", false); return err },
		"delete": func(ch *client.Channel) error { _, err := ch.QueueDelete("q", false, false, false); return err },
		"get":    func(ch *client.Channel) error { _, _, err := ch.Get("q", true); return err },
		"consume": func(ch *client.Channel) error {
			_, err := ch.Consume("q", "", true, false, false, false, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { refusedWith(t, do(openOn(t, other)), amqp.ResourceLocked, locked) })
	}
	publish(t, openOn(t, other), "", "q", "m") // everybody may publish
	openOn(t, other).Close()                   // by now it has arrived
	must(t, ch.Close())                        // the queue goes with the connection, not with the channel
	ch = openOn(t, owner)
	for m := ""; m != "m"; m = take(t, ch, "q") {
	}
	must(t, owner.Close())
	missing(t, other, "q")
}

// A connection that is cut, rather than closed, loses its exclusive queues, and its unacknowledged messages are ready
// again in their old order.
func TestConnectionLost(t *testing.T) {
	h := start(t, nil)
	watcher := h.dial("guest")
	ch := openOn(t, watcher)
	q := declare(t, ch, "q", nil)
	r := h.raw()
	r.open(1)
	r.call(1, &amqp.QueueDeclare{Queue: "own", Exclusive: true}, &amqp.QueueDeclareOk{})
	for _, m := range []string{"1", "2", "3"} {
		publish(t, ch, "", q, m)
	}
	r.call(1, &amqp.BasicConsume{Queue: q, ConsumerTag: "t"}, &amqp.BasicConsumeOk{})
	for range 3 {
		r.until(1, &amqp.BasicDeliver{})
	}
	r.c.Close()
	for _, want := range []string{"1", "2", "3"} {
		var d client.Delivery
		for ok := false; !ok; {
			var err error
			d, ok, err = ch.Get(q, true)
			must(t, err)
		}
		if string(d.Body) != want || !d.Redelivered {
			t.Errorf("got %q, redelivered %v, want %q", d.Body, d.Redelivered, want)
		}
	}
	settled(t, "the exclusive queue is gone", func() bool {
		_, err := openOn(t, watcher).QueueDeclarePassive("own", false, false, false, false, nil)
		e, _ := err.(*client.Error)
		return e != nil && e.Code == int(amqp.NotFound)
	})
}

// settled waits until ok returns true.
func settled(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("it never happens that %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// The end of an auto-delete queue takes the auto-delete exchanges with it that led to it, one after the other.
func TestAutoDeleteChain(t *testing.T) {
	for name, end := range map[string]func(conn *client.Connection, ch *client.Channel) error{
		"cancel":     func(_ *client.Connection, ch *client.Channel) error { return ch.Cancel("tag", false) },
		"channel":    func(_ *client.Connection, ch *client.Channel) error { return ch.Close() },
		"connection": func(conn *client.Connection, _ *client.Channel) error { return conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, nil)
			conn, watcher := h.dial("guest"), h.dial("guest")
			ch := openOn(t, conn)
			_, err := ch.QueueDeclare("q", false, true, false, false, nil)
			must(t, err,
				ch.ExchangeDeclare("first", "fanout", false, true, false, false, nil),
				ch.ExchangeDeclare("second", "fanout", false, true, false, false, nil),
				ch.ExchangeBind("second", "", "first", false, nil),
				ch.QueueBind("q", "", "second", false, nil))
			_, err = ch.Consume("q", "tag", true, false, false, false, nil)
			must(t, err, end(conn, ch))
			missing(t, watcher, "q")
			for _, x := range []string{"first", "second"} {
				err := openOn(t, watcher).ExchangeDeclarePassive(x, "fanout", false, true, false, false, nil)
				refusedWith(t, err, amqp.NotFound, "NOT_FOUND - no exchange '"+x+"' in vhost '/'")
			}
		})
	}
}

// A connection that makes and loses many queues of its own does not remember them all.
func TestExclusiveQueuesAreForgotten(t *testing.T) {
	h := start(t, nil)
	ch := h.channel()
	for range 1000 {
		q, err := ch.QueueDeclare("", false, true, true, false, nil)
		must(t, err)
		_, err = ch.Consume(q.Name, "tag", true, false, false, false, nil)
		must(t, err, ch.Cancel("tag", false))
	}
	h.server.each(func(c *conn) {
		done := make(chan struct{})
		c.poke(func() {
			defer close(done)
			joined := 0
			for _, ch := range c.channels {
				joined += len(ch.joined.queues)
			}
			if n := len(c.exclusive.queues); n > 200 || joined > 200 {
				t.Errorf("%d exclusive queues and %d that were consumed from are remembered", n, joined)
			}
		})
		<-done
	})
}

// A delivery that nobody acknowledges closes its channel, and is ready again.
func TestConsumerTimeout(t *testing.T) {
	h := start(t, func(o *Options) { o.ConsumerTimeout = 500 * time.Millisecond })
	ch, watcher := h.channel(), h.channel()
	q := declare(t, ch, "q", nil)
	deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
	must(t, err)
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	publish(t, ch, "", q, "m")
	next(t, "delivery", deliveries)
	refusedWith(t, next(t, "channel.close", closed), amqp.PreconditionFailed, "PRECONDITION_FAILED - delivery acknowledgement on "+
		"channel 1 timed out. Timeout value used: 500 ms. This timeout value can be configured, see consumers doc guide to learn more")
	if m := take(t, watcher, q); m != "m" {
		t.Errorf("got %q", m)
	}
}

// A prefetch that consumers share holds after it was set anew, and after recover and transactions.
func TestSharedPrefetch(t *testing.T) {
	h := start(t, nil)
	ch, pub := h.channel(), h.channel()
	q := declare(t, ch, "q", nil)
	for range 20 {
		publish(t, pub, "", q, "m")
	}
	must(t, pub.Tx()) // all are there
	must(t, ch.Qos(2, 0, true))
	var tags []uint64
	deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
	must(t, err)
	expect := func(step string, n int) {
		t.Helper()
		for range n {
			tags = append(tags, next(t, step, deliveries).DeliveryTag)
		}
		must(t, ch.Qos(0, 0, false)) // a round trip: what would come has come
		nothing(t, step, deliveries)
	}
	expect("two at first", 2)
	must(t, ch.Ack(tags[0], false))
	expect("one for an acknowledgement", 1)
	must(t, ch.Tx(), ch.Ack(tags[1], false))
	expect("none before the commit", 0)
	must(t, ch.Qos(2, 0, true), ch.TxCommit())
	expect("one for the commit", 1)
	must(t, ch.Qos(4, 0, true))
	expect("two for a higher limit", 2)
	must(t, ch.Ack(0, true), ch.TxCommit())
	expect("all four places are free again", 4)
}
