package queue

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// TestModel has random operations done to a queue and to a naive model of one, and compares. FuzzModel does so with
// operations that the fuzzer finds. The properties: no message is lost and none is there twice; each goes in order of
// priority and arrival; a consumer with capacity never waits beside ready messages; limits hold and drop no more than they
// must; what expires was due, and nothing that is due stays; counts and bytes add up; every publish is answered once; and
// when the queue is gone, no message's memory is held.
func TestModel(t *testing.T) {
	tiny(t)
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		ops := make([]byte, 1200)
		r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
		r.Read(ops)
		if !runModel(t, ops) {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzModel(f *testing.F) {
	tiny(f)
	for seed := range 8 {
		ops := make([]byte, 150)
		rand.NewChaCha8([32]byte{byte(seed), 1}).Read(ops)
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) { runModel(t, ops) })
}

func runModel(t *testing.T, ops []byte) bool {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, ops)
		for len(m.ops) > 0 && !t.Failed() {
			m.step()
		}
		if !t.Failed() {
			m.end()
		}
	})
	return !t.Failed()
}

// A model is what a queue should do.
type model struct {
	t   *testing.T
	ops []byte // to come
	op  string // at hand
	q   *Queue
	log *fakeLog // nil if the queue has none

	set       Settings
	messages  []*modelMessage // by number
	ready     []*modelMessage // in no order
	unacked   []*modelMessage // in order of delivery
	sessions  [3]modelSession
	consumers []*Consumer // in order of registration
	confirmed map[uint64]bool

	// of the operation at hand
	strict  bool            // a single event, so that the order of all it causes is known
	taken   []*modelMessage // delivered
	dropped int             // for the length limit
	expired int

	kept ledger
}

type modelMessage struct {
	n          int // number and order of arrival
	priority   uint8
	size       int
	expires    int64
	deliveries int
	redeliver  bool
	where      where
	refused    bool // by an overflowing queue
	handle     Handle
	session    *modelSession
	consumer   *Consumer
}

type where uint8

const (
	waiting where = iota // ready
	out                  // delivered, not acknowledged
	dying                // to be dead-lettered, for another reason than time or length
	gone
)

type modelSession struct {
	m               *model
	full            bool
	limit           int
	placed          int  // of the shared prefetch
	noRoom, noPlace bool // a consumer waits for it
}

func newModel(t *testing.T, ops []byte) *model {
	m := &model{t: t, ops: ops, confirmed: map[uint64]bool{}}
	for i := range m.sessions {
		m.sessions[i].m = m
	}
	cfg := Config{VHost: "/", Name: "q"}
	if m.pick(3) == 0 {
		cfg.MaxPriority = uint8(1 + m.pick(9))
	}
	cfg.SingleActive = m.pick(4) == 0
	cfg.Quorum = m.pick(4) == 0
	m.set = m.settings()
	var st Storage
	if m.pick(2) == 0 {
		cfg.Durable = m.pick(3) > 0
		m.log = newFakeLog(t)
		m.log.eager = true
		st = m.log.storage()
		st.Cache.Limit = 1000 * int64(m.pick(10))
	}
	m.q = New(cfg, m.set, m, 1<<20, st)
	return m
}

// pick takes a number below n from the operations.
func (m *model) pick(n int) int {
	if len(m.ops) == 0 {
		return 0
	}
	b := m.ops[0]
	m.ops = m.ops[1:]
	return int(b) % n
}

func (m *model) settings() Settings {
	set := NoSettings()
	set.DeadLetter, set.DLX = true, "dlx"
	if m.pick(2) == 0 {
		set.MaxLength = int64(m.pick(12))
	}
	set.Overflow = Overflow(m.pick(5)/2) % 3
	if m.pick(3) == 0 {
		set.TTL = time.Duration(m.pick(20)) * time.Millisecond
	}
	if m.pick(3) == 0 {
		set.DeliveryLimit = int64(m.pick(3))
	}
	set.ExpireAnywhere = m.pick(3) == 0
	return set
}

func now() int64 { return time.Now().UnixMilli() }

// before reports whether a is delivered before b.
func (m *model) before(a, b *modelMessage) bool {
	pa, pb := min(a.priority, m.q.cfg.MaxPriority), min(b.priority, m.q.cfg.MaxPriority)
	return pa > pb || pa == pb && a.n < b.n
}

func (m *model) sorted(list []*modelMessage) []*modelMessage {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b *modelMessage) int {
		if m.before(a, b) {
			return -1
		}
		return 1
	})
	return list
}

func (m *model) errorf(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("%s: "+format, append([]any{m.op}, args...)...)
}

func (m *model) step() {
	m.strict, m.taken, m.dropped, m.expired = true, nil, 0, 0
	full := m.fullness()
	switch k := m.pick(32); {
	case k < 8:
		m.op = "publish"
		room := m.set.Overflow == DropHead || m.set.MaxLength < 0 || int64(len(m.ready)) < m.set.MaxLength
		msg, ev := m.publish()
		m.submit(ev)
		if msg.refused == room {
			m.errorf("message %d refused: %v, with %d ready", msg.n, msg.refused, full)
		}
	case k < 10:
		m.op, m.strict = "batch", false
		var evs []Event
		for range 1 + m.pick(8) {
			switch m.pick(3) {
			case 0:
				_, ev := m.publish()
				evs = append(evs, ev)
			default:
				if ev, ok := m.settle(verdict(m.pick(3))); ok {
					evs = append(evs, ev)
				}
			}
		}
		m.submit(evs...)
	case k < 14:
		m.op = "ack"
		m.settleOne(acked)
	case k < 16:
		m.op = "requeue"
		m.settleOne(requeued)
	case k < 17:
		m.op = "reject"
		m.settleOne(rejected)
	case k < 19:
		m.op = "get"
		m.get()
	case k < 22:
		m.op = "consume"
		m.consume()
	case k < 23 && len(m.consumers) > 0:
		m.op = "cancel"
		i := m.pick(len(m.consumers))
		c := m.consumers[i]
		m.consumers = slices.Delete(m.consumers, i, i+1)
		if last := m.q.Cancel(c); last != (len(m.consumers) == 0) {
			m.errorf("last = %v with %d consumers left", last, len(m.consumers))
		}
	case k < 24:
		m.op = "leave"
		s := &m.sessions[m.pick(3)]
		m.consumers = slices.DeleteFunc(m.consumers, func(c *Consumer) bool { return c.Session == s })
		m.giveBack(s)
		m.q.Leave(s)
	case k < 25:
		m.op = "recover"
		s := &m.sessions[m.pick(3)]
		m.giveBack(s)
		m.q.Recover(s)
	case k < 26:
		m.op = "full or not"
		s := &m.sessions[m.pick(3)]
		s.full = !s.full
	case k < 27:
		m.op = "share"
		m.sessions[m.pick(3)].limit = m.pick(4)
	case k < 30:
		m.op = "advance"
		m.strict = false // several timers may have gone
		time.Sleep(time.Duration(m.pick(12)) * time.Millisecond)
	case k < 31:
		m.op = "purge"
		m.q.Stats() // what has expired this moment goes first
		n, err := m.q.Purge()
		if err != nil || n != len(m.ready) {
			m.errorf("%d purged (%v), want %d", n, err, len(m.ready))
		}
		for _, msg := range m.ready {
			msg.where = gone
		}
		m.ready = nil
	default:
		m.op = "set"
		m.set = m.settings()
		m.q.Set(m.set)
	}
	m.settleDown()
	m.check()
}

// settleDown has the log answer, and sessions go on, until nothing more happens.
func (m *model) settleDown() {
	for {
		synctest.Wait()
		m.resume()
		synctest.Wait()
		if m.log == nil || m.log.answer() == 0 {
			return
		}
	}
}

// waiting runs f, which may wait for the log.
func (m *model) waiting(f func()) {
	if m.log == nil {
		f()
		return
	}
	done := make(chan struct{})
	go func() { // ends when the log has answered
		defer close(done)
		f()
	}()
	for {
		synctest.Wait()
		select {
		case <-done:
			return
		default:
			if m.log.answer() == 0 {
				m.t.Fatalf("%s waits for nothing", m.op)
			}
		}
	}
}

// fullness brings the queue to rest and returns how many messages are ready.
func (m *model) fullness() int {
	st, _ := m.q.Stats()
	return st.Ready
}

// resume does what sessions do when they have room or places again.
func (m *model) resume() {
	for again := true; again; {
		again = false
		for i := range m.sessions {
			s := &m.sessions[i]
			if s.noRoom && !s.full || s.noPlace && (s.limit == 0 || s.placed < s.limit) {
				s.noRoom, s.noPlace = false, false
				again = true
				m.q.Resume()
			}
		}
	}
}

func (m *model) submit(evs ...Event) {
	if len(evs) == 0 {
		return
	}
	m.q.Submit(evs)
	synctest.Wait()
	for _, ev := range evs {
		if ev.msg != nil {
			ev.msg.Release(1)
		}
	}
}

func (m *model) publish() (*modelMessage, Event) {
	msg := &modelMessage{n: len(m.messages), size: []int{0, 1, 100, 3000, 40_000}[m.pick(5)], where: waiting}
	l := letter{key: strconv.Itoa(msg.n), body: string(bytes.Repeat([]byte{'x'}, msg.size))}
	if m.pick(2) == 0 {
		msg.priority = uint8(m.pick(11))
		l.priority = msg.priority
	}
	ttl := int64(-1)
	if m.pick(3) == 0 {
		ttl = int64(m.pick(15))
		l.expiration = strconv.FormatInt(ttl, 10)
	}
	if q := m.set.TTL.Milliseconds(); m.set.TTL >= 0 && (ttl < 0 || q < ttl) {
		ttl = q
	}
	if ttl >= 0 {
		msg.expires = now() + ttl
	}
	m.messages = append(m.messages, msg)
	m.ready = append(m.ready, msg)
	am := l.message()
	am.Persistent = m.log != nil && m.pick(3) > 0
	m.kept.see(am)
	return msg, Publish(am, m, uint64(msg.n))
}

func (m *model) settleOne(v verdict) {
	if ev, ok := m.settle(v); ok {
		m.submit(ev)
		m.submit(ev) // a second time it means nothing
	}
}

// settle returns the event of an unacknowledged delivery's settlement.
func (m *model) settle(v verdict) (Event, bool) {
	if len(m.unacked) == 0 {
		return Event{}, false
	}
	msg := m.unacked[m.pick(len(m.unacked))]
	m.settled(msg, v)
	switch v {
	case acked:
		return Ack(msg.handle), true
	default:
		return Reject(msg.handle, v == requeued), true
	}
}

func (m *model) settled(msg *modelMessage, v verdict) {
	i := slices.Index(m.unacked, msg)
	m.unacked = slices.Delete(m.unacked, i, i+1)
	if msg.consumer != nil {
		msg.session.placed--
	}
	switch v {
	case acked:
		msg.where = gone
	case rejected:
		msg.where = dying
	case requeued:
		msg.deliveries++
		msg.redeliver = true
		if m.set.DeliveryLimit >= 0 && int64(msg.deliveries) > m.set.DeliveryLimit {
			msg.where = dying
			return
		}
		msg.where = waiting
		m.ready = append(m.ready, msg)
	}
}

func (m *model) giveBack(s *modelSession) {
	for _, msg := range slices.Clone(m.unacked) {
		if msg.session == s {
			m.settled(msg, requeued)
		}
	}
}

func (m *model) get() {
	s := &m.sessions[m.pick(3)]
	noAck := m.pick(2) == 0
	var got bool
	var err error
	m.waiting(func() { got, err = m.q.Get(s, noAck) })
	if err != nil || got != (len(m.taken) == 1) || !got && len(m.ready) > 0 {
		m.errorf("got %v (%v) with %d ready", got, err, len(m.ready))
	}
}

func (m *model) consume() {
	if len(m.consumers) == 6 {
		return
	}
	c := &Consumer{Session: &m.sessions[m.pick(3)], NoAck: m.pick(4) == 0, Priority: int32(m.pick(3) - 1),
		Exclusive: m.pick(12) == 0}
	if !c.NoAck {
		c.Prefetch = m.pick(5)
	}
	refuse := c.Exclusive && (len(m.consumers) > 0 || m.q.cfg.SingleActive) || len(m.consumers) > 0 && m.consumers[0].Exclusive
	if !refuse {
		m.consumers = append(m.consumers, c)
	}
	if err := m.q.Consume(c, func() {}); (err != nil) != refuse {
		m.errorf("%v, refused should be %v", err, refuse)
	}
}

// check compares the queue, which is at rest, with the model.
func (m *model) check() {
	ready := m.sorted(m.ready)
	if m.strict {
		for i, msg := range m.taken {
			if len(ready) > 0 && m.before(ready[0], msg) {
				m.errorf("%d was delivered before %d", msg.n, ready[0].n)
			}
			for _, earlier := range m.taken[:i] {
				if earlier.consumer == msg.consumer && m.before(msg, earlier) {
					m.errorf("%d was delivered to one consumer before %d", earlier.n, msg.n)
				}
			}
		}
		if m.dropped > 0 && m.op == "publish" && int64(len(ready)+m.expired) < m.set.MaxLength {
			m.errorf("%d dropped, and only %d left", m.dropped, len(ready))
		}
	}
	if m.set.MaxLength >= 0 && m.set.Overflow == DropHead && int64(len(ready)) > m.set.MaxLength {
		m.errorf("%d ready, more than %d", len(ready), m.set.MaxLength)
	}
	if len(ready) > 0 {
		for i, c := range m.consumers {
			if (!m.q.cfg.SingleActive || c == m.q.state.consumers.active) && m.capable(c) {
				m.errorf("consumer %d is idle beside %d ready messages", i, len(ready))
			}
		}
	}
	for i, msg := range ready {
		if msg.expires != 0 && msg.expires <= now() && (i == 0 || m.set.ExpireAnywhere) {
			m.errorf("message %d should have expired", msg.n)
		}
	}
	m.count(ready)
}

// count compares counts and bytes.
func (m *model) count(ready []*modelMessage) {
	var readyBytes, unackedBytes int64
	for _, msg := range ready {
		readyBytes += int64(msg.size)
	}
	placed := map[*modelSession]int{}
	for _, msg := range m.unacked {
		unackedBytes += int64(msg.size)
		if msg.consumer != nil {
			placed[msg.session]++
		}
	}
	for i := range m.sessions {
		if s := &m.sessions[i]; s.placed != placed[s] {
			m.errorf("session %d has %d places taken, want %d", i, s.placed, placed[s])
		}
	}
	st, ok := m.q.Stats()
	if !ok || st.Ready != len(ready) || st.Unacked != len(m.unacked) || st.ReadyBytes != readyBytes ||
		st.UnackedBytes != unackedBytes || st.Consumers != len(m.consumers) {
		m.errorf("stats %+v, want %d/%dB ready, %d/%dB unacked, %d consumers", st, len(ready), readyBytes, len(m.unacked),
			unackedBytes, len(m.consumers))
	}
	for i, msg := range m.messages {
		if _, ok := m.confirmed[uint64(i)]; !ok {
			m.errorf("publish %d is not answered", i)
		}
		if msg.where == dying {
			m.errorf("message %d was not dead-lettered", i)
		}
	}
	if n := len(m.q.state.expiries); n > 2*len(ready)+100 {
		m.errorf("%d expiries for %d messages", n, len(ready))
	}
	if len(ready)+len(m.unacked) == 0 && m.q.state.arena.buf != nil {
		m.errorf("an empty queue holds a buffer")
	}
}

// capable reports whether c could take a message.
func (m *model) capable(c *Consumer) bool {
	s := c.Session.(*modelSession)
	if s.full || !c.NoAck && s.limit > 0 && s.placed >= s.limit {
		return false
	}
	n := 0
	for _, msg := range m.unacked {
		if msg.consumer == c {
			n++
		}
	}
	return c.Prefetch == 0 || n < c.Prefetch
}

// end drains and deletes the queue.
func (m *model) end() {
	m.op, m.strict = "end", false
	for i := range m.sessions {
		s := &m.sessions[i]
		m.consumers = slices.DeleteFunc(m.consumers, func(c *Consumer) bool { return c.Session == s })
		m.giveBack(s)
		m.q.Leave(s)
	}
	m.settleDown()
	m.check()
	if len(m.q.state.members) > 0 || len(m.q.state.consumers.groups) > 0 || len(m.q.state.consumers.starved) > 0 {
		m.errorf("sessions are left: %+v", m.q.state)
	}
	if m.pick(2) == 0 {
		for len(m.ready) > 0 && !m.t.Failed() {
			m.taken = nil
			want := m.sorted(m.ready)[0]
			var got bool
			var err error
			m.waiting(func() { got, err = m.q.Get(&m.sessions[0], true) })
			m.settleDown() // what has expired is read, and goes
			if !got || err != nil || len(m.taken) != 1 || m.taken[0] != want {
				m.errorf("got %v %v %v, want %d", got, err, m.taken, want.n)
			}
		}
	}
	if n, err := m.q.Delete(false, false); err != nil || n != len(m.ready) {
		m.errorf("deleted with %d (%v), want %d", n, err, len(m.ready))
	}
	synctest.Wait()
	if m.log != nil {
		m.log.answer() // nobody wants it any more
		synctest.Wait()
		if used := m.q.state.disk.cache; used != nil {
			m.errorf("a deleted queue has a cache")
		}
		if len(m.log.live) > 0 {
			m.errorf("the log still has %s", m.log.bodies())
		}
	}
	if n := m.kept.leaked(); n > 0 {
		m.errorf("%d messages are still held", n)
	}
}

// Deliver implements Session.
func (s *modelSession) Deliver(c *Consumer, batch []Delivery) {
	if !slices.Contains(s.m.consumers, c) {
		s.m.errorf("%d deliveries to a consumer that is gone", len(batch))
	}
	for _, d := range batch {
		s.m.delivered(s, c, d, c.NoAck)
	}
}

// Got implements Session.
func (s *modelSession) Got(d Delivery, noAck bool, ready int) {
	s.m.delivered(s, nil, d, noAck)
	due := 0 // may have expired just now, which the owner hears a moment later
	for _, msg := range s.m.ready {
		if msg.expires != 0 && msg.expires <= now() {
			due++
		}
	}
	if ready > len(s.m.ready) || ready < len(s.m.ready)-due {
		s.m.errorf("%d ready, says get, want %d", ready, len(s.m.ready))
	}
}

func (m *model) delivered(s *modelSession, c *Consumer, d Delivery, noAck bool) {
	m.kept.see(d.Message)
	n, _ := strconv.Atoi(string(d.Message.RoutingKey()))
	msg := m.messages[n]
	i := slices.Index(m.ready, msg)
	if i < 0 || msg.where != waiting {
		m.errorf("message %d is delivered, and is not ready", n)
		return
	}
	if d.Redelivered != msg.redeliver || d.Message.Size != msg.size || d.Queue != m.q {
		m.errorf("message %d is delivered redelivered=%v size=%d, want %v %d", n, d.Redelivered, d.Message.Size, msg.redeliver, msg.size)
	}
	if body := d.Message.AppendBody(nil); bytes.Count(body, []byte{'x'}) != msg.size {
		m.errorf("the body of message %d is damaged", n)
	}
	m.counted(d.Message, msg, c == nil)
	m.ready = slices.Delete(m.ready, i, i+1)
	m.taken = append(m.taken, msg)
	msg.where, msg.consumer, msg.session, msg.handle = gone, c, s, d.Handle
	if !noAck {
		msg.where = out
		m.unacked = append(m.unacked, msg)
	}
	if c != nil && c.Prefetch > 0 && !m.within(c) {
		m.errorf("more is delivered than the prefetch of %d", c.Prefetch)
	}
}

// counted checks the header x-delivery-count.
func (m *model) counted(am *amqp.Message, msg *modelMessage, got bool) {
	p, err := amqp.ParseProperties(am.Header)
	if err != nil {
		m.errorf("%v", err)
	}
	want := (m.q.cfg.Quorum || m.set.DeliveryLimit >= 0) && msg.deliveries > 0 || m.q.cfg.Quorum && got
	v, has := p.Headers.Lookup("x-delivery-count")
	if has != want || has && v != int64(msg.deliveries) {
		m.errorf("message %d has x-delivery-count %v %v, want %v %d", msg.n, has, v, want, msg.deliveries)
	}
}

func (m *model) within(c *Consumer) bool {
	n := 0
	for _, msg := range m.unacked {
		if msg.consumer == c {
			n++
		}
	}
	return n <= c.Prefetch
}

// Room implements Session.
func (s *modelSession) Room(c *Consumer) int {
	if s.full {
		s.noRoom = true
		return 0
	}
	return 1 + s.m.messages[len(s.m.messages)-1].size
}

// Acquire implements Session.
func (s *modelSession) Acquire(c *Consumer) bool {
	if s.limit > 0 && s.placed >= s.limit {
		s.noPlace = true
		return false
	}
	s.placed++
	return true
}

// Cancelled implements Session.
func (s *modelSession) Cancelled(c *Consumer) {
	if !slices.Contains(s.m.consumers, c) {
		s.m.errorf("a consumer that is gone is cancelled")
	}
}

// Confirmed implements Publisher.
func (m *model) Confirmed(seqs []uint64, ok bool) {
	for _, seq := range seqs {
		if _, twice := m.confirmed[seq]; twice {
			m.errorf("publish %d is answered twice", seq)
		}
		m.confirmed[seq] = ok
		if !ok {
			msg := m.messages[seq]
			msg.refused, msg.where = true, gone
			if m.set.Overflow == RejectPublishDLX {
				msg.where = dying
			}
			m.ready = slices.DeleteFunc(m.ready, func(o *modelMessage) bool { return o == msg })
		}
	}
}

// DeadLetter implements Owner.
func (m *model) DeadLetter(q *Queue, s *Settings, am *amqp.Message, why Reason, arrived func()) {
	if arrived != nil {
		arrived()
	}
	m.kept.see(am)
	n, _ := strconv.Atoi(string(am.RoutingKey()))
	msg := m.messages[n]
	ok := false
	switch why {
	case Expired:
		ok = msg.where == waiting && msg.expires != 0 && msg.expires <= now()
		m.expired++
	case MaxLen:
		ok = msg.where == dying && msg.refused || msg.where == waiting && s.Overflow == DropHead
		m.dropped++
	case Rejected:
		ok = msg.where == dying
	case DeliveryLimits:
		ok = msg.where == dying && int64(msg.deliveries) > s.DeliveryLimit
	}
	if !ok {
		m.errorf("message %d (%+v) dies: %s", n, msg, why)
	}
	msg.where = gone
	m.ready = slices.DeleteFunc(m.ready, func(o *modelMessage) bool { return o == msg })
}

// Expired implements Owner.
func (m *model) Expired(*Queue) { m.errorf("the queue expires") }

func (m *model) Lost(_ *Queue, n int) { m.errorf("%d messages are lost", n) }
