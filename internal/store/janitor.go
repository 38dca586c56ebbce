package store

import (
	"errors"
	"slices"
	"time"
)

// tidy is the janitor. It frees what holds nothing live, keeps the log within its limit and a spare file ready. It ends
// when the store closes.
func (s *Store) tidy() {
	defer s.others.Done()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		if err := s.maintain(); err != nil {
			retry.Reset(s.opt.ProbeInterval)
		}
		select {
		case <-s.stop:
			return
		case <-s.janitor:
		case <-retry.C:
		}
	}
}

// maintain does what there is to do. After an error it is to be called again.
func (s *Store) maintain() error {
	s.bury()
	for {
		s.mu.Lock()
		next := plan{log: slices.Clone(s.log), extents: slices.Clone(s.extents)}
		s.mu.Unlock()
		next.free()
		err := s.moveOut(&next)
		if err == nil {
			err = s.merge(&next)
		}
		if !next.changed {
			return errors.Join(err, s.recycle(), s.keepSpare())
		}
		if perr := s.put(&next); perr != nil {
			return errors.Join(err, perr, s.keepSpare())
		}
		if err != nil {
			return errors.Join(err, s.recycle(), s.keepSpare())
		}
	}
}

// bury takes dropped queues' messages off their files' counts.
func (s *Store) bury() {
	s.mu.Lock()
	dead := s.dead
	s.dead = nil
	s.mu.Unlock()
	for _, chunks := range dead {
		x := index{chunks: chunks}
		for i, c := range chunks {
			if c != nil {
				x.kill(i, c.live)
			}
		}
	}
}

// A plan is the files as they are to be once the manifest says so.
type plan struct {
	log, extents []*file
	gone         []*file // no longer needed
	made         []*file // new extents
	changed      bool
}

// free drops files without live messages: segments from the old end of the log only, so that their settlements outlive
// the messages settled, and extents anywhere.
func (p *plan) free() {
	n := 0
	for n < len(p.log) && p.log[n].count.Load() == 0 {
		n++
	}
	p.gone = append(p.gone, p.log[:n]...)
	p.log = p.log[n:]
	kept := p.extents[:0]
	for _, f := range p.extents {
		if f.count.Load() == 0 {
			p.gone = append(p.gone, f)
		} else {
			kept = append(kept, f)
		}
	}
	p.extents = kept
	p.changed = p.changed || len(p.gone) > 0
}

// logBytes returns what the log takes on disk.
func (s *Store) logBytes(p *plan) int64 {
	var n int64
	for _, f := range p.log {
		n += f.size
	}
	if f := s.activeAt.Load(); f != nil {
		n += f.size
	}
	return n
}

// adoptRun is how many live bytes a queue needs on average in a segment that becomes an extent as it is: with less its
// messages are too far apart to be read in order, and are copied side by side.
const adoptRun = 32 << 10

// moveOut takes the oldest segments out of a log that is over its limit. One that is mostly live becomes an extent as it
// is; of others the live messages are copied to one.
func (s *Store) moveOut(p *plan) error {
	for len(p.log) > 0 && s.logBytes(p) > s.opt.LogMax {
		f := p.log[0]
		live := f.live.Load()
		adopt := f.sealed && 2*live >= f.end-dataStart && live >= adoptRun*int64(f.queues)
		if !adopt {
			hurry := s.logBytes(p) > 2*s.opt.LogMax
			made, err := s.copyLive([]*file{f}, hurry)
			switch {
			case errors.Is(err, errUnreadable):
				adopt = true // it stays where it is; what can be read of it can be read
			case err != nil:
				return err
			case made != nil:
				p.made = append(p.made, made)
				p.extents = append(p.extents, made)
				adopt = f.stuck
			}
			if !adopt {
				p.gone = append(p.gone, f)
			}
		}
		if adopt {
			p.extents = append(p.extents, f)
		}
		p.log = p.log[1:]
		p.changed = true
	}
	return nil
}

// merge copies what is live in extents that hold little to one extent.
func (s *Store) merge(p *plan) error {
	var sparse, small []*file
	for _, f := range p.extents {
		switch live := f.live.Load(); {
		case f.stuck || slices.Contains(p.made, f):
		case float64(live) < s.opt.MergeBelow*float64(f.size):
			sparse = append(sparse, f)
		case f.size < s.opt.SegmentSize/smallExtents:
			small = append(small, f)
		}
	}
	if len(small) >= smallExtents {
		sparse = append(sparse, small...)
	}
	var from []*file
	var total, size int64
	for _, f := range sparse {
		if live := f.live.Load(); total+live <= s.opt.SegmentSize {
			from, total, size = append(from, f), total+live, size+f.size
		}
	}
	if 2*extentSize(total) > size && len(from) < smallExtents {
		return nil // it would not save much
	}
	made, err := s.copyLive(from, false)
	if errors.Is(err, errUnreadable) {
		return nil
	}
	if err != nil {
		return err
	}
	from = slices.DeleteFunc(from, func(f *file) bool { return f.stuck })
	p.extents = slices.DeleteFunc(p.extents, func(f *file) bool { return slices.Contains(from, f) })
	p.gone = append(p.gone, from...)
	if made != nil {
		p.made = append(p.made, made)
		p.extents = append(p.extents, made)
	}
	p.changed = true
	return nil
}

// smallExtents is how many extents of less than that part of a segment make it worth merging them.
const smallExtents = 8

// put makes p what is, on disk and here.
func (s *Store) put(p *plan) error {
	m := s.snapshot(p)
	if err := s.manifest.write(m); err != nil {
		// What was copied is used from where it is now; the manifest will name it when it can be written.
		s.mu.Lock()
		s.extents = append(s.extents, p.made...)
		s.mu.Unlock()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The committer may have added segments behind those of the plan, and nobody else changes the rest.
	for len(s.log) > 0 && p.moved(s.log[0]) {
		s.log = s.log[1:]
	}
	s.extents = p.extents
	s.gone = append(s.gone, p.gone...)
	return nil
}

// moved reports whether p takes f out of the log.
func (p *plan) moved(f *file) bool {
	return slices.Contains(p.gone, f) || slices.Contains(p.extents, f)
}

// snapshot returns the manifest of p.
func (s *Store) snapshot(p *plan) *manifest {
	s.mu.Lock()
	m := &manifest{lastID: s.lastID, logStart: s.lastID + 1}
	if f := s.activeAt.Load(); f != nil {
		m.logStart = f.id
	}
	if i := slices.IndexFunc(s.log, func(f *file) bool { return !p.moved(f) }); i >= 0 {
		m.logStart = s.log[i].id
	}
	var queues []*Queue
	if len(p.extents) > 0 {
		queues = make([]*Queue, 0, len(s.queues))
		for _, q := range s.queues {
			queues = append(queues, q)
		}
	}
	s.mu.Unlock()
	in := make(map[*file]bool, len(p.extents))
	for _, f := range p.extents {
		m.extents = append(m.extents, f.id)
		in[f] = true
	}
	slices.SortFunc(queues, func(a, b *Queue) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	for _, q := range queues {
		if mq := q.snapshot(in); len(mq.live) > 0 {
			m.queues = append(m.queues, mq)
		}
	}
	return m
}

// snapshot returns which of q's messages are live in the files given. They are q's oldest.
func (q *Queue) snapshot(in map[*file]bool) manifestQueue {
	q.mu.Lock()
	defer q.mu.Unlock()
	mq := manifestQueue{id: q.id}
	for _, c := range q.index.chunks[q.index.head:] {
		if c == nil {
			continue
		}
		if !in[c.file] {
			break
		}
		for i, sl := range c.slots {
			if c.live&(1<<i) == 0 {
				continue
			}
			seq := c.base + uint64(sl.delta)
			if n := len(mq.live); n > 0 && mq.live[n-1].To+1 == seq {
				mq.live[n-1].To = seq
			} else {
				mq.live = append(mq.live, Range{seq, seq})
			}
		}
	}
	if n := len(mq.live); n > 0 {
		for seq, deliveries := range q.counts {
			if seq <= mq.live[n-1].To {
				mq.counts = append(mq.counts, Range{seq, uint64(deliveries)})
			}
		}
	}
	return mq
}

// recycle keeps files that are not needed any more as spares, or removes them, once no reader is at them.
func (s *Store) recycle() error {
	s.mu.Lock()
	var remove []*file
	kept := s.gone[:0]
	for _, f := range s.gone {
		switch {
		case f.pins.Load() > 0:
			kept = append(kept, f)
		case f.size == s.opt.SegmentSize && !f.broken && len(s.spares) < s.opt.Spares:
			s.spares = append(s.spares, f)
		default:
			remove = append(remove, f)
		}
	}
	clear(s.gone[len(kept):])
	s.gone = kept
	s.mu.Unlock()
	var errs []error
	for _, f := range remove {
		errs = append(errs, f.f.Close(), s.fs.Remove(f.name))
	}
	return errors.Join(errs...)
}

// keepSpare makes a spare file if there is none, so that the committer does not wait for one, and a full disk shows
// before it is needed.
func (s *Store) keepSpare() error {
	s.mu.Lock()
	have := len(s.spares) > 0
	s.mu.Unlock()
	if have {
		s.alarm(AlarmSpace, false, nil)
		return nil
	}
	f, err := s.newFile(s.opt.SegmentSize)
	s.alarm(AlarmSpace, err != nil, err)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.spares = append(s.spares, f)
	s.mu.Unlock()
	return nil
}
