package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warrenmq/warren/internal/store"
	"github.com/warrenmq/warren/internal/store/storetest"
)

var (
	seeds = flag.Int("seeds", 150, "how many seeds each simulation runs")
	seed  = flag.Uint64("seed", 0, "run this seed only")
)

// each runs f for the seeds asked for.
func each(t *testing.T, f func(t *testing.T, seed uint64)) {
	if *seed != 0 {
		f(t, *seed)
		return
	}
	n := *seeds
	if testing.Short() {
		n = min(n, 20)
	}
	for s := uint64(1); s <= uint64(n) && !t.Failed(); s++ {
		f(t, s)
	}
}

// small are options with which little traffic goes through all that a store does.
func small() store.Options {
	return store.Options{
		SegmentSize: 64 << 10, LogMax: 256 << 10, CommitMax: 16 << 10, PendingMax: 256 << 10,
		SettleDelay: 200 * time.Microsecond, FlushInterval: time.Millisecond, ProbeInterval: time.Millisecond,
		MoveRate: 1 << 40,
	}
}

// A sim is a store on a disk that is cut off now and then, and a naive model of what it must hold.
type sim struct {
	t      *testing.T
	seed   uint64
	rng    *rand.Rand
	disk   *storetest.Disk
	opt    store.Options
	store  *store.Store
	queues []*simQueue
	nextID uint64
	faults bool // operations fail: settlements may be lost
}

// simQueue is the model of one queue.
type simQueue struct {
	id   uint64
	q    *store.Queue
	next uint64
	msgs map[uint64]*simMsg
	mu   sync.Mutex
	told *sync.Cond // upTo has changed
	upTo uint64     // Durable or Failed
}

type simMsg struct {
	seq        uint64
	deliveries uint32
	noted      bool   // deliveries may be behind
	settled    bool   // by us
	before     uint64 // the message submitted after its settlement: when that is durable, so is the settlement
	maybe      bool   // Failed: it may be there or not
}

func (q *simQueue) Durable(upTo uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if upTo <= q.upTo {
		panic("Durable went back")
	}
	q.upTo = upTo
	q.told.Broadcast()
}

func (q *simQueue) Failed(upTo uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for s, m := range q.msgs {
		if s > q.upTo && s <= upTo {
			m.maybe = true
		}
	}
	q.upTo = upTo
	q.told.Broadcast()
}

// body is what message seq of queue id holds: bytes that tell whose they are.
func body(id, seq uint64) []byte {
	n := int((id*31 + seq*17) % 1500)
	if (id+seq)%97 == 0 {
		n = 40 << 10
	}
	b := make([]byte, 16+n)
	binary.LittleEndian.PutUint64(b, id)
	binary.LittleEndian.PutUint64(b[8:], seq)
	for i := 16; i < len(b); i++ {
		b[i] = byte(id*7 + seq*13 + uint64(i))
	}
	return b
}

func message(id, seq uint64) store.Message {
	b := body(id, seq)
	m := store.Message{Seq: seq, Address: []byte(fmt.Sprintf("q%d", id)), Props: []byte("props"), Priority: uint8(seq % 10), Flags: uint8(seq % 3)}
	if seq%5 == 0 {
		m.Expires = int64(1_700_000_000_000 + seq)
	}
	if seq%4 == 0 && len(b) > 100 {
		m.Body, m.More = b[:50], [][]byte{b[50:80], b[80:]}
	} else {
		m.Body = b
	}
	return m
}

func checkMessage(id uint64, m *store.Message) error {
	want := message(id, m.Seq)
	switch {
	case m.Err != nil:
		return m.Err
	case !bytes.Equal(m.Body, body(id, m.Seq)), !bytes.Equal(m.Address, want.Address), !bytes.Equal(m.Props, want.Props):
		return errors.New("its bytes are others")
	case m.Expires != want.Expires, m.Priority != want.Priority, m.Flags != want.Flags:
		return fmt.Errorf("expires, priority, flags are %d, %d, %d", m.Expires, m.Priority, m.Flags)
	}
	return nil
}

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), disk: storetest.New(seed), opt: small()}
	return s
}

func (s *sim) fatalf(format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("seed %d: "+format, append([]any{s.seed}, args...)...)
}

func (s *sim) open() *store.Report {
	s.t.Helper()
	st, report, err := store.Open(s.disk, "data", s.opt)
	if err != nil {
		s.fatalf("open: %v", err)
	}
	s.store = st
	return report
}

func (s *sim) addQueue() {
	s.nextID++
	q := &simQueue{id: s.nextID, msgs: map[uint64]*simMsg{}, q: s.store.Queue(s.nextID), next: 1}
	q.told = sync.NewCond(&q.mu)
	q.q.Handle(q, store.FlushSync)
	s.queues = append(s.queues, q)
}

// step does something at random.
func (s *sim) step() {
	if len(s.queues) == 0 {
		s.addQueue()
	}
	q := s.queues[s.rng.IntN(len(s.queues))]
	switch n := s.rng.IntN(100); {
	case n < 45:
		for range 1 + s.rng.IntN(20) {
			q.mu.Lock()
			m := message(q.id, q.next)
			q.msgs[q.next] = &simMsg{seq: q.next}
			q.next += 1 + uint64(s.rng.IntN(2))
			q.mu.Unlock()
			q.q.Message(&m)
		}
		q.q.Submit()
	case n < 70: // in order, as most consumers do
		from := q.oldest()
		s.settle(q, from, from+uint64(s.rng.IntN(30)))
	case n < 80:
		from := q.oldest() + uint64(s.rng.IntN(50))
		s.settle(q, from, from+uint64(s.rng.IntN(4)))
	case n < 84:
		if seq := q.oldest(); seq != 0 {
			q.mu.Lock()
			m := q.msgs[seq]
			m.deliveries++
			m.noted = true
			q.mu.Unlock()
			q.q.Note(seq, m.deliveries)
			q.q.Submit()
		}
	case n < 94:
		s.read(q)
	case n < 96 && len(s.queues) < 6:
		s.addQueue()
	case n < 97 && len(s.queues) > 1:
		q.q.Drop()
		for i := range s.queues {
			if s.queues[i] == q {
				s.queues = append(s.queues[:i], s.queues[i+1:]...)
				break
			}
		}
	default:
		s.wait(q)
	}
}

// oldest returns the lowest number that is not settled, 0 if there is none.
func (q *simQueue) oldest() (low uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for s, m := range q.msgs {
		if !m.settled && (low == 0 || s < low) {
			low = s
		}
	}
	return low
}

func (s *sim) settle(q *simQueue, from, to uint64) {
	q.mu.Lock()
	to = min(to, q.next-1)
	for n := from; n <= to; n++ {
		if m := q.msgs[n]; m != nil && !m.settled {
			m.settled, m.before = true, q.next
		}
	}
	q.mu.Unlock()
	q.q.Settle(from, to)
	if s.rng.IntN(2) == 0 {
		q.q.Submit()
	}
}

// wait lets the store get through with what q has submitted.
func (s *sim) wait(q *simQueue) {
	q.q.Submit()
	q.mu.Lock()
	defer q.mu.Unlock()
	last := uint64(0)
	for n := range q.msgs {
		last = max(last, n)
	}
	for q.upTo < last {
		q.told.Wait()
	}
}

type answer struct {
	msgs []store.Message
	err  error
}

func (s *sim) ask(q *simQueue, from, to uint64, maxBytes int) answer {
	ch := make(chan answer, 1)
	q.q.Read(from, to, maxBytes, func(ms []store.Message, err error) { ch <- answer{ms, err} })
	return <-ch
}

// read reads back some messages and compares them with the model.
func (s *sim) read(q *simQueue) {
	q.q.Submit()
	from := q.oldest()
	a := s.ask(q, from, from+uint64(s.rng.IntN(100)), s.rng.IntN(20000))
	if a.err != nil {
		s.fatalf("read: %v", a.err)
	}
	at := from
	for i := range a.msgs {
		m := &a.msgs[i]
		q.mu.Lock()
		known := q.msgs[m.Seq]
		for ; at < m.Seq; at++ {
			if x := q.msgs[at]; x != nil && !x.settled && !x.maybe && !s.faults {
				s.fatalf("read left out message %d of queue %d", at, q.id)
			}
		}
		q.mu.Unlock()
		at = m.Seq + 1
		if known == nil || known.settled {
			s.fatalf("read of queue %d returned message %d: %+v", q.id, m.Seq, known)
		}
		if err := checkMessage(q.id, m); err != nil && !s.faults {
			s.fatalf("read message %d of queue %d: %v", m.Seq, q.id, err)
		}
		m.Holder.Release(1)
	}
}

// crash cuts the power and starts again; clean closes the store first.
func (s *sim) crash(clean bool) *store.Report {
	if clean {
		for _, q := range s.queues {
			q.q.Submit()
		}
		if err := s.store.Close(); err != nil && !s.faults {
			s.fatalf("close: %v", err)
		}
	}
	var upTo []uint64
	for _, q := range s.queues {
		q.mu.Lock()
		upTo = append(upTo, q.upTo)
		q.mu.Unlock()
	}
	after := s.disk.Crash(s.rng.Uint64())
	if !clean {
		s.disk.Stop()
		_ = s.store.Close() // fails: there is no power
	}
	s.disk = after
	report := s.open()
	for i, old := range s.queues {
		s.queues[i] = s.recovered(old, upTo[i], clean)
	}
	for id := range s.store.Queues() {
		if slices.ContainsFunc(s.queues, func(q *simQueue) bool { return q.id == id }) {
			continue
		}
		q := s.store.Queue(id)
		if n := q.Len(); n > 0 && clean && !s.faults {
			s.fatalf("queue %d is dropped and has %d messages", id, n)
		}
		q.Drop() // as the broker does
	}
	return report
}

// recovered compares a queue with the model and returns the model of what it is now.
func (s *sim) recovered(old *simQueue, upTo uint64, clean bool) *simQueue {
	q := &simQueue{id: old.id, q: s.store.Queue(old.id), msgs: map[uint64]*simMsg{}, next: old.next}
	q.told = sync.NewCond(&q.mu)
	prev, synced := uint64(0), uint64(0)
	for seq, m := range old.msgs {
		if seq <= upTo && !m.settled && !m.maybe {
			synced = max(synced, seq) // one that was settled may be durable without having been written
		}
	}
	for e := range q.q.Recovered() {
		m := old.msgs[e.Seq]
		want := message(q.id, e.Seq)
		switch {
		case e.Seq <= prev:
			s.fatalf("queue %d: message %d comes after %d", q.id, e.Seq, prev)
		case m == nil:
			s.fatalf("queue %d: message %d was never appended", q.id, e.Seq)
		case m.settled && (clean || m.before <= synced) && !s.faults && !m.maybe:
			s.fatalf("queue %d: message %d is back; it was settled before message %d, and %d is durable", q.id, e.Seq, m.before, synced)
		case e.Size != len(body(q.id, e.Seq)), e.Expires != want.Expires, e.Priority != want.Priority, e.Flags != want.Flags:
			s.fatalf("queue %d: message %d is recovered as %+v", q.id, e.Seq, e)
		case clean && !s.faults && e.Deliveries != m.deliveries:
			s.fatalf("queue %d: message %d has %d deliveries, want %d", q.id, e.Seq, e.Deliveries, m.deliveries)
		}
		prev, q.upTo = e.Seq, e.Seq
		q.msgs[e.Seq] = &simMsg{seq: e.Seq, deliveries: e.Deliveries}
	}
	for seq, m := range old.msgs {
		if (seq <= upTo || clean && !s.faults) && !m.settled && !m.maybe && q.msgs[seq] == nil {
			s.fatalf("queue %d: message %d is gone, and %d was durable", q.id, seq, upTo)
		}
	}
	if q.q.Last() >= q.next {
		s.fatalf("queue %d: its last number is %d, and the highest was below %d", q.id, q.q.Last(), q.next)
	}
	a := answer{}
	for from := uint64(0); from < q.next; {
		if a = s.ask(q, from, q.next, 32<<10); len(a.msgs) == 0 {
			break
		}
		for i := range a.msgs {
			if err := checkMessage(q.id, &a.msgs[i]); err != nil && !s.faults {
				s.fatalf("queue %d: message %d after the restart: %v", q.id, a.msgs[i].Seq, err)
			}
			from = a.msgs[i].Seq + 1
		}
	}
	q.q.Handle(q, store.FlushSync)
	return q
}

// The power is cut at random moments. What was durable is there, in order; what was settled and durably so is not.
func TestPowerCut(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		s.open()
		for range 3 {
			for range 20 + s.rng.IntN(150) {
				s.step()
			}
			if r := s.crash(s.rng.IntN(4) == 0); r.ManifestLost {
				s.fatalf("the manifest is lost: %+v", r)
			}
		}
		if err := s.store.Close(); err != nil {
			s.fatalf("close: %v", err)
		}
	})
}

// The same while operations fail. No message that was reported durable is lost.
func TestFaults(t *testing.T) {
	each(t, func(t *testing.T, seed uint64) {
		s := newSim(t, seed)
		s.faults = true
		s.open()
		for range 2 {
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(seed, 2))
			bad := 0
			s.disk.Hook(func(op storetest.Op) error {
				mu.Lock()
				defer mu.Unlock()
				if op.Kind == "read" || op.Kind == "open" && strings.Contains(op.Name, "manifest") {
					return nil
				}
				if bad == 0 && rng.IntN(30) == 0 {
					bad = 1 + rng.IntN(4)
				}
				if bad > 0 {
					bad--
					return storetest.ErrInjected
				}
				return nil
			})
			for range 20 + s.rng.IntN(150) {
				s.step()
			}
			s.disk.Hook(nil)
			for _, q := range s.queues {
				s.wait(q)
			}
			s.crash(s.rng.IntN(4) == 0)
		}
		_ = s.store.Close()
	})
}
