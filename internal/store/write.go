package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// write writes the commit, or finds that it cannot: then its messages fail, and the rest waits for a better day.
func (s *Store) write(now time.Time) {
	c := &s.commit
	if c.bytes > 0 {
		try, err := s.failure == nil || !now.Before(s.probeAt), s.failure
		if try {
			err = s.tryWrite()
			if err != nil && !errors.Is(err, errNoRoom) {
				err = s.again(err)
			}
		}
		if err != nil {
			c.refuse(err)
			if c.bytes > 0 && !s.writeRest() {
				s.putBack()
			}
		}
		if try {
			s.fail(err, now)
		}
	}
	s.complete()
}

// again gives the current file up after a failed write or sync, and writes the commit to a new one.
func (s *Store) again(first error) error {
	s.abandon()
	err := s.tryWrite()
	if err == nil {
		return nil
	}
	if !errors.Is(err, errNoRoom) {
		s.abandon()
	}
	return errors.Join(first, err)
}

// writeRest writes what refuse has left, if there is a file to write it to.
func (s *Store) writeRest() bool {
	if s.active == nil {
		return false
	}
	err := s.tryWrite()
	if err != nil && !errors.Is(err, errNoRoom) {
		s.abandon()
	}
	return err == nil
}

// refuse takes the messages out of the commit.
func (c *commit) refuse(err error) {
	c.bytes = recordHeader * len(c.drops)
	c.records, c.sync = 0, false
	for i := range c.taken {
		t := &c.taken[i]
		if t.last != 0 {
			t.err = err
		}
		for k := range t.ops {
			t.ops[k].skip = true
		}
		c.bytes += pairsBytes(len(t.settles)) + pairsBytes(len(t.notes))
	}
}

// putBack gives the queues back what they settled and noted, for another try.
func (s *Store) putBack() {
	c := &s.commit
	var list []*Queue
	for i := range c.taken {
		t := &c.taken[i]
		if len(t.settles) == 0 && len(t.notes) == 0 {
			continue
		}
		t.q.mu.Lock()
		t.q.settles = append(append([]Range(nil), t.settles...), t.q.settles...)
		t.q.notes = append(append([]Range(nil), t.notes...), t.q.notes...)
		if !t.q.dirty && !t.q.dropped {
			t.q.dirty = true
			list = append(list, t.q)
		}
		t.q.mu.Unlock()
	}
	s.mu.Lock()
	s.list = append(s.list, list...)
	s.drops = append(s.drops, c.drops...)
	s.mu.Unlock()
}

// abandon gives the current file up. What was written before stays valid, up to end.
func (s *Store) abandon() {
	f := s.active
	if f == nil {
		return
	}
	f.broken = true
	f.off = f.end
	f.footer = footer{}
	s.retire()
}

// retire makes the current segment one of the log that nobody writes to.
func (s *Store) retire() {
	f := s.active
	s.active, s.unsynced = nil, false
	s.mu.Lock()
	s.activeAt.Store(nil)
	s.log = append(s.log, f)
	s.mu.Unlock()
	s.wakeJanitor()
}

// fail notes the state of the disk after an attempt to write.
func (s *Store) fail(err error, now time.Time) {
	s.failure = err
	if err != nil {
		s.probeAt = now.Add(s.opt.ProbeInterval)
	}
	s.alarm(AlarmFailed, err != nil, err)
}

// probe tries, while the disk fails and nothing waits, whether a commit could be written.
func (s *Store) probe(now time.Time) {
	err := s.ready(min(s.opt.CommitMax, int(s.opt.SegmentSize/4)), s.reserve())
	if err == nil {
		err = s.sync()
	}
	if err != nil && !errors.Is(err, errNoRoom) {
		s.abandon()
	}
	s.fail(err, now)
}

// errNoRoom is inside the errors of a disk that has no room for another segment.
var errNoRoom = errors.New("store: no segment to write to")

// reserve is what messages leave free of a segment for settlements: those are what frees a full disk, bytes.
func (s *Store) reserve() int { return int(min(256<<10, s.opt.SegmentSize/16)) }

// ready sees to it that the current segment has room for n bytes and leaves reserve.
func (s *Store) ready(n, reserve int) error {
	old := s.active
	if old != nil && old.room() >= int64(n+reserve) {
		return nil
	}
	f, err := s.nextFile(dataStart + int64(n+reserve) + int64(n)/8 + footerSlack)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	if old != nil {
		s.counters.footers.Add(uint64(len(old.footer.b)))
		if old.seal() != nil {
			old.broken = true // the next restart scans it; what waited for a sync had its own
		}
		s.retire()
		f.footer.b, old.footer.b = old.footer.b, nil
	}
	bounds := s.claim(f, true)
	s.active = f
	if err := f.begin(kindSegment, bounds); err != nil {
		return err
	}
	s.wakeJanitor() // a spare may be wanted
	return nil
}

// nextFile returns a file with room for size bytes in all: a spare one or a new one.
func (s *Store) nextFile(size int64) (*file, error) {
	size = max(size, s.opt.SegmentSize)
	if f := s.spare(size); f != nil {
		return f, nil
	}
	f, err := s.newFile(size)
	s.alarm(AlarmSpace, err != nil, err)
	return f, err
}

// spare takes a spare file of at least size bytes, nil if there is none.
func (s *Store) spare(size int64) *file {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.spares {
		if f.size >= size {
			s.spares = append(s.spares[:i], s.spares[i+1:]...)
			return f
		}
	}
	return nil
}

// writeMax is how much is written at once, bytes. Measured here, one pwrite of 4 MiB costs the kernel three times the CPU of
// sixteen of 256 KiB.
const writeMax = 256 << 10

// tryWrite encodes the commit for the current segment, writes it and, if a message waits for that, syncs it.
func (s *Store) tryWrite() error {
	c := &s.commit
	reserve := 0
	if c.records > 0 {
		reserve = s.reserve()
	}
	if err := s.ready(c.bytes, reserve); err != nil {
		return err
	}
	f := s.active
	c.encode(f)
	off := f.end
	for _, p := range c.pieces {
		b := p.ext
		if b == nil {
			b = c.buf[p.from:p.to]
		}
		for len(b) > 0 {
			n := min(len(b), writeMax)
			if _, err := f.f.WriteAt(b[:n], off); err != nil {
				return fmt.Errorf("write %s: %w", f.name, err)
			}
			b = b[n:]
			off += int64(n)
		}
	}
	if c.sync {
		if err := s.sync(); err != nil {
			return err
		}
	} else if c.soon && !s.unsynced {
		s.unsynced, s.syncAt = true, time.Now().Add(s.opt.FlushInterval)
	}
	f.end = f.off
	f.written.Store(f.end)
	s.counters.commits.Add(1)
	s.counters.messages.Add(uint64(c.records))
	s.counters.written.Add(uint64(c.size))
	return nil
}

// sync syncs the current segment.
func (s *Store) sync() error {
	s.slowSync.begin()
	begin := time.Now()
	err := s.active.f.Sync()
	took := int64(time.Since(begin))
	s.slowSync.end()
	s.counters.syncs.Add(1)
	if took > s.counters.longest.Load() {
		s.counters.longest.Store(took)
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", s.active.name, err)
	}
	s.unsynced = false
	return nil
}

// lateSync syncs what was written without a sync. If that fails the file is given up; nobody waits for what it held.
func (s *Store) lateSync() {
	if err := s.sync(); err != nil {
		s.abandon()
		s.probe(time.Now())
	}
}

// A watchdog raises an alarm while a sync takes longer than a limit.
type watchdog struct {
	limit   time.Duration
	timer   *time.Timer
	running atomic.Bool
	alarm   func(on bool)
}

func (w *watchdog) begin() {
	w.running.Store(true)
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, w.fire)
	} else {
		w.timer.Reset(w.limit)
	}
}

func (w *watchdog) end() {
	w.running.Store(false)
	if !w.timer.Stop() {
		w.alarm(false)
	}
}

// fire may come late, when the sync is over: then it takes back what it says.
func (w *watchdog) fire() {
	w.alarm(true)
	if !w.running.Load() {
		w.alarm(false)
	}
}

// finish syncs and seals the current segment, at the end.
func (s *Store) finish() {
	if s.active == nil {
		return
	}
	if s.unsynced {
		if err := s.sync(); err != nil {
			s.failure = errors.Join(s.failure, err)
			s.abandon()
			return
		}
	}
	if err := s.active.seal(); err != nil {
		s.failure = errors.Join(s.failure, err)
	}
	s.retire()
}
