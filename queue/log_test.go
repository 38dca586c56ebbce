package queue

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/store"
)

// A fakeLog keeps messages in memory and does what a log does when the test says so: nothing is durable before commit, and
// nothing is read before answer.
type fakeLog struct {
	t     *testing.T
	eager bool // commits when it is submitted to

	mu      sync.Mutex // guards the fields below
	handler store.Handler
	last    uint64
	live    []store.Message // by number; on disk or on its way there
	safe    uint64          // what is live up to here is on disk
	reads   []func()
	dropped bool
	settled []store.Range
	notes   map[uint64]uint32
}

func newFakeLog(t *testing.T) *fakeLog { return &fakeLog{t: t, notes: map[uint64]uint32{}} }

func (l *fakeLog) storage() Storage {
	return Storage{Open: func() Log { return l }, Cache: &Cache{}}
}

// again returns the storage of a queue that finds what l has.
func (l *fakeLog) again() Storage {
	st := l.storage()
	st.Recovered = true
	return st
}

func (l *fakeLog) Handle(h store.Handler, _ store.Flush) { l.handler = h }

func (l *fakeLog) Last() uint64 { return l.last }

func (l *fakeLog) Recovered() iter.Seq[store.Entry] {
	return func(yield func(store.Entry) bool) {
		for _, m := range slices.Clone(l.live) {
			if !yield(store.Entry{Seq: m.Seq, Expires: m.Expires, Size: len(m.Body), Deliveries: l.notes[m.Seq], Priority: m.Priority, Flags: m.Flags}) {
				return
			}
		}
	}
}

func (l *fakeLog) Message(m *store.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.Seq <= l.last {
		l.t.Errorf("message %d comes after %d", m.Seq, l.last)
	}
	l.last = m.Seq
	c := *m
	c.Address, c.Props = slices.Clone(m.Address), slices.Clone(m.Props)
	c.Body = slices.Concat(append([][]byte{m.Body}, m.More...)...)
	c.More, c.Holder = nil, nil
	l.live = append(l.live, c)
	m.Holder.Release(1)
}

func (l *fakeLog) Settle(from, to uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from == 0 || to < from {
		l.t.Errorf("messages %d to %d are settled", from, to)
	}
	l.settled = append(l.settled, store.Range{From: from, To: to})
	l.live = slices.DeleteFunc(l.live, func(m store.Message) bool { return m.Seq >= from && m.Seq <= to })
}

func (l *fakeLog) Note(seq uint64, deliveries uint32) { l.notes[seq] = deliveries }

func (l *fakeLog) Submit() <-chan struct{} {
	if l.eager {
		l.commit()
	}
	return nil
}

// commit makes durable all that was submitted.
func (l *fakeLog) commit() {
	l.mu.Lock()
	l.safe = l.last
	l.mu.Unlock()
	l.handler.Durable(l.last)
}

// fail loses what was not durable.
func (l *fakeLog) fail() {
	l.mu.Lock()
	l.live = slices.DeleteFunc(l.live, func(m store.Message) bool { return m.Seq > l.safe })
	l.safe = l.last
	l.mu.Unlock()
	l.handler.Failed(l.last, errors.New("the disk is full"))
}

func (l *fakeLog) Read(from, to uint64, maxBytes int, done func([]store.Message, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	read := func() {
		var out []store.Message
		l.mu.Lock()
		for _, m := range l.live {
			size := len(m.Address) + len(m.Props) + len(m.Body)
			if m.Seq < from || m.Seq > to {
				continue
			}
			if maxBytes -= size; len(out) > 0 && maxBytes < 0 {
				break
			}
			out = append(out, readBack(m))
		}
		l.mu.Unlock()
		done(out, nil)
	}
	l.reads = append(l.reads, read)
}

// readBack returns m in a buffer of its own.
func readBack(m store.Message) store.Message {
	buf := amqp.NewBuffer(len(m.Address) + len(m.Props) + len(m.Body))
	all := append(append(append(buf.Bytes()[:0], m.Address...), m.Props...), m.Body...)
	a, p := len(m.Address), len(m.Address)+len(m.Props)
	m.Address, m.Props, m.Body, m.Holder = all[:a:a], all[a:p:p], all[p:], buf
	return m
}

// answer carries out the reads that wait and returns how many.
func (l *fakeLog) answer() int {
	l.mu.Lock()
	reads := l.reads
	l.reads = nil
	l.mu.Unlock()
	for _, r := range reads {
		r()
	}
	return len(reads)
}

func (l *fakeLog) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped, l.live = true, nil
}

// bodies returns the live messages' bodies.
func (l *fakeLog) bodies() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, m := range l.live {
		out = append(out, strings.TrimRight(string(m.Body), "."))
	}
	return strings.Join(out, " ")
}

// tiny makes the hot part so small that two messages of 1000 bytes fill it, and one is read at a time.
func tiny(t testing.TB) {
	min, max, load := hotMin, hotMax, loadBytes
	hotMin, hotMax, loadBytes = 2000, 4000, 1000
	t.Cleanup(func() { hotMin, hotMax, loadBytes = min, max, load })
}

// A stage is a durable queue on a fakeLog with one client, which writes down what it sees.
type stage struct {
	*testing.T
	log  *fakeLog
	q    *Queue
	sess *stageSession

	dead    []string
	arrived []func()
	lost    int
	fates   []string
}

type stageSession struct {
	s   *stage
	got []string
	all []Delivery
}

func newStage(t *testing.T, set Settings, st func(*fakeLog) Storage) *stage {
	s := &stage{T: t, log: newFakeLog(t)}
	s.sess = &stageSession{s: s}
	if st == nil {
		st = (*fakeLog).storage
	}
	s.q = New(Config{VHost: "/", Name: "q", Durable: true}, set, s, 0, st(s.log))
	return s
}

// restart puts a queue in place of s.q that finds what the log has.
func (s *stage) restart(cfg Config) {
	s.q.Stop()
	s.log.reads = nil
	s.q = New(cfg, s.q.state.set, s, 0, s.log.again())
	s.q.Start()
}

func (s *stage) publish(bodies ...string) {
	synctest.Wait()
	for i, b := range bodies {
		name, priority, _ := strings.Cut(b, "/")
		l := letter{body: name, key: "q", size: 1000}
		if priority != "" {
			l.priority = priority[0] - '0'
		}
		m := l.message()
		m.Persistent = true
		s.q.Submit([]Event{Publish(m, s, uint64(i))})
		m.Release(1)
	}
	synctest.Wait()
}

func (s *stage) consume(prefetch int) *Consumer {
	synctest.Wait()
	c := &Consumer{Session: s.sess, Tag: "c", Prefetch: prefetch}
	if err := s.q.Consume(c, func() {}); err != nil {
		s.Fatal(err)
	}
	return c
}

// settle answers for the oldest delivery that is not answered.
func (s *stage) settle(events func(Handle) Event) {
	synctest.Wait()
	d := s.sess.all[0]
	s.sess.all = s.sess.all[1:]
	s.q.Submit([]Event{events(d.Handle)})
	synctest.Wait()
}

// drain answers reads and acknowledges until nothing more comes, and returns what was delivered.
func (s *stage) drain() string {
	for again := true; again; {
		synctest.Wait()
		again = s.log.answer() > 0
		synctest.Wait()
		for len(s.sess.all) > 0 {
			s.settle(Ack)
			again = true
		}
	}
	got := strings.Join(s.sess.got, " ")
	s.sess.got = nil
	return got
}

func (s *stage) want(what, got, want string) {
	s.Helper()
	if got != want {
		s.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (s *stage) ready() int {
	st, _ := s.q.Stats()
	return st.Ready
}

func (s *stageSession) Deliver(_ *Consumer, batch []Delivery) {
	for _, d := range batch {
		line := strings.TrimRight(string(d.Message.AppendBody(nil)), ".")
		if d.Redelivered {
			line += "+"
		}
		s.got = append(s.got, line)
		s.all = append(s.all, d)
	}
}

func (s *stageSession) Got(d Delivery, noAck bool, _ int) { s.Deliver(nil, []Delivery{d}) }
func (s *stageSession) Room(*Consumer) int                { return 1 << 20 }
func (s *stageSession) Acquire(*Consumer) bool            { return true }
func (s *stageSession) Cancelled(*Consumer)               {}

func (s *stage) Confirmed(seqs []uint64, ok bool) {
	for range seqs {
		s.fates = append(s.fates, map[bool]string{true: "ack", false: "nack"}[ok])
	}
}

func (s *stage) DeadLetter(_ *Queue, _ *Settings, m *amqp.Message, why Reason, arrived func()) {
	s.dead = append(s.dead, strings.TrimRight(string(m.AppendBody(nil)), ".")+":"+string(why))
	if arrived != nil {
		s.arrived = append(s.arrived, arrived)
	}
}

func (s *stage) Lost(_ *Queue, n int) { s.lost += n }
func (s *stage) Expired(*Queue)       {}

// names returns m1 to mN.
func names(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("m%d", i+1))
	}
	return out
}

// onStage runs a test with a tiny hot part in a bubble of its own, and checks that nothing is left when the queue is deleted.
func onStage(t *testing.T, set Settings, f func(s *stage)) {
	t.Helper()
	tiny(t)
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, set, nil)
		f(s)
		cache := s.q.state.disk.cache
		s.q.Delete(false, false)
		synctest.Wait()
		s.log.answer()
		synctest.Wait()
		if n := cache.used.Load(); n != 0 {
			t.Errorf("a deleted queue has %d bytes of the cache", n)
		}
	})
}

func TestColdOrder(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(9)...)
		if n := s.q.state.ready.n; n != 2 {
			t.Errorf("%d messages are in memory, want 2", n)
		}
		s.consume(0)
		s.want("at once", strings.Join(s.sess.got, " "), "m1 m2")
		s.publish("m10") // does not overtake
		s.want("delivered", s.drain(), strings.Join(names(10), " "))
		s.want("left in the log", s.log.bodies(), "")
	})
}

func TestConfirmAfterCommit(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(4)...)
		s.want("before the commit", strings.Join(s.fates, " "), "")
		s.log.commit()
		synctest.Wait()
		s.want("after it", strings.Join(s.fates, " "), "ack ack ack ack")
	})
}

func TestTransientIsConfirmedAtOnce(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		m := letter{body: "t", key: "q"}.message()
		s.q.Submit([]Event{Publish(m, s, 1)})
		m.Release(1)
		s.want("fate", strings.Join(s.fates, " "), "ack")
		s.want("in the log", s.log.bodies(), "")
	})
}

func TestFailedAppend(t *testing.T) {
	set := NoSettings()
	set.MaxLength = 6
	onStage(t, set, func(s *stage) {
		s.publish(names(4)...)
		s.log.commit()
		s.publish("lost1", "lost2")
		s.log.fail()
		synctest.Wait()
		s.want("fates", strings.Join(s.fates, " "), "ack ack ack ack nack nack")
		if n := s.ready(); n != 4 {
			t.Errorf("%d ready, want 4", n)
		}
		s.publish("m5", "m6") // within the limit: what failed takes no room
		s.log.commit()
		s.consume(0)
		s.want("delivered", s.drain(), strings.Join(names(6), " "))
		if s.lost != 0 {
			t.Errorf("%d messages are said to be lost, which were refused", s.lost)
		}
	})
}

// A read that began before messages failed brings what the cold part no longer counts.
func TestFailWhileLoading(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(3)...)
		s.log.commit()
		s.consume(1)
		s.publish("lost")
		read := s.log.reads
		s.log.reads = nil
		s.log.fail()
		synctest.Wait()
		for _, r := range read {
			r()
		}
		s.want("delivered", s.drain(), "m1 m2 m3")
		if n := s.ready(); n != 0 || s.lost != 0 {
			t.Errorf("%d ready, %d lost, want none", n, s.lost)
		}
	})
}

func TestPurgeWhileLoading(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(6)...)
		c := s.consume(1)
		s.settle(Ack) // m2 is out, the rest is asked for
		if n, err := s.q.Purge(); err != nil || n != 4 {
			t.Errorf("%d purged (%v), want 4", n, err)
		}
		s.publish(names(9)[6:]...)
		s.q.Cancel(c)
		s.consume(0)
		s.want("delivered", s.drain(), "m1 m2 m7 m8 m9")
		s.want("left in the log", s.log.bodies(), "")
	})
}

func TestRequeueBeforeColdPart(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(6)...)
		c := s.consume(2)
		s.q.Cancel(c)
		s.q.Leave(s.sess)
		s.sess.all, s.sess.got = nil, nil
		s.consume(0)
		s.want("delivered", s.drain(), "m1+ m2+ m3 m4 m5 m6")
	})
}

func TestGetWaitsForTheHead(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(4)...)
		for i := range 4 {
			done := make(chan struct{})
			go func() { // ends when the read is answered
				defer close(done)
				if got, err := s.q.Get(s.sess, true); !got || err != nil {
					t.Errorf("got %v (%v)", got, err)
				}
			}()
			synctest.Wait()
			s.log.answer()
			<-done
			s.want("got", s.sess.got[i], names(4)[i])
		}
		if got, _ := s.q.Get(s.sess, true); got {
			t.Error("got a fifth")
		}
	})
}

func TestDeadLetterIsSettledOnArrival(t *testing.T) {
	set := NoSettings()
	set.DeadLetter, set.DLX = true, "dlx"
	onStage(t, set, func(s *stage) {
		s.publish("m1")
		s.log.commit()
		s.consume(0)
		s.settle(func(h Handle) Event { return Reject(h, false) })
		s.want("dead", strings.Join(s.dead, " "), "m1:rejected")
		s.want("before the letter arrives", s.log.bodies(), "m1")
		s.arrived[0]()
		synctest.Wait()
		s.want("after it", s.log.bodies(), "")
	})
}

func TestLimitAndColdPart(t *testing.T) {
	set := NoSettings()
	set.MaxLength = 5
	set.DeadLetter, set.DLX = true, "dlx"
	onStage(t, set, func(s *stage) {
		s.publish(names(9)...)
		s.drain()
		s.want("dropped", strings.Join(s.dead, " "), "m1:maxlen m2:maxlen m3:maxlen m4:maxlen")
		if n := s.ready(); n != 5 {
			t.Errorf("%d ready, want 5", n)
		}
		s.consume(0)
		s.want("delivered", s.drain(), "m5 m6 m7 m8 m9")
	})
}

func TestDamagedMessage(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(4)...)
		s.log.live[2].Props = []byte{0xFF} // m3
		s.consume(0)
		s.want("delivered", s.drain(), "m1 m2 m4")
		if s.lost != 1 {
			t.Errorf("%d lost, want 1", s.lost)
		}
		s.want("left in the log", s.log.bodies(), "")
	})
}

func TestRestart(t *testing.T) {
	set := NoSettings()
	set.DeliveryLimit = 5
	onStage(t, set, func(s *stage) {
		s.publish(names(4)...)
		s.log.commit()
		s.consume(2)
		s.q.Leave(s.sess) // m1 and m2 come back
		s.sess.all, s.sess.got = nil, nil
		s.restart(*s.q.Config())
		if n := s.ready(); n != 4 {
			t.Errorf("%d ready, want 4", n)
		}
		s.publish("m5")
		s.consume(0)
		s.want("delivered", s.drain(), "m1+ m2+ m3 m4 m5")
	})
}

// A priority queue is not served before all of it is in memory: neither consumers nor a get, and a limit drops nothing.
func TestRestartWithPriorities(t *testing.T) {
	set := NoSettings()
	set.MaxLength = 4
	onStage(t, set, func(s *stage) {
		cfg := *s.q.Config()
		cfg.MaxPriority = 3
		s.publish("m1/1", "m2/3", "m3/2", "m4/3")
		s.log.commit()
		s.restart(cfg)
		s.publish("m5/1") // one too many: m2, the first of the highest, goes when that is known
		done := make(chan struct{})
		go func() { // ends when all is read
			defer close(done)
			s.q.Get(s.sess, true)
		}()
		for range 5 {
			synctest.Wait()
			s.log.answer()
		}
		<-done
		s.consume(0)
		s.want("delivered", s.drain(), "m4 m3 m1 m5")
	})
}

// What could not be kept in memory and is transient goes with a restart.
func TestRestartDropsTransient(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(2)...)
		m := letter{body: "t", key: "q", size: 1000}.message()
		s.q.Submit([]Event{Publish(m, nil, 0)})
		m.Release(1)
		s.want("on disk", s.log.bodies(), "m1 m2 t")
		s.restart(*s.q.Config())
		s.consume(0)
		s.want("delivered", s.drain(), "m1 m2")
	})
}

// A stopped queue leaves its messages, answers no letter as arrived, and one that rests drops nothing.
func TestRestAndStop(t *testing.T) {
	set := NoSettings()
	set.DeadLetter, set.DLX = true, "dlx"
	onStage(t, set, func(s *stage) {
		s.publish("m1", "m2")
		s.log.commit()
		s.consume(0)
		s.settle(func(h Handle) Event { return Reject(h, false) })
		s.q.Rest()
		s.settle(func(h Handle) Event { return Reject(h, false) })
		s.publish("m3")
		s.want("dead", strings.Join(s.dead, " "), "m1:rejected")
		s.arrived[0]()
		synctest.Wait()
		s.want("in the log", s.log.bodies(), "m2")
		s.q.Stop()
		s.publish("m4")
		s.want("fates", strings.Join(s.fates, " "), "ack ack nack nack")
		s.want("in the log", s.log.bodies(), "m2")
	})
}

func TestExpireAnywhereReadsAll(t *testing.T) {
	onStage(t, NoSettings(), func(s *stage) {
		s.publish(names(6)...)
		set := NoSettings()
		set.ExpireAnywhere = true
		s.q.Set(set)
		s.publish("m7")
		for s.log.answer() > 0 {
			synctest.Wait()
		}
		if n := s.q.state.ready.n; n != 7 {
			t.Errorf("%d messages are in memory, want 7", n)
		}
		s.consume(0)
		s.want("delivered", s.drain(), strings.Join(names(7), " "))
	})
}

func (l *fakeLog) Bytes() int64 { return 0 }
