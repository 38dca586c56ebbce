package crash

import (
	"os"
	"syscall"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

// smallDisk mounts a file system of the given bytes until the test ends, and skips the test where that is not permitted.
func smallDisk(t *testing.T, size string) string {
	dir, err := os.MkdirTemp("", "crash-disk-")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		os.Remove(dir)
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
			syscall.Unmount(dir, syscall.MNT_DETACH)
		}
		os.Remove(dir)
	})
	return dir
}

const fillSize = 64 << 10 // bytes of the messages that fill a disk

// TestDiskAlarm publishes until the broker finds too little of the disk free and blocks publishers; TestFullDisk, with that
// limit out of the way, until nothing can be written. In both what was confirmed is there, consuming makes room, and the
// broker takes messages again, without a restart.
func TestDiskAlarm(t *testing.T) { fillDisk(t, "disk_free_limit.absolute = 100MB\n", 4) }

func TestFullDisk(t *testing.T) { fillDisk(t, "disk_free_limit.absolute = 1\n", 100) }

// fillDisk does so with a window of so many publishes: the alarm looks at the disk once a second.
func fillDisk(t *testing.T, limit string, window int) {
	p := newProcess(t, smallDisk(t, "400m"), "warren.cache_bytes = 1MiB\n"+limit)
	p.start()
	c := p.dial()
	defer func() { c.Close() }()
	ch := p.channel(c)
	if _, err := ch.QueueDeclare("q", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	q := newTopic("q", "", "", nil)
	why := publishUntilRefused(t, p, q, window)
	confirmed := 0
	for _, m := range q.msgs {
		if m.confirmed {
			confirmed++
		}
	}
	t.Logf("%d messages of %d KiB confirmed, then %s", confirmed, fillSize>>10, why)

	// Consumers go on, and make room.
	found := read(t, ch, "q", false, nil)
	q.compare(t, found, time.Now(), true)
	if err := ch.Ack(0, true); err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		q.ack(f.n)
	}
	begin := time.Now()
	until(t, "publishes are taken again", func() bool { return publishOne(p, q) })
	t.Logf("publishes are taken again %v later", time.Since(begin))
	p.kill()
	end := time.Now().Add(ackWindow) // the acknowledgements are on disk, or there were no room
	p.start()
	c.Close()
	c = p.dial()
	q.compare(t, read(t, p.channel(c), "q", false, nil), end, false)
}

// publishUntilRefused returns how the broker said that it takes no more.
func publishUntilRefused(t *testing.T, p *process, q *topic, window int) string {
	c := p.dial()
	defer c.Close()
	ch := p.channel(c)
	blocked := c.NotifyBlocked(make(chan client.Blocking, 10))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms := ch.NotifyPublish(make(chan client.Confirmation, window))
	slots := make(chan struct{}, window)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // ends when stop is closed, or with the connection
		defer close(done)
		for {
			select {
			case slots <- struct{}{}:
			case <-stop:
				return
			}
			n := q.published(false)
			if ch.Publish("", "q", false, false, client.Publishing{DeliveryMode: client.Persistent, Body: body(n, fillSize)}) != nil {
				return
			}
		}
	}()
	defer func() {
		close(stop)
		c.Close()
		<-done
	}()
	late := time.After(2 * time.Minute)
	for {
		select {
		case n := <-confirms:
			q.confirm(n.DeliveryTag, n.Ack)
			if !n.Ack {
				return "basic.nack"
			}
			<-slots
		case b := <-blocked:
			if b.Active {
				return "connection.blocked: " + b.Reason
			}
		case <-late:
			t.Fatal("the disk is not full")
		}
	}
}

// publishOne reports whether the broker takes a message.
func publishOne(p *process, q *topic) bool {
	c := p.dial()
	defer c.Close()
	ch := p.channel(c)
	blocked := c.NotifyBlocked(make(chan client.Blocking, 10))
	if ch.Confirm(false) != nil {
		return false
	}
	n := q.published(false)
	confirms := ch.NotifyPublish(make(chan client.Confirmation, 1))
	if ch.Publish("", "q", false, false, client.Publishing{DeliveryMode: client.Persistent, Body: body(n, fillSize)}) != nil {
		return false
	}
	select {
	case m := <-confirms:
		q.confirm(n, m.Ack)
		return m.Ack
	case <-blocked:
		return false
	case <-time.After(5 * time.Second):
		return false
	}
}
