package queue

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/warrenmq/warren/amqp"
)

// A load is a queue under the hands of many goroutines, and what they see of it.
type load struct {
	t *testing.T
	q *Queue

	mu        sync.Mutex // guards the fields below
	delivered int
	last      map[route]uint32 // the newest message delivered
	bySession map[*loadSession][]Handle
	kept      ledger
}

// A route is from one publisher to one session, which sees his messages in order.
type route struct {
	from uint32
	to   *loadSession
}

func newLoad(t *testing.T, inboxMax int) *load {
	l := &load{t: t, last: map[route]uint32{}, bySession: map[*loadSession][]Handle{}}
	l.q = New(Config{VHost: "/", Name: "q"}, NoSettings(), l, inboxMax, Storage{})
	return l
}

func (l *load) DeadLetter(*Queue, *Settings, *amqp.Message, Reason, func()) {
	l.t.Error("a message died")
}
func (l *load) Expired(*Queue) { l.t.Error("the queue expired") }

// numbered makes a publisher's n-th message.
func numbered(publisher, n uint32, size int) *amqp.Message {
	body := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, publisher), n)
	return letter{body: string(body), key: "q", size: size}.message()
}

// A loadSession acknowledges what it is given in batches of its own goroutine's.
type loadSession struct {
	l    *load
	wake chan struct{} // capacity 1
	full atomic.Bool
}

func (s *loadSession) Deliver(c *Consumer, batch []Delivery) {
	l := s.l
	l.mu.Lock()
	for _, d := range batch {
		l.kept.see(d.Message)
		body := d.Message.AppendBody(nil)
		from, n := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
		if !d.Redelivered {
			r := route{from, s}
			if n <= l.last[r] {
				l.t.Errorf("message %d of publisher %d comes after message %d", n, from, l.last[r])
			}
			l.last[r] = n
		}
		l.delivered++
		if !c.NoAck {
			l.bySession[s] = append(l.bySession[s], d.Handle)
		}
	}
	l.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *loadSession) Got(Delivery, bool, int) {}
func (s *loadSession) Acquire(*Consumer) bool  { return true }
func (s *loadSession) Cancelled(*Consumer)     {}
func (s *loadSession) Room(*Consumer) int {
	if s.full.Load() {
		return 0
	}
	return 1000
}

// settle settles what is delivered until the session is closed; a message in ten is requeued once.
func (s *loadSession) settle() {
	for n := 0; ; {
		_, open := <-s.wake
		s.l.mu.Lock()
		handles := s.l.bySession[s]
		s.l.bySession[s] = nil
		s.l.mu.Unlock()
		events := make([]Event, len(handles))
		for i, h := range handles {
			events[i] = Ack(h)
			if n++; n%10 == 0 {
				events[i] = Reject(h, true)
			}
		}
		if len(events) > 0 {
			s.l.q.Submit(events)
		}
		if !open {
			return
		}
	}
}

// A loadPublisher takes note of its confirms.
type loadPublisher struct {
	t *testing.T

	mu        sync.Mutex // guards confirmed
	confirmed map[uint64]bool
}

func (p *loadPublisher) Confirmed(seqs []uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seq := range seqs {
		if !ok || p.confirmed[seq] {
			p.t.Errorf("publish %d is answered: %v, before: %v", seq, ok, p.confirmed[seq])
		}
		p.confirmed[seq] = true
	}
}

// Many goroutines publish, settle and call at once, with an inbox so small that publishers wait: everything is confirmed
// and delivered, each publisher's messages in order, and nobody is stuck.
func TestManyAtOnce(t *testing.T) {
	const publishers, batches, consumers = 8, 150, 4
	l := newLoad(t, 2000)
	var settlers, others, pubs sync.WaitGroup
	sessions := make([]*loadSession, consumers)
	for i := range sessions {
		s := &loadSession{l: l, wake: make(chan struct{}, 1)}
		sessions[i] = s
		c := &Consumer{Session: s, Tag: "c", Prefetch: 20}
		if err := l.q.Consume(c, func() {}); err != nil {
			t.Fatal(err)
		}
		settlers.Go(s.settle)
	}
	var stop atomic.Bool
	others.Go(func() {
		for !stop.Load() {
			l.q.Stats()
			l.q.Touch()
			runtime.Gosched()
		}
	})
	others.Go(func() {
		for s := sessions[0]; !stop.Load(); runtime.Gosched() {
			s.full.Store(true)
			s.full.Store(false)
			l.q.Resume()
		}
	})
	confirms := make([]*loadPublisher, publishers)
	for i := range publishers {
		p := &loadPublisher{t: t, confirmed: map[uint64]bool{}}
		confirms[i] = p
		pubs.Go(func() {
			n := uint32(0)
			for b := range batches {
				events := make([]Event, 1+b%7)
				for k := range events {
					n++
					m := numbered(uint32(i), n, 8+(b*31)%300)
					l.mu.Lock()
					l.kept.see(m)
					l.mu.Unlock()
					events[k] = Publish(m, p, uint64(n))
				}
				l.q.Submit(events)
				for _, ev := range events {
					ev.msg.Release(1)
				}
			}
		})
	}
	pubs.Wait()
	total := 0
	for b := range batches {
		total += publishers * (1 + b%7)
	}
	for {
		st, _ := l.q.Stats()
		if st.Counters.Acked == uint64(total) {
			break
		}
		l.q.Resume()
		runtime.Gosched()
	}
	stop.Store(true)
	others.Wait()
	for _, s := range sessions {
		close(s.wake)
	}
	settlers.Wait()
	for i, p := range confirms {
		if len(p.confirmed) != total/publishers {
			t.Errorf("publisher %d has %d confirms, want %d", i, len(p.confirmed), total/publishers)
		}
	}
	for _, s := range sessions {
		if last := l.q.Leave(s); last != (s == sessions[consumers-1]) {
			t.Errorf("last = %v", last)
		}
	}
	if n, err := l.q.Delete(true, true); n != 0 || err != nil {
		t.Error(n, err)
	}
	if n := l.kept.leaked(); n > 0 {
		t.Errorf("%d messages are still held", n)
	}
}

// Publishers, consumers and a deletion at once: every publish is answered, every call returns, no message is held.
func TestDeleteUnderLoad(t *testing.T) {
	for range 50 {
		synctest.Test(t, deleteUnderLoad)
	}
}

func deleteUnderLoad(t *testing.T) {
	l := newLoad(t, 500)
	s := &loadSession{l: l, wake: make(chan struct{}, 1)}
	l.q.Consume(&Consumer{Session: s, Prefetch: 3}, func() {})
	var all, settler sync.WaitGroup
	settler.Go(s.settle)
	publishers := make([]*loadPublisher, 4)
	for i := range publishers {
		p := &loadPublisher{t: t, confirmed: map[uint64]bool{}}
		publishers[i] = p
		all.Go(func() {
			for n := range uint32(40) {
				m := numbered(uint32(i), n+1, 100)
				ev := Publish(m, p, uint64(n+1))
				if i == 0 {
					l.q.Post(ev)
				} else {
					l.q.Submit([]Event{ev})
				}
				m.Release(1)
			}
		})
	}
	all.Go(func() {
		l.q.Stats()
		if _, err := l.q.Delete(false, false); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		for range 10 {
			l.q.Get(s, true)
			l.q.Stats()
		}
	})
	all.Wait()
	close(s.wake)
	settler.Wait()
	synctest.Wait()
	for i, p := range publishers {
		if len(p.confirmed) != 40 {
			t.Errorf("publisher %d has %d answers", i, len(p.confirmed))
		}
	}
	if n := l.kept.leaked(); n > 0 {
		t.Errorf("%d messages are still held", n)
	}
}

// A gate is an owner whose DeadLetter lets a test act while the queue is being run.
type gate struct {
	enter func(q *Queue, m *amqp.Message)
}

func (g *gate) DeadLetter(q *Queue, _ *Settings, m *amqp.Message, _ Reason, _ func()) { g.enter(q, m) }
func (g *gate) Expired(*Queue)                                                        {}

// full makes a queue that dead-letters every message published to it.
func full(owner Owner, inboxMax int) *Queue {
	set := NoSettings()
	set.MaxLength, set.DeadLetter = 0, true
	return New(Config{VHost: "/", Name: "q"}, set, owner, inboxMax, Storage{})
}

func submit(q *Queue, bodies ...string) {
	for _, b := range bodies {
		m := letter{body: b, key: "q"}.message()
		q.Submit([]Event{Publish(m, nil, 0)})
		m.Release(1)
	}
}

// Who comes by with events and finds others that keep coming is relieved after some rounds.
func TestGuestIsRelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // where waiting for ever is found out
		returned := make(chan struct{})
		rounds := 0
		q := full(&gate{func(q *Queue, m *amqp.Message) {
			rounds++
			switch {
			case rounds == 100:
				return
			case rounds == 1+runRounds+1:
				<-returned
			case rounds <= 1+runRounds:
				select {
				case <-returned:
					t.Errorf("relieved after %d rounds", rounds)
				default:
				}
			}
			q.Post(Publish(m, nil, 0)) // one more round
		}}, 1<<20)
		submit(q, "m")
		close(returned)
		synctest.Wait()
		if rounds != 100 {
			t.Errorf("%d rounds, want 100", rounds)
		}
	})
}

// A publisher that finds the inbox full waits until it is emptied; settlements and calls that hold nothing do not.
func TestFullInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		q := full(g, 10)
		release := make(chan struct{})
		first := true
		g.enter = func(*Queue, *amqp.Message) {
			if first {
				first = false
				<-release
			}
		}
		var mu sync.Mutex
		var done []string
		var all sync.WaitGroup
		run := func(name string, f func()) {
			all.Go(func() {
				f()
				mu.Lock()
				defer mu.Unlock()
				done = append(done, name)
			})
			synctest.Wait()
		}
		run("runner", func() { submit(q, "m1") })
		run("publisher", func() { submit(q, "m2") })
		run("ack", func() { q.Submit([]Event{Ack(Handle{1, 1})}) })
		run("ack and publish", func() {
			m := letter{body: "m3"}.message()
			q.Submit([]Event{Ack(Handle{1, 1}), Publish(m, nil, 0), Ack(Handle{1, 1})})
			m.Release(1)
		})
		run("post", func() {
			m := letter{body: "m4"}.message()
			q.Post(Publish(m, nil, 0))
			m.Release(1)
		})
		mu.Lock()
		if !slices.Equal(done, []string{"ack", "post"}) {
			t.Errorf("%v did not wait", done)
		}
		mu.Unlock()
		close(release)
		all.Wait()
		if st, _ := q.Stats(); st.Counters.Published != 4 {
			t.Errorf("%d published", st.Counters.Published)
		}
	})
}

// A queue that dead-letters to itself goes on with what it has left for itself.
func TestDeadLetterToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 1000
		q := full(&gate{func(q *Queue, m *amqp.Message) {
			if left--; left > 0 {
				q.Post(Publish(m, nil, 0))
			}
		}}, 10)
		submit(q, "m")
		synctest.Wait()
		if left != 0 {
			t.Errorf("%d rounds are missing", left)
		}
	})
}

// Two queues that dead-letter to each other do not wait for each other, however small their inboxes.
func TestDeadLetterToEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p, q *Queue
		var n atomic.Int32
		g := &gate{func(from *Queue, m *amqp.Message) {
			to := p
			if from == p {
				to = q
			}
			if n.Add(1) < 2000 {
				to.Post(Publish(m, nil, 0))
			}
		}}
		p, q = full(g, 1), full(g, 1)
		for range 4 {
			go submit(p, "a", "b", "c") // ends when both are idle
			go submit(q, "a", "b", "c")
		}
		synctest.Wait()
		if n.Load() < 2000 {
			t.Errorf("stopped after %d rounds", n.Load())
		}
	})
}

func (l *load) Lost(*Queue, int) {}

func (g *gate) Lost(*Queue, int) {}
