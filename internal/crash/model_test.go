package crash

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"
)

// ackWindow is how long before a message was published that was confirmed before the kill an acknowledgement must have been
// sent to count: what was sent later may still be in the client, in a socket, or wait for a slow disk.
const ackWindow = time.Second

// A topic is a queue as its clients see it, with the queue that its dead letters go to, if it has one.
type topic struct {
	name     string
	exchange string // publishes go there
	dead     string
	args     client.Table
	priority bool

	mu   sync.Mutex // guards the fields below
	msgs map[uint64]*message
	next uint64    // number of the next message
	safe time.Time // when the newest confirmed message was sent
}

type message struct {
	transient bool
	sent      time.Time
	confirmed bool
	refused   bool
	acked     time.Time // when the last acknowledgement was sent
	settled   bool      // it must not be seen again
	doubled   bool      // the broker ended between the dead letter's arrival and the message's settlement
}

func newTopic(name, exchange, dead string, args client.Table) *topic {
	return &topic{name: name, exchange: exchange, dead: dead, args: args, msgs: map[uint64]*message{}, next: 1}
}

// body is what message n carries: its number, and as much more as makes size.
func body(n uint64, size int) []byte {
	b := fmt.Appendf(nil, "%d ", n)
	if pad := size - len(b); pad > 0 {
		b = append(b, bytes.Repeat([]byte{'a' + byte(n%26)}, pad)...)
	}
	return b
}

// number reads the number from a body, and whether all of it is as it was published.
func number(b []byte) (n uint64, ok bool) {
	head, rest, found := bytes.Cut(b, []byte{' '})
	n, err := strconv.ParseUint(string(head), 10, 64)
	return n, found && err == nil && len(bytes.Trim(rest, string(rune('a'+n%26)))) == 0
}

// published takes a number for a message that is about to be sent.
func (p *topic) published(transient bool) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.next
	p.next++
	p.msgs[n] = &message{transient: transient, sent: time.Now()}
	return n
}

// take takes the number that another topic has given.
func (p *topic) take(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.msgs[n] = &message{}
	p.next = n + 1
}

func (p *topic) confirm(n uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.msgs[n]
	m.confirmed, m.refused = ok, !ok
	if ok && m.sent.After(p.safe) {
		p.safe = m.sent
	}
}

// ack notes that an acknowledgement of n is about to be sent.
func (p *topic) ack(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.msgs[n]; m != nil {
		m.acked = time.Now()
	}
}

// A sight is a message as it was found in a queue.
type sight struct {
	n        uint64
	priority uint8
	dead     bool
}

// compare checks what was found in the topic's queues after the broker's end, when what was published at the given time was on
// disk, and takes it over as what must be there from now on. clean says that the end was an orderly one with no client at
// work, and its time is that of the end.
func (p *topic) compare(t *testing.T, found []sight, end time.Time, clean bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := map[uint64]int{}
	last := map[uint8]uint64{}
	lastPriority := uint8(255)
	for _, s := range found {
		seen[s.n]++
		if s.dead {
			continue
		}
		pr := uint8(0)
		if p.priority {
			pr = s.priority
			if pr > lastPriority {
				t.Errorf("%s: message %d of priority %d comes after one of %d", p.name, s.n, pr, lastPriority)
			}
			lastPriority = pr
		}
		if s.n <= last[pr] {
			t.Errorf("%s: message %d comes after %d", p.name, s.n, last[pr])
		}
		last[pr] = s.n
	}
	window := end.Add(-ackWindow)
	if clean {
		window = end
	}
	wrong, doubled := 0, 0
	for n, count := range seen {
		m := p.msgs[n]
		why := ""
		switch {
		case m == nil:
			why = "was never published"
		case m.settled:
			why = "was done with and is back"
		case m.transient:
			why = "was transient"
		case !m.doubled && !m.acked.IsZero() && m.acked.Before(window):
			why = fmt.Sprintf("was acknowledged %v earlier than what is on disk", end.Sub(m.acked))
		case m.doubled:
		case count > 1 && (p.dead == "" || clean):
			why = fmt.Sprintf("is there %d times", count)
		}
		if m != nil && count > 1 {
			m.doubled = true
			doubled++
		}
		if why != "" {
			if wrong++; wrong <= 5 {
				t.Errorf("%s: message %d %s", p.name, n, why)
			}
		}
	}
	if doubled > 0 {
		t.Logf("%s: %d messages were dead-lettered and are still there", p.name, doubled)
	}
	lost := 0
	for n, m := range p.msgs {
		if seen[n] > 0 {
			m.confirmed, m.acked = true, time.Time{} // it is on disk
			continue
		}
		if m.confirmed && !m.transient && m.acked.IsZero() && !m.settled {
			if lost++; lost <= 5 {
				t.Errorf("%s: message %d was confirmed and is not there", p.name, n)
			}
		}
		m.settled = true
	}
	if wrong > 5 || lost > 5 {
		t.Errorf("%s: %d messages are wrong and %d lost", p.name, wrong, lost)
	}
}

// missing counts the messages that must be somewhere and are not among found.
func (p *topic) missing(found []sight) (n int) {
	seen := map[uint64]bool{}
	for _, s := range found {
		seen[s.n] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, m := range p.msgs {
		if m.confirmed && !m.transient && m.acked.IsZero() && !m.settled && !seen[k] {
			n++
		}
	}
	return n
}

// forget drops what will not be seen again, but for the newest messages.
func (p *topic) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, m := range p.msgs {
		if m.settled && n+20_000 < p.next {
			delete(p.msgs, n)
		}
	}
}

// read takes all that is in a queue and leaves it unacknowledged on ch.
func read(t *testing.T, ch *client.Channel, queue string, dead bool, dst []sight) []sight {
	t.Helper()
	tag := "read-" + strings.ReplaceAll(queue, " ", "")
	list, err := ch.Consume(queue, tag, false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for {
		q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		if q.Messages == 0 {
			break
		}
	}
	if err := ch.Cancel(tag, false); err != nil {
		t.Fatal(err)
	}
	for d := range list {
		n, ok := number(d.Body)
		if !ok {
			t.Errorf("%s: a body of %d bytes is damaged: %.40q", queue, len(d.Body), d.Body)
		}
		dst = append(dst, sight{n, d.Priority, dead})
	}
	return dst
}
