package server

import (
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/amqp"
)

// A publisher waits while there is an alarm, is told so, and goes on when it is over without having sent anything.
func TestBlockedPublisherGoesOn(t *testing.T) {
	h := start(t, nil)
	conn := h.dial("guest")
	blockings := conn.NotifyBlocked(make(chan client.Blocking, 10))
	ch, watcher := openOn(t, conn), h.channel()
	q := declare(t, ch, "q", nil)
	must(t, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan client.Confirmation, 10))
	for round := range 3 {
		h.broker.Alarms.SetMemory(true)
		publish(t, ch, "", q, "m")
		if b := next(t, "connection.blocked", blockings); !b.Active || b.Reason != "low on memory" {
			t.Fatalf("round %d: %+v", round, b)
		}
		if m := take(t, watcher, q); m != "" {
			t.Errorf("round %d: %q arrived during the alarm", round, m)
		}
		nothing(t, "confirmation", confirms)
		h.broker.Alarms.SetMemory(false)
		if b := next(t, "connection.unblocked", blockings); b.Active {
			t.Errorf("round %d: %+v", round, b)
		}
		next(t, "confirmation", confirms)
		if m := take(t, watcher, q); m != "m" {
			t.Errorf("round %d: got %q", round, m)
		}
	}
}

// An alarm that comes and goes at any moment leaves no publisher behind.
func TestAlarmRaces(t *testing.T) {
	h := start(t, nil)
	ch := h.channel()
	q := declare(t, ch, "q", nil)
	must(t, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan client.Confirmation, 1))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for on := true; ; on = !on {
			select {
			case <-stop:
				h.broker.Alarms.SetMemory(false)
				return
			default:
				h.broker.Alarms.SetMemory(on)
			}
		}
	}()
	for range 300 {
		publish(t, ch, "", q, "m")
		next(t, "confirmation", confirms)
	}
	close(stop)
	<-stopped
}

// While publishers are blocked, consumers on other connections go on, and what the alarm is for does not show to a
// connection that does not publish.
func TestAlarmLetsConsumersGoOn(t *testing.T) {
	h := start(t, nil)
	pub, conn := h.channel(), h.dial("guest")
	blockings := conn.NotifyBlocked(make(chan client.Blocking, 10))
	ch := openOn(t, conn)
	q := declare(t, pub, "q", nil)
	for range 10 {
		publish(t, pub, "", q, "m")
	}
	must(t, pub.Tx()) // all are there
	h.broker.Alarms.SetDisk(true)
	deliveries, err := ch.Consume(q, "", false, false, false, false, nil)
	must(t, err)
	for range 10 {
		must(t, next(t, "delivery", deliveries).Ack(false))
	}
	must(t, conn.Close())
	for range blockings {
		t.Error("a consumer was told of the alarm")
	}
	h.broker.Alarms.SetDisk(false)
}

// A blocked client may close its connection, or its socket.
func TestBlockedClientCloses(t *testing.T) {
	h := start(t, nil)
	defer h.broker.Alarms.SetMemory(false)
	for _, polite := range []bool{true, false} {
		h.broker.Alarms.SetMemory(false)
		conn := h.dial("guest")
		blockings := conn.NotifyBlocked(make(chan client.Blocking, 10))
		ch := openOn(t, conn)
		h.broker.Alarms.SetMemory(true)
		publish(t, ch, "", "nowhere", "m")
		next(t, "connection.blocked", blockings)
		if polite {
			must(t, conn.Close())
		} else {
			r := h.raw()
			r.open(1)
			r.publish(1, "", "nowhere", false, "m")
			r.flush()
			r.until(0, &amqp.ConnectionBlocked{})
			r.c.Close()
			h.broker.Alarms.SetMemory(false)
			must(t, conn.Close())
		}
		settled(t, "the connections are gone", func() bool { return h.server.Connections() == 0 })
	}
}

// A server that stops does not wait for the end of an alarm.
func TestCloseWhileBlocked(t *testing.T) {
	h := start(t, nil)
	conn := h.dial("guest")
	closed := conn.NotifyClose(make(chan *client.Error, 1))
	blockings := conn.NotifyBlocked(make(chan client.Blocking, 10))
	ch := openOn(t, conn)
	h.broker.Alarms.SetMemory(true)
	publish(t, ch, "", "nowhere", "m")
	next(t, "connection.blocked", blockings)
	h.close()
	refusedWith(t, next(t, "connection.close", closed), amqp.ConnectionForced,
		"CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
}

// A channel that the consumer timeout closes while its publish waits for an alarm leaves nothing behind.
func TestChannelEndsWhileBlocked(t *testing.T) {
	h := start(t, func(o *Options) { o.ConsumerTimeout = 1 })
	r := h.raw()
	r.open(1)
	r.call(1, &amqp.QueueDeclare{Queue: "q"}, &amqp.QueueDeclareOk{})
	r.publish(1, "", "q", false, "m")
	r.call(1, &amqp.BasicConsume{Queue: "q"}, &amqp.BasicConsumeOk{})
	r.until(1, &amqp.BasicDeliver{})
	h.broker.Alarms.SetMemory(true)
	r.publish(1, "", "q", false, "m")
	r.flush()
	r.until(0, &amqp.ConnectionBlocked{})
	r.until(1, &amqp.ChannelClose{})
	h.broker.Alarms.SetMemory(false)
	r.until(0, &amqp.ConnectionUnblocked{})
	r.send(1, &amqp.ChannelCloseOk{})
	r.open(1)
	h.server.each(func(c *conn) {
		if n := partials(c); n != 0 {
			t.Errorf("%d channels have content that has begun to arrive", n)
		}
	})
}

// partials asks c's reader how many channels have content that has begun to arrive.
func partials(c *conn) int {
	n := make(chan int)
	c.poke(func() { n <- len(c.partial) })
	return <-n
}
