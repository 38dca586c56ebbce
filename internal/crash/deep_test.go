package crash

import (
	"context"
	"slices"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

const (
	deep     = 200_000 // messages of a deep queue
	deepSize = 1 << 10 // bytes of each
	// residentMax is the memory of its own that a broker may have with two deep queues, bytes.
	residentMax = 150 << 20
	// soon is how long what must not depend on a queue's depth may take.
	soon = 2 * time.Second
)

// depth is how many messages the tests of deep queues use: few with the race detector, which is slow.
func depth() int {
	if raceDetector() || testing.Short() {
		return deep / 10
	}
	return deep
}

// fill publishes messages 1 to n, with one confirm window, and waits for all confirms.
func fill(t *testing.T, ch *client.Channel, queue string, n int, m client.Publishing) {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms := ch.NotifyPublish(make(chan client.Confirmation, 1000))
	out := 0
	wait := func(limit int) {
		for ; out > limit; out-- {
			if c, ok := <-confirms; !ok || !c.Ack {
				t.Fatalf("publish %d to %s was not confirmed", c.DeliveryTag, queue)
			}
		}
	}
	for i := range n {
		m.Body = body(uint64(i+1), deepSize)
		if err := ch.Publish("", queue, false, false, m); err != nil {
			t.Fatal(err)
		}
		out++
		wait(999)
	}
	wait(0)
}

// drain consumes messages from to to, in order and once each, and acknowledges them. Later ones that it was sent stay with ch.
func drain(t *testing.T, ch *client.Channel, queue string, from, to, prefetch int) {
	t.Helper()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		t.Fatal(err)
	}
	list, err := ch.Consume(queue, "drain", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	late := time.After(2 * time.Minute)
	for want := from; want <= to; want++ {
		select {
		case d, open := <-list:
			if !open {
				t.Fatalf("%s: the channel closed before message %d", queue, want)
			}
			if n, ok := number(d.Body); !ok || n != uint64(want) {
				t.Fatalf("%s: got message %d (%v), want %d", queue, n, ok, want)
			}
			if want%50 == 0 || want == to {
				if err := d.Ack(true); err != nil {
					t.Fatal(err)
				}
			}
		case <-late:
			t.Fatalf("%s: message %d does not come", queue, want)
		}
	}
	if err := ch.Cancel("drain", false); err != nil {
		t.Fatal(err)
	}
	for d := range list {
		if n, _ := number(d.Body); n <= uint64(to) {
			t.Errorf("%s: message %d is there twice", queue, n)
		}
	}
}

func ready(t *testing.T, ch *client.Channel, queue string, durable bool) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, durable, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// until waits for cond, which looks at the broker.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waiting in vain: %s", what)
		}
	}
}

// TestDeep piles up far more than may be in memory, in a durable queue and in one that is not, and takes it apart again.
func TestDeep(t *testing.T) {
	n := depth()
	p := newProcess(t, t.TempDir(), "warren.cache_bytes = 8MiB\n")
	p.start()
	c := p.dial()
	defer func() { c.Close() }()
	ch := p.channel(c)
	declare := func(name string, durable bool, args client.Table) {
		t.Helper()
		if _, err := ch.QueueDeclare(name, durable, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	persistent := client.Publishing{DeliveryMode: client.Persistent}
	var most int64
	resident := func(when string) {
		r := p.resident()
		most = max(most, r)
		if r > residentMax && !raceDetector() {
			t.Errorf("%s: %d MiB of memory", when, r>>20)
		}
		t.Logf("%s: %d MiB of memory", when, r>>20)
	}

	declare("transient", false, nil)
	declare("durable", true, nil)
	begin := time.Now()
	fill(t, p.channel(c), "transient", n, client.Publishing{})
	t.Logf("%d transient messages published in %v", n, time.Since(begin))
	resident("transient")
	begin = time.Now()
	fill(t, p.channel(c), "durable", n, persistent)
	t.Logf("%d persistent messages published in %v", n, time.Since(begin))
	resident("both filled")

	// basic.get, and what comes back takes its place before the cold part.
	for i := range 3 {
		d, ok, err := ch.Get("durable", false)
		if err != nil || !ok {
			t.Fatalf("get %d: %v %v", i, ok, err)
		}
		if k, _ := number(d.Body); k != uint64(i+1) {
			t.Fatalf("get %d: message %d", i, k)
		}
	}
	ch.Close()
	ch = p.channel(c)
	begin = time.Now()
	drain(t, p.channel(c), "transient", 1, n, 500)
	t.Logf("transient drained in %v", time.Since(begin))
	resident("transient drained")

	drain(t, p.channel(c), "durable", 1, 1000, 1000)
	p.stop()
	p.start()
	t.Logf("started in %v with %d messages after SIGTERM", p.started, n-1000)
	c.Close()
	c = p.dial()
	ch = p.channel(c)
	resident("restarted")
	if got := ready(t, ch, "durable", true); got != n-1000 {
		t.Errorf("%d messages after the restart, want %d", got, n-1000)
	}
	p.kill()
	p.start()
	t.Logf("started in %v with %d messages after SIGKILL", p.started, n-1000)
	c.Close()
	c = p.dial()
	ch = p.channel(c)
	begin = time.Now()
	drain(t, p.channel(c), "durable", 1001, n, 500)
	t.Logf("durable drained in %v", time.Since(begin))
	resident("durable drained")
	t.Logf("at most %d MiB of memory", most>>20)
}

// Purge and delete of a deep queue do not depend on its depth, and another queue's messages stay.
func TestDeepPurgeAndDelete(t *testing.T) {
	n := depth() / 2
	p := newProcess(t, t.TempDir(), "warren.cache_bytes = 1MiB\n")
	p.start()
	c := p.dial()
	defer func() { c.Close() }()
	ch := p.channel(c)
	for _, q := range []string{"a", "b"} {
		if _, err := ch.QueueDeclare(q, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	persistent := client.Publishing{DeliveryMode: client.Persistent}
	fill(t, p.channel(c), "b", 1000, persistent)
	for _, remove := range []func() (int, error){
		func() (int, error) { return ch.QueuePurge("a", false) },
		func() (int, error) { return ch.QueueDelete("a", false, false, false) },
	} {
		fill(t, p.channel(c), "a", n, persistent)
		begin := time.Now()
		got, err := remove()
		if took := time.Since(begin); err != nil || got != n || took > soon {
			t.Errorf("%d messages gone in %v (%v), want %d", got, took, err, n)
		} else {
			t.Logf("%d messages gone in %v", got, took)
		}
	}
	p.kill()
	p.start()
	c.Close()
	c = p.dial()
	ch = p.channel(c)
	if _, err := p.channel(c).QueueDeclarePassive("a", true, false, false, false, nil); err == nil {
		t.Error("the deleted queue is back")
	}
	drain(t, ch, "b", 1, 1000, 100)
}

// Messages of a deep queue expire on disk as in memory, and their dead letters come in order.
func TestDeepExpiry(t *testing.T) {
	n := depth() / 20
	p := newProcess(t, t.TempDir(), "warren.cache_bytes = 256KiB\n")
	p.start()
	c := p.dial()
	defer c.Close()
	ch := p.channel(c)
	if _, err := ch.QueueDeclare("dead", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	args := client.Table{"x-message-ttl": int32(1500), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
	if _, err := ch.QueueDeclare("ttl", true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	fill(t, p.channel(c), "ttl", n, client.Publishing{DeliveryMode: client.Persistent})
	until(t, "all expire", func() bool { return ready(t, ch, "dead", true) == n })
	if got := ready(t, ch, "ttl", true); got != 0 {
		t.Errorf("%d messages are left", got)
	}
	drain(t, ch, "dead", 1, n, 100)
}

// A priority queue that a restart finds on disk is served in the order of priorities from the first message on.
func TestPriorityOrderAfterRestart(t *testing.T) {
	const n, levels = 6000, 5
	p := newProcess(t, t.TempDir(), "warren.cache_bytes = 256KiB\n")
	p.start()
	c := p.dial()
	defer func() { c.Close() }()
	ch := p.channel(c)
	if _, err := ch.QueueDeclare("prio", true, false, false, false, client.Table{"x-max-priority": int32(levels - 1)}); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var want [levels][]uint64
	var last *client.DeferredConfirmation
	for i := range n {
		m := client.Publishing{DeliveryMode: client.Persistent, Priority: uint8(i * 7 % levels), Body: body(uint64(i+1), 1000)}
		want[m.Priority] = append(want[m.Priority], uint64(i+1))
		var err error
		if last, err = ch.PublishWithDeferredConfirm("", "prio", false, false, m); err != nil {
			t.Fatal(err)
		}
	}
	if !last.Wait() {
		t.Fatal("not confirmed")
	}
	p.kill()
	p.start()
	c.Close()
	c = p.dial()
	ch = p.channel(c)
	slices.Reverse(want[:])
	order := slices.Concat(want[:]...)
	for i := range 3 {
		d, ok, err := ch.Get("prio", true)
		if k, _ := number(d.Body); err != nil || !ok || k != order[i] {
			t.Fatalf("get: message %d (%v %v), want %d", k, ok, err, order[i])
		}
	}
	list, err := ch.Consume("prio", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range order[3:] {
		if got, _ := number((<-list).Body); got != k {
			t.Fatalf("got message %d, want %d", got, k)
		}
	}
}
