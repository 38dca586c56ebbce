package store

import "time"

// A commit is what is written and synced at once.
type commit struct {
	taken   []taken
	drops   []uint64
	bytes   int  // of records at most
	records int  // messages that are to be written
	full    bool // there is no room for more messages
	sync    bool // a message waits for the sync
	soon    bool // it is not synced at once, but after FlushInterval

	buf    []byte
	pieces []piece
	size   int // bytes of all pieces
}

// taken is what a commit takes from one queue.
type taken struct {
	q       *Queue
	ops     []op // the queue's inflight
	settles []Range
	notes   []Range
	last    uint64 // number of the last message, 0 if there is none
	handler Handler
	err     error // why its messages are not written
}

// run is the committer. It ends when the store closes, once all that was submitted is written.
func (s *Store) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var lazyAt time.Time // when settlements have waited long enough
	for {
		s.mu.Lock()
		work := len(s.list) > 0 || len(s.drops) > 0
		urgent, closing := s.urgent, s.closing
		s.mu.Unlock()
		now := time.Now()
		if work && lazyAt.IsZero() {
			lazyAt = now.Add(s.opt.SettleDelay)
		}
		retry := s.failure == nil || !now.Before(s.probeAt)
		switch {
		case urgent, work && retry && (closing || !now.Before(lazyAt)):
			s.gather()
			s.write(now)
			lazyAt = time.Time{}
			continue
		case closing:
			s.finish()
			return
		case s.unsynced && !now.Before(s.syncAt):
			s.lateSync()
			continue
		}
		next := now.Add(time.Hour)
		if work && lazyAt.Before(next) {
			next = lazyAt
		}
		if s.unsynced && s.syncAt.Before(next) {
			next = s.syncAt
		}
		if s.failure != nil {
			if next.Before(s.probeAt) || !work {
				next = s.probeAt
			}
			if !work && retry {
				s.probe(now)
				continue
			}
		}
		timer.Reset(next.Sub(now))
		select {
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// gather fills the commit with what waits, up to its limit.
func (s *Store) gather() {
	c := &s.commit
	s.mu.Lock()
	list := s.list
	s.list = nil
	c.drops = append(c.drops[:0], s.drops...)
	s.drops = s.drops[:0]
	s.urgent = false
	s.mu.Unlock()
	limit := s.opt.CommitMax
	if f := s.active; f != nil {
		// Use the segment up, unless that would make a tiny commit.
		if room := int(f.room()) - s.reserve(); room > limit/8 {
			limit = min(limit, room)
		}
	}
	c.taken = c.taken[:0]
	c.bytes, c.records = recordHeader*len(c.drops), 0
	c.full, c.sync, c.soon = false, false, len(c.drops) > 0
	kept := list[:0]
	urgent := false
	for i, q := range list {
		if c.full || c.bytes >= limit {
			kept = append(kept, list[i:]...)
			urgent = true
			break
		}
		if more := c.take(q, limit); more {
			kept = append(kept, q)
			urgent = true
		}
	}
	s.mu.Lock()
	// Those left over wait behind those that came meanwhile, so that one queue does not keep others out.
	if len(s.list) > 0 {
		s.list = append(s.list, kept...)
	} else {
		clear(list[len(kept):])
		s.list = kept
	}
	s.urgent = s.urgent || urgent
	s.mu.Unlock()
}

// room returns how many bytes of records f has room for, with its footer.
func (f *file) room() int64 { return f.size - f.off - int64(len(f.footer.b)) - footerSlack }

const footerSlack = 4 << 10

// take moves what q has submitted into c, and reports whether something is left.
func (c *commit) take(q *Queue, limit int) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dropped {
		return false
	}
	n := len(c.taken)
	if n < cap(c.taken) { // what lies there has slices to use again
		c.taken = c.taken[:n+1]
	} else {
		c.taken = append(c.taken, taken{})
	}
	t := &c.taken[n]
	*t = taken{q: q, settles: t.settles[:0], notes: t.notes[:0], handler: q.handler}
	k := 0
	for k < len(q.pend) {
		o := &q.pend[k]
		if o.skip = o.state != opWaiting; !o.skip {
			size := padded(int(o.size))
			if c.records > 0 && c.bytes+size > limit {
				c.full = true
				break
			}
			c.bytes += size
			c.records++
			c.sync = c.sync || q.flush == FlushSync
			c.soon = c.soon || q.flush == FlushInterval
		}
		k++
	}
	if k > 0 {
		t.last = q.pend[k-1].m.Seq
	}
	if k == len(q.pend) {
		t.ops, q.pend, q.base = q.pend, nil, nil
	} else if k > 0 {
		t.ops = append(q.s.ops.get(), q.pend[:k]...)
		clear(q.pend[:k])
		if q.base == nil {
			q.base = q.pend[:0]
		}
		q.pend = q.pend[k:]
	}
	q.inflight = t.ops
	// What settles and notes speak of is in this commit or an earlier one, or they would not be there.
	if len(q.settles) > 0 || len(q.notes) > 0 {
		t.settles, q.settles = q.settles, t.settles
		t.notes, q.notes = q.notes, t.notes
		if cap(q.settles) > 64 {
			q.settles = nil
		}
		if cap(q.notes) > 64 {
			q.notes = nil
		}
		c.bytes += pairsBytes(len(t.settles)) + pairsBytes(len(t.notes))
		c.soon = c.soon || q.flush != FlushNone
	}
	q.dirty = len(q.pend) > 0
	return q.dirty
}

// pairsBytes returns what n pairs take in records.
func pairsBytes(n int) int { return (n+pairsMax-1)/pairsMax*recordHeader + 16*n }

// complete tells the index, the memory's holders and the queues what became of the commit.
func (s *Store) complete() {
	c := &s.commit
	f := s.active
	var bytes int64
	var elided uint64
	var parked []*readRequest
	for i := range c.taken {
		t := &c.taken[i]
		q := t.q
		q.mu.Lock()
		for k := range t.ops {
			o := &t.ops[k]
			bytes += int64(o.size)
			if o.state == opSettled {
				elided++
			}
			if o.skip || t.err != nil || o.state != opWaiting || q.dropped {
				continue
			}
			q.index.insert(o.m.Seq, f, o.off, o.size)
			if q.inFile != f.id {
				q.inFile = f.id
				f.queues++
			}
		}
		q.inflight = nil
		parked = append(parked, q.parked...)
		q.parked = nil
		q.mu.Unlock()
		for k := range t.ops {
			t.ops[k].m.release()
		}
		if t.ops != nil {
			s.ops.put(t.ops)
		}
	}
	if elided > 0 {
		s.counters.elided.Add(elided)
	}
	if bytes > 0 {
		s.unpend(bytes)
	}
	for i := range c.taken {
		switch t := &c.taken[i]; {
		case t.handler == nil || t.last == 0:
		case t.err != nil:
			t.handler.Failed(t.last, t.err)
		default:
			t.handler.Durable(t.last)
		}
		c.taken[i] = taken{settles: c.taken[i].settles, notes: c.taken[i].notes}
	}
	s.requeue(parked)
}
