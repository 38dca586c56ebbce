package store

import (
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Store is the message log of one node. Its methods may be called by any goroutine.
type Store struct {
	// immutable
	fs  FS
	dir string
	opt Options

	ops       opPool
	pending   atomic.Int64 // bytes appended and not yet through a commit
	wake      chan struct{}
	janitor   chan struct{} // wakes the janitor
	done      chan struct{} // the committer has ended
	stop      chan struct{} // ends the janitor
	others    sync.WaitGroup
	alarms    alarms
	counters  counters
	closeOnce sync.Once
	closeErr  error

	// guarded by mu, which is held for a few instructions
	mu       sync.Mutex
	queues   map[uint64]*Queue
	list     []*Queue // the committer is to look at them
	urgent   bool     // one of them has messages
	drops    []uint64 // queues whose end is to be written
	dead     [][]*chunk
	closing  bool
	slow     chan struct{} // made when pending is over its limit
	log      []*file       // sealed or broken segments, oldest first
	extents  []*file
	spares   []*file
	gone     []*file // not needed; become spares or are removed
	lastName int     // highest number of a file's name
	lastID   uint64  // highest id of a file's use

	reads readQueue

	// owned by the committer
	active   *file
	commit   commit
	failure  error     // since the last write that failed for good
	probeAt  time.Time // when to try again
	unsynced bool      // the active file holds what is to be synced by syncAt
	syncAt   time.Time
	slowSync watchdog
	activeAt atomic.Pointer[file] // active, for others

	// owned by the janitor
	manifest manifestFiles
	budget   budget
}

// Stats is a look at the store.
type Stats struct {
	Commits      uint64 // writes of the committer
	Syncs        uint64
	Messages     uint64 // written; those settled before are not counted
	WrittenBytes uint64 // of commits
	MovedBytes   uint64 // written by the janitor
	FooterBytes  uint64
	Elided       uint64 // messages that were settled before they were written
	DiskBytes    int64  // of all files
	LiveBytes    int64  // of live messages' records
	PendingBytes int64
	Segments     int // of the log, the current one included
	Extents      int
	Spares       int
	LongestSync  time.Duration
}

type counters struct {
	commits, syncs, messages, written, moved, footers, elided atomic.Uint64
	longest                                                   atomic.Int64
}

// Queue returns the queue with the given number, and makes it if the store has not heard of it.
func (s *Store) Queue(id uint64) *Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queueLocked(id)
}

func (s *Store) queueLocked(id uint64) *Queue {
	q := s.queues[id]
	if q == nil {
		q = &Queue{s: s, id: id}
		s.queues[id] = q
	}
	return q
}

// Queues yields the numbers of all queues that the store knows, rising: after Open, for the caller to drop those that no
// definition names.
func (s *Store) Queues() iter.Seq[uint64] {
	s.mu.Lock()
	ids := make([]uint64, 0, len(s.queues))
	for id := range s.queues {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	slices.Sort(ids)
	return slices.Values(ids)
}

// Pressure returns nil, or, if the disk has fallen behind, a channel that is closed when it has caught up.
func (s *Store) Pressure() <-chan struct{} {
	if s.pending.Load() <= s.opt.PendingMax {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slow == nil {
		if s.pending.Load() <= s.opt.PendingMax {
			return nil
		}
		s.slow = make(chan struct{})
	}
	return s.slow
}

// unpend takes n bytes off what is pending.
func (s *Store) unpend(n int64) {
	if left := s.pending.Add(-n); left > s.opt.PendingMax/2 {
		return
	}
	s.mu.Lock()
	if s.slow != nil {
		close(s.slow)
		s.slow = nil
	}
	s.mu.Unlock()
}

// enqueue puts q on the committer's list, if add says so, and wakes the committer if there is reason to.
func (s *Store) enqueue(q *Queue, add, urgent bool) {
	s.mu.Lock()
	wake := len(s.list) == 0 || urgent && !s.urgent
	if add {
		s.list = append(s.list, q)
	}
	s.urgent = s.urgent || urgent
	s.mu.Unlock()
	if wake {
		s.wakeCommitter()
	}
}

func (s *Store) wakeCommitter() {
	select {
	case s.wake <- struct{}{}:
	default: // it has yet to answer the last one
	}
}

func (s *Store) wakeJanitor() {
	select {
	case s.janitor <- struct{}{}:
	default:
	}
}

// forget takes a dropped queue out and leaves its chunks to the janitor.
func (s *Store) forget(q *Queue, chunks []*chunk) {
	s.mu.Lock()
	delete(s.queues, q.id)
	s.drops = append(s.drops, q.id)
	if len(chunks) > 0 {
		s.dead = append(s.dead, chunks)
	}
	s.mu.Unlock()
	s.wakeCommitter()
	s.wakeJanitor()
}

// Stats looks at the store.
func (s *Store) Stats() Stats {
	c := &s.counters
	st := Stats{
		Commits: c.commits.Load(), Syncs: c.syncs.Load(), Messages: c.messages.Load(), WrittenBytes: c.written.Load(),
		MovedBytes: c.moved.Load(), FooterBytes: c.footers.Load(), Elided: c.elided.Load(),
		PendingBytes: s.pending.Load(), LongestSync: time.Duration(c.longest.Load()),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Segments, st.Extents, st.Spares = len(s.log), len(s.extents), len(s.spares)
	for _, fs := range [][]*file{s.log, s.extents, s.spares} {
		for _, f := range fs {
			st.DiskBytes += f.size
			st.LiveBytes += f.live.Load()
		}
	}
	if f := s.activeAt.Load(); f != nil {
		st.Segments++
		st.DiskBytes += f.size
		st.LiveBytes += f.live.Load()
	}
	return st
}

// Close writes and syncs what was submitted, tells the queues, seals the current segment and ends all goroutines. Nothing
// may be appended any more. The error is that of the last write or sync; what it means for the messages their handlers
// have been told.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closing = true
		s.mu.Unlock()
		s.wakeCommitter()
		<-s.done
		close(s.stop)
		s.reads.close()
		s.others.Wait()
		s.closeErr = s.closeFiles(s.failure)
	})
	return s.closeErr
}

// opPool keeps slices of ops, so that idle queues hold none.
type opPool struct {
	mu   sync.Mutex // guards the fields below
	free [][]op
	held int // ops that free has room for
}

const (
	opPoolMax = 1 << 15 // ops that are kept in all; 160 bytes each
	opCapMax  = 1 << 13 // ops of a slice that is kept
)

func (p *opPool) get() []op {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		ops := p.free[n-1]
		p.free[n-1] = nil
		p.free = p.free[:n-1]
		p.held -= cap(ops)
		return ops
	}
	return make([]op, 0, 8)
}

func (p *opPool) put(ops []op) {
	if cap(ops) > opCapMax {
		return
	}
	clear(ops)
	p.mu.Lock()
	if p.held+cap(ops) <= opPoolMax {
		p.free = append(p.free, ops[:0])
		p.held += cap(ops)
	}
	p.mu.Unlock()
}

// alarms remembers which alarms are on, so that each change is told once, in order.
type alarms struct {
	mu sync.Mutex // guards on, and is held while a change is told
	on [alarmKinds]bool
}

func (s *Store) alarm(kind AlarmKind, on bool, err error) {
	a := &s.alarms
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.on[kind] != on {
		a.on[kind] = on
		s.opt.Alarm(Alarm{kind, on, err})
	}
}

// closeFiles closes all files at the end.
func (s *Store) closeFiles(err error) error {
	errs := []error{err, s.manifest.close()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fs := range [][]*file{s.log, s.extents, s.spares, s.gone} {
		for _, f := range fs {
			errs = append(errs, f.f.Close())
		}
	}
	return errors.Join(errs...)
}
