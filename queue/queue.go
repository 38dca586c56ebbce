package queue

import (
	"sync"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// Owner is the broker as a queue sees it. Its methods are called by the queue's runner and must not wait for a queue.
type Owner interface {
	// DeadLetter publishes m, which is borrowed, to s.DLX. If arrived is not nil it is called, by any goroutine, when the
	// letter is safe in all queues that it goes to, or goes nowhere.
	DeadLetter(q *Queue, s *Settings, m *amqp.Message, why Reason, arrived func())
	// Lost says that n messages could not be read back from disk.
	Lost(q *Queue, n int)
	// Expired says that nobody has used the queue for s.Expires: delete it, from another goroutine.
	Expired(q *Queue)
}

// A Queue is one queue. Its methods may be called by any goroutine.
type Queue struct {
	// immutable
	cfg      Config
	owner    Owner
	inboxMax int // bytes

	// guarded by mu, which is held for a few instructions
	mu      sync.Mutex
	inbox   []Event
	bytes   int             // of the messages in inbox
	running bool            // somebody is the runner
	closed  bool            // the queue is deleted, or stopped
	stopped bool            // it was stopped
	drained chan struct{}   // made by a publisher that waits, closed when the inbox is taken
	slow    <-chan struct{} // what publishers wait for while the disk is behind; nil if it is not
	timer   *time.Timer
	timerAt int64 // Unix milliseconds when timer fires, 0 if it is not armed

	// owned by the runner
	state state
	work  *work // nil while nobody runs the queue
}

// work is the scratch memory of a runner. An idle queue has none.
type work struct {
	out   effects // owned by the runner
	spare []Event // for the next inbox; guarded by the queue's mu
}

var works = sync.Pool{New: func() any { return new(work) }}

// An Event is something that happens to a queue.
type Event struct {
	kind    kind
	verdict verdict
	handle  Handle

	msg  *amqp.Message
	from Publisher
	seq  uint64
	call *call

	letter bool // a dead letter: from wants to know if it is safe or refused, or else lost
}

type kind uint8

const (
	kindPublish kind = iota
	kindSettle
	kindResume
	kindTick
	kindDurable // messages up to seq are on disk
	kindFailed  // messages up to seq are not, and will not be
	kindArrived // the dead letter of message seq is where it goes to
	kindCall
)

type call struct {
	f    func(now int64)
	done chan struct{} // nil if nobody waits
	gone func()        // called in place of f if the queue is closed; may be nil
}

// Publish is the event of a message. m is borrowed until Submit returns. If from is not nil it is told the fate of seq.
func Publish(m *amqp.Message, from Publisher, seq uint64) Event {
	return Event{kind: kindPublish, msg: m, from: from, seq: seq}
}

// PublishLetter is the event of a dead letter. from is told false only if the queue wanted it and could not keep it.
func PublishLetter(m *amqp.Message, from Publisher) Event {
	return Event{kind: kindPublish, msg: m, from: from, letter: true}
}

// Ack is the event of an acknowledgement.
func Ack(h Handle) Event { return Event{kind: kindSettle, handle: h, verdict: acked} }

// Reject is the event of a basic.reject or basic.nack.
func Reject(h Handle, requeue bool) Event {
	if requeue {
		return Event{kind: kindSettle, handle: h, verdict: requeued}
	}
	return Event{kind: kindSettle, handle: h, verdict: rejected}
}

// Resumed is the event of a session having room again, see Session.
func Resumed() Event { return Event{kind: kindResume} }

// DefaultInboxMax is how many bytes of messages may wait in an inbox before publishers have to.
const DefaultInboxMax = 16 << 20

// New makes a queue. With a storage, a durable queue keeps its persistent messages there, and begins with those that were
// there before; any queue leaves there what the cache has no room for.
func New(cfg Config, set Settings, owner Owner, inboxMax int, st Storage) *Queue {
	q := &Queue{cfg: cfg, owner: owner, inboxMax: inboxMax}
	q.state = state{cfg: &q.cfg, set: set, ready: newReady(cfg.MaxPriority), lastUsed: time.Now().UnixMilli()}
	if st.Open != nil {
		d := &q.state.disk
		*d = disk{cache: st.Cache, whole: q.state.whole()}
		d.open = func() Log {
			log := st.Open()
			log.Handle(handler{q}, q.state.set.Flush)
			return log
		}
		if st.Recovered {
			d.log = d.open()
			q.state.recover()
		}
	}
	if set.Expires > 0 {
		q.mu.Lock() // the timer may fire before arm returns
		q.arm()
		q.mu.Unlock()
	}
	return q
}

// Start has a queue look at the messages that it found on disk: some may have expired, or be more than a limit allows. The
// owner calls it when their dead letters find the exchanges and queues that they go to.
func (q *Queue) Start() {
	if q.state.disk.log != nil {
		q.Resume()
	}
}

// Config returns how the queue was declared. The caller does not change it.
func (q *Queue) Config() *Config { return &q.cfg }

// Submit hands over events, in order. If nobody runs the queue, the caller does until they and what comes meanwhile are
// used up. Otherwise they are left in the inbox, and if that holds more than its limit the caller waits: that is how a
// queue slows its publishers. events is borrowed; the messages in it are too.
func (q *Queue) Submit(events []Event) {
	q.mu.Lock()
	if !q.running && !q.closed {
		q.running = true
		q.work = works.Get().(*work)
		q.mu.Unlock()
		q.step(events)
		q.run(true)
		q.waitForDisk(events)
		return
	}
	if q.closed {
		q.mu.Unlock()
		q.refuse(events)
		return
	}
	var wait <-chan struct{}
	if publishes := q.leave(events); publishes {
		wait = q.slow // closed long ago, if the disk has caught up
		if q.bytes > q.inboxMax {
			wait = q.full()
		}
	}
	q.mu.Unlock()
	if wait != nil {
		<-wait
	}
}

// Post hands over one event without ever running the queue or waiting: for callers that run another queue.
func (q *Queue) Post(ev Event) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		q.refuse([]Event{ev})
		return
	}
	start := !q.running
	if start {
		q.running = true
		q.work = works.Get().(*work)
	}
	q.leave([]Event{ev})
	q.mu.Unlock()
	if start {
		go q.run(false) // ends when the inbox is empty
	}
}

// leave puts events in the inbox, with a reference for each message, and reports whether there are messages among them.
// q.mu is held.
func (q *Queue) leave(events []Event) (publishes bool) {
	for i := range events {
		if m := events[i].msg; m != nil {
			m.Retain(1)
			q.bytes += m.Footprint()
			publishes = true
		}
	}
	if q.inbox == nil {
		q.inbox, q.work.spare = q.work.spare, nil
	}
	q.inbox = append(q.inbox, events...)
	return publishes
}

// full returns what a publisher waits for when the inbox holds more than its limit. q.mu is held.
func (q *Queue) full() <-chan struct{} {
	if q.drained == nil {
		q.drained = make(chan struct{})
	}
	return q.drained
}

// refuse answers for events that came after the queue was deleted: their messages are gone with it. Those that come after it
// was stopped are not safe anywhere.
func (q *Queue) refuse(events []Event) {
	q.mu.Lock()
	gone := !q.stopped
	q.mu.Unlock()
	for i := range events {
		switch ev := &events[i]; {
		case ev.from != nil:
			ev.from.Confirmed([]uint64{ev.seq}, gone)
		case ev.call != nil:
			if ev.call.gone != nil {
				ev.call.gone()
			}
			if ev.call.done != nil {
				close(ev.call.done)
			}
		}
	}
}

// runRounds is how many inboxes a goroutine that came by with events of its own empties for others before it leaves the
// queue to a goroutine made for that.
const runRounds = 8

// run empties the inbox. The caller is the runner, and ceases to be.
func (q *Queue) run(guest bool) {
	var used []Event
	for round := 0; ; round++ {
		q.mu.Lock()
		if used != nil {
			q.work.spare = used[:0]
		}
		if len(q.inbox) == 0 {
			if q.inbox != nil {
				q.work.spare, q.inbox = q.inbox, nil
			}
			q.arm()
			works.Put(q.work)
			q.work = nil
			q.running = false
			q.mu.Unlock()
			return
		}
		if guest && round == runRounds {
			q.mu.Unlock()
			go q.run(false) // ends when the inbox is empty
			return
		}
		batch := q.inbox
		q.inbox, q.work.spare = q.work.spare, nil
		q.bytes = 0
		if q.drained != nil {
			close(q.drained)
			q.drained = nil
		}
		q.mu.Unlock()
		q.step(batch)
		for i := range batch {
			if m := batch[i].msg; m != nil {
				m.Release(1)
			}
			batch[i] = Event{}
		}
		if cap(batch) > 1<<14 {
			batch = nil
		}
		used = batch
	}
}

// step applies a batch of events and hands over its effects. The caller is the runner.
func (q *Queue) step(events []Event) {
	s, out := &q.state, &q.work.out
	now := time.Now().UnixMilli()
	for i := range events {
		ev := &events[i]
		if s.closed {
			q.refuse(events[i : i+1])
			continue
		}
		if s.resting && ev.kind <= kindTick {
			if ev.from != nil {
				out.confirms = append(out.confirms, confirm{ev.from, ev.seq, false})
			}
			continue
		}
		switch ev.kind {
		case kindPublish:
			result := s.publish(now, ev.msg, out)
			switch {
			case ev.from == nil:
			case result == pending:
				s.disk.pending = append(s.disk.pending, pendingConfirm{s.seq, ev.from, ev.seq})
			default:
				out.confirms = append(out.confirms, confirm{ev.from, ev.seq, result == taken || ev.letter})
			}
		case kindSettle:
			s.settle(ev.handle, ev.verdict, out)
		case kindResume:
			s.resume()
		case kindTick:
			s.tick(now, out)
		case kindDurable, kindFailed:
			s.durable(ev.seq, ev.kind == kindDurable, out)
		case kindArrived:
			s.done(&item{seq: ev.seq, logged: true})
		case kindCall:
			s.settled(now, q, out)
			ev.call.f(now)
			if ev.call.done != nil {
				close(ev.call.done)
			}
		}
	}
	s.finish(now, q, out)
	if slow := s.submit(); slow != nil {
		q.mu.Lock()
		q.slow = slow
		q.mu.Unlock()
	}
	out.flush(q)
}

// waitForDisk makes a publisher wait while the disk is behind.
func (q *Queue) waitForDisk(events []Event) {
	q.mu.Lock()
	slow := q.slow
	q.slow = nil
	q.mu.Unlock()
	if slow == nil {
		return
	}
	for i := range events {
		if events[i].msg != nil {
			<-slow
			return
		}
	}
}

// arrived returns a function that settles message seq: its dead letter is safe elsewhere.
func (q *Queue) arrived(seq uint64) func() {
	return func() { q.Post(Event{kind: kindArrived, seq: seq}) }
}

// settled brings the queue to rest before a call looks at it.
func (s *state) settled(now int64, q *Queue, out *effects) {
	s.finish(now, q, out)
	out.flushDeliveries()
}

// do runs f as the runner, after what was submitted before, and waits for it. It returns false, without f having run, if
// the queue is deleted.
func (q *Queue) do(f func(now int64)) bool {
	c := &call{done: make(chan struct{})}
	ran := false
	c.f = func(now int64) { f(now); ran = true }
	q.Submit([]Event{{kind: kindCall, call: c}})
	<-c.done
	return ran
}

// arm sets the timer to the state's deadline. The caller is the runner, or nobody else knows q yet; q.mu is held.
func (q *Queue) arm() {
	at := q.state.deadline()
	if at == q.timerAt || q.closed {
		return
	}
	q.timerAt = at
	if at == 0 {
		q.timer.Stop()
		return
	}
	wait := time.Until(time.UnixMilli(at))
	if q.timer == nil {
		q.timer = time.AfterFunc(wait, q.tick)
	} else {
		q.timer.Reset(wait)
	}
}

func (q *Queue) tick() {
	q.mu.Lock()
	q.timerAt = 0
	q.mu.Unlock()
	q.Submit([]Event{{kind: kindTick}})
}
