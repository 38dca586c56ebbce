package store

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"time"
)

// A move is a live message that is copied to an extent.
type move struct {
	q    *Queue
	from *file
	entry
	to   uint32 // where its copy lies
	lost bool   // its record is damaged
}

// errUnreadable is inside the errors of a copy whose source cannot be read.
var errUnreadable = errors.New("store: a file cannot be read")

var errStopped = errors.New("store: closing")

// copyLive copies what is live in the files to a new extent, in order of queue and number, and points the index there. It
// returns nil if nothing is live. A file that cannot be read keeps its messages, and is stuck. The rate is limited unless in a hurry.
func (s *Store) copyLive(files []*file, hurry bool) (*file, error) {
	var moves []move
	total := int64(0)
	for _, f := range files {
		var q *Queue
		err := f.entries(func(e *entry) {
			if e.typ != typeMessage {
				return
			}
			if q == nil || q.id != e.queue {
				s.mu.Lock()
				q = s.queues[e.queue]
				s.mu.Unlock()
			}
			if q == nil || !q.lives(e.seq, f) {
				return
			}
			moves = append(moves, move{q: q, from: f, entry: *e})
			total += int64(padded(int(e.size)))
		})
		if err != nil {
			f.stuck = true
			return nil, fmt.Errorf("%w: %s: %w", errUnreadable, f.name, err)
		}
	}
	if len(moves) == 0 {
		return nil, nil
	}
	slices.SortFunc(moves, func(a, b move) int {
		return cmp.Or(cmp.Compare(a.q.id, b.q.id), cmp.Compare(a.seq, b.seq))
	})
	to, err := s.newFile(extentSize(total))
	if err != nil {
		return nil, err
	}
	s.claim(to, false)
	if err = to.begin(kindExtent, nil); err == nil {
		if err = s.copyMoves(to, moves, hurry); err == nil {
			err = to.seal()
		}
	}
	if err != nil {
		return nil, errors.Join(err, to.f.Close(), s.fs.Remove(to.name))
	}
	to.footer = footer{}
	to.written.Store(to.end)
	s.counters.moved.Add(uint64(to.end))
	s.point(to, moves)
	for _, f := range files {
		f.stuck = f.count.Load() > 0
	}
	return to, nil
}

// extentSize returns how large an extent for n bytes of records is made.
func extentSize(n int64) int64 {
	return (dataStart + n + n/16 + footerSlack + blockSize - 1) &^ (blockSize - 1)
}

// lives reports whether the index has seq live in f.
func (q *Queue) lives(seq uint64, f *file) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	c, _, ok := q.index.find(seq)
	return ok && c.file == f
}

// moveBlock is how much is read or written at once, bytes, but for larger records.
const moveBlock = 1 << 20

func (s *Store) copyMoves(to *file, moves []move, hurry bool) error {
	var in, out []byte
	unsynced := 0
	flush := func() error {
		if _, err := to.f.WriteAt(out, to.end); err != nil {
			return fmt.Errorf("write %s: %w", to.name, err)
		}
		to.end += int64(len(out))
		n := len(out)
		out = out[:0]
		if unsynced += n; unsynced >= 8*moveBlock { // so that the committer's syncs do not wait behind much
			unsynced = 0
			if err := to.f.Sync(); err != nil {
				return fmt.Errorf("sync %s: %w", to.name, err)
			}
		}
		return s.budget.spend(n, s.opt.MoveRate, hurry, s.stop)
	}
	to.off = to.end
	var last *Queue
	for i := 0; i < len(moves); {
		// Records that follow each other are read at once.
		first := &moves[i]
		n, size := 1, padded(int(first.size))
		for i+n < len(moves) && size < moveBlock/4 {
			m := &moves[i+n]
			if m.from != first.from || int64(m.off) != int64(first.off)+int64(size) {
				break
			}
			size += padded(int(m.size))
			n++
		}
		in = slices.Grow(in[:0], size)[:size]
		if got, err := first.from.f.ReadAt(in, int64(first.off)); got < size {
			first.from.stuck = true
			return fmt.Errorf("%w: %s: %w", errUnreadable, first.from.name, err)
		}
		for k := range n {
			m := &moves[i+k]
			rec := in[m.off-first.off:][:padded(int(m.size))]
			var h header
			if !h.parse(rec, m.from.salt) || h.queue != m.q.id || h.seq != m.seq || h.size() != int(m.size) ||
				crc32.Checksum(rec[recordHeader:m.size], castagnoli) != h.bodyCRC {
				m.lost = true
				continue
			}
			stamp(rec, to.salt)
			m.to = uint32(to.off)
			e := m.entry
			e.off = m.to
			to.footer.add(&e)
			out = append(out, rec...)
			to.off += int64(len(rec))
			if m.q != last {
				last = m.q
				to.queues++
			}
		}
		i += n
		if len(out) >= moveBlock {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// point makes the index say that the messages lie in to. What is lost is taken out of it, and reported.
func (s *Store) point(to *file, moves []move) {
	lost := map[*Queue]int{}
	for i := range moves {
		if m := &moves[i]; m.lost {
			m.q.lose(m.seq)
			lost[m.q]++
		}
	}
	for i := 0; i < len(moves); {
		i += moves[i].q.point(to, moves[i:])
	}
	for q, n := range lost {
		s.opt.Damaged(Damage{Queue: q.id, Known: true, Messages: n, File: moves[0].from.name, Err: ErrDamaged})
	}
}

// lose takes a message out of the index.
func (q *Queue) lose(seq uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n, _ := q.index.settle(seq, seq); n > 0 {
		delete(q.counts, seq)
	}
}

// point points the chunk of the first move to its messages' new places, and returns how many moves that took care of.
func (q *Queue) point(to *file, moves []move) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := &moves[0]
	c, _, ok := q.index.find(first.seq)
	if !ok || c.file != first.from {
		return 1 // settled meanwhile
	}
	n, live, last := 0, int64(0), c.last()
	var slots [chunkMax]uint32
	var covered uint64
	for n < len(moves) && moves[n].q == q && moves[n].seq <= last {
		m := &moves[n]
		n++
		k := c.from(m.seq)
		if k == len(c.slots) || c.base+uint64(c.slots[k].delta) != m.seq || c.live&(1<<k) == 0 {
			continue
		}
		slots[k] = m.to
		covered |= 1 << k
		live += int64(padded(int(m.size)))
	}
	if c.live != covered {
		return n // the file does not list all that it holds, because it is damaged: the chunk stays where it is
	}
	for k := range c.slots {
		c.slots[k].off = slots[k]
	}
	count := int64(bits.OnesCount64(covered))
	c.file.live.Add(-live)
	c.file.count.Add(-count)
	c.file = to
	to.live.Add(live)
	to.count.Add(count)
	return n
}

// A budget limits the janitor's writing.
type budget struct{ until time.Time }

// spend accounts for n bytes at rate bytes a second and waits until they are paid for. The error is that stop was closed.
func (b *budget) spend(n int, rate int64, hurry bool, stop <-chan struct{}) error {
	now := time.Now()
	if b.until.Before(now) {
		b.until = now
	}
	b.until = b.until.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	if hurry {
		b.until = now
	}
	t := time.NewTimer(time.Until(b.until))
	defer t.Stop()
	select {
	case <-stop:
		return errStopped
	case <-t.C:
		return nil
	}
}
