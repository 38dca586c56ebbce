package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// A Report says what Open found.
type Report struct {
	Queues   int
	Messages int   // live
	Bytes    int64 // of their records
	Sealed   int   // files read by their footers
	Scanned  int   // files read record by record
	Torn     int   // writes at the end of a file that a crash cut short: nothing of them was promised
	// ManifestLost says that both manifests are damaged. Messages that were settled long ago may be back.
	ManifestLost bool
	Damaged      []Damage
	Took         time.Duration
}

// Damage is what was lost in one place.
type Damage struct {
	Queue    uint64
	Known    bool  // Queue and Messages are known; else Bytes of any queues are lost
	Messages int   // settlements that are lost count as none: their messages are back
	Bytes    int64 // of the file that no checksum vouches for
	File     string
	Err      error
}

// Open opens the store in dir, or makes an empty one. Damaged records do not keep it from opening; the report says what is
// lost. An error is that the disk cannot be read or written.
func Open(fs FS, dir string, opt Options) (*Store, *Report, error) {
	begin := time.Now()
	s := &Store{
		fs: fs, dir: dir, opt: opt.withDefaults(), queues: map[uint64]*Queue{},
		wake: make(chan struct{}, 1), janitor: make(chan struct{}, 1), done: make(chan struct{}), stop: make(chan struct{}),
	}
	s.reads.wake.L = &s.reads.mu
	s.slowSync = watchdog{limit: s.opt.SlowSync, alarm: func(on bool) { s.alarm(AlarmSlow, on, nil) }}
	r := recovery{s: s, report: &Report{}, bounds: map[uint64]uint64{}, dropped: map[uint64]bool{}}
	if err := r.run(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the message log: %w", err), r.close())
	}
	r.report.Took = time.Since(begin)
	s.others.Add(1 + s.opt.Readers)
	go s.run()  // ends when the store closes
	go s.tidy() // likewise
	for range s.opt.Readers {
		go s.reader() // likewise
	}
	return s, r.report, nil
}

// recovery is what Open knows while it works.
type recovery struct {
	s        *Store
	report   *Report
	manifest manifest
	live     map[uint64]*manifestQueue
	heads    map[*file]*fileHead
	bounds   map[uint64]uint64
	dropped  map[uint64]bool
	all      []*file
}

func (r *recovery) run() error {
	s := r.s
	if err := s.fs.MkdirAll(s.dir); err != nil {
		return err
	}
	m, found, damaged, err := s.manifest.open(s.fs, s.dir)
	if err != nil {
		return err
	}
	r.manifest = m
	r.report.ManifestLost = damaged && !found
	s.lastID = m.lastID
	r.live = make(map[uint64]*manifestQueue, len(m.queues))
	for i := range m.queues {
		r.live[m.queues[i].id] = &m.queues[i]
	}
	if err := r.openFiles(); err != nil {
		return err
	}
	for _, f := range s.extents {
		if err := r.extent(f); err != nil {
			return err
		}
	}
	for _, q := range s.queues {
		q.index.arrange()
		if mq := r.live[q.id]; mq != nil {
			for _, c := range mq.counts {
				if _, _, ok := q.index.find(c.From); ok {
					q.count(c.From, uint32(c.To))
				}
			}
		}
	}
	for i, f := range s.log {
		if err := r.segment(f, i == len(s.log)-1); err != nil {
			return err
		}
	}
	for _, q := range s.queues {
		r.report.Messages += q.index.count
		r.report.Bytes += q.index.bytes
	}
	r.report.Queues = len(s.queues)
	if r.report.ManifestLost {
		return s.manifest.write(s.snapshot(&plan{log: s.log, extents: s.extents}))
	}
	return nil
}

// openFiles opens all files and finds out what each is.
func (r *recovery) openFiles() error {
	s := r.s
	names, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	r.heads = map[*file]*fileHead{}
	for _, base := range names {
		stem, ok := strings.CutSuffix(base, fileSuffix)
		if !ok {
			continue
		}
		n := 0
		if _, err := fmt.Sscanf(stem, "%08d", &n); err != nil {
			continue
		}
		s.lastName = max(s.lastName, n)
		f := &file{name: s.dir + "/" + base}
		if f.f, err = s.fs.Open(f.name); err != nil {
			return err
		}
		r.all = append(r.all, f)
		if f.size, err = f.f.Size(); err != nil {
			return err
		}
		if err := r.sort(f); err != nil {
			return err
		}
	}
	byID := func(a, b *file) int { return cmp.Compare(a.id, b.id) }
	slices.SortFunc(s.log, byID)
	slices.SortFunc(s.extents, byID)
	for _, f := range s.log {
		for _, b := range r.heads[f].bounds {
			r.bounds[b.id] = b.end
		}
	}
	return nil
}

// sort puts f among the extents, the log's segments or those that are not needed.
func (r *recovery) sort(f *file) error {
	s := r.s
	h, ok, err := readHead(f.f)
	if err != nil && f.size >= dataStart {
		return fmt.Errorf("read %s: %w", f.name, err)
	}
	if !ok {
		if used, err := hasData(f); err != nil {
			return err
		} else if used {
			r.report.Damaged = append(r.report.Damaged, Damage{File: f.name, Bytes: f.size, Err: errors.New("the file does not say what it is")})
			return nil // left alone
		}
		s.gone = append(s.gone, f)
		return nil
	}
	f.id, f.salt, f.kind, f.bounds = h.id, h.salt, h.kind, h.bounds
	r.heads[f] = &h
	s.lastID = max(s.lastID, h.id)
	_, listed := slices.BinarySearch(r.manifest.extents, h.id)
	listed = listed || slices.Contains(r.manifest.extents, h.id)
	switch {
	case listed, r.report.ManifestLost && h.kind == kindExtent && h.end != 0:
		s.extents = append(s.extents, f)
	case h.kind == kindSegment && h.id >= r.manifest.logStart:
		s.log = append(s.log, f)
	default:
		s.gone = append(s.gone, f)
	}
	return nil
}

// hasData reports whether a file whose blocks do not say what it is was ever used.
func hasData(f *file) (bool, error) {
	b := make([]byte, min(dataStart, f.size))
	if n, err := f.f.ReadAt(b, 0); n < len(b) {
		return false, fmt.Errorf("read %s: %w", f.name, err)
	}
	for _, c := range b {
		if c != 0 {
			return true, nil
		}
	}
	return false, nil
}

// read calls yield for each record of f, from its footer if it has one, and leaves f sealed if it can.
func (r *recovery) read(f *file, last bool, yield func(*entry)) error {
	h := r.heads[f]
	if h.end != 0 {
		if b, err := readFooter(f.f, h); err == nil {
			f.end, f.off, f.sealed = int64(h.end), int64(h.end), true
			f.written.Store(f.end)
			r.report.Sealed++
			return eachFooter(b, dataStart, yield)
		}
	}
	r.report.Scanned++
	limit := f.size
	if end := r.bounds[f.id]; end != 0 {
		limit = min(limit, int64(end))
	} else if h.end != 0 {
		limit = min(limit, int64(h.end))
	}
	sc := scanner{f: f.f, salt: f.salt, limit: limit}
	torn := sc.run(func(e *entry) {
		f.footer.add(e)
		yield(e)
	}, func(d damage) { r.damaged(f, d) })
	if sc.err != nil {
		r.report.Damaged = append(r.report.Damaged, Damage{File: f.name, Bytes: limit - sc.end, Err: sc.err})
	}
	if last {
		r.report.Torn += len(torn)
	} else {
		for _, d := range torn {
			r.damaged(f, d)
		}
	}
	f.end, f.off = sc.end, sc.end
	f.written.Store(f.end)
	// What was read may be in the page cache only. From now on it counts as stored.
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.name, err)
	}
	if sc.err == nil {
		if err := f.seal(); err != nil {
			f.broken = true
		}
	}
	f.footer = footer{}
	return nil
}

func (r *recovery) damaged(f *file, d damage) {
	x := Damage{Queue: d.queue, Known: d.known, Bytes: d.size, File: f.name, Err: ErrDamaged}
	if d.typ == typeMessage {
		x.Messages = 1
	}
	ds := r.report.Damaged
	if n := len(ds); n > 0 && ds[n-1].Queue == x.Queue && ds[n-1].Known == x.Known && ds[n-1].File == x.File {
		ds[n-1].Messages += x.Messages
		ds[n-1].Bytes += x.Bytes
		return
	}
	r.report.Damaged = append(ds, x)
}

// extent takes in an extent's messages, as far as the manifest says that they live.
func (r *recovery) extent(f *file) error {
	all := r.report.ManifestLost
	var q *Queue
	var live []Range
	id, known := uint64(0), false // the queue that q and live are of
	return r.read(f, false, func(e *entry) {
		if e.typ != typeMessage {
			return
		}
		if !known || id != e.queue {
			id, known, q, live = e.queue, true, nil, nil
			if mq := r.live[id]; mq != nil {
				live = mq.live
			}
			if live != nil || all {
				q = r.s.queueLocked(id)
			}
		}
		if q == nil {
			return
		}
		q.last = max(q.last, e.seq)
		if all || contains(live, e.seq) {
			r.insert(q, f, e, f.kind == kindExtent)
		}
	})
}

// contains reports whether one of ranges, which are in order, holds seq.
func contains(ranges []Range, seq uint64) bool {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].To >= seq })
	return i < len(ranges) && ranges[i].From <= seq
}

// insert puts a message into the index. With cut it begins a chunk at each gap, because the messages in it may be in a
// file that is read later.
func (r *recovery) insert(q *Queue, f *file, e *entry, cut bool) {
	x := &q.index
	if n := len(x.chunks); n > 0 {
		if last := x.chunks[n-1].last(); e.seq <= last || cut && e.seq != last+1 {
			x.cut = true
		}
	}
	c, i := x.insert(e.seq, f, e.off, e.size)
	if i == 0 {
		c.meta = make([]meta, 0, cap(c.slots))
	}
	if q.inFile != f.id {
		q.inFile = f.id
		f.queues++
	}
	c.meta = append(c.meta, meta{e.expires, e.head, e.priority, e.flags})
	if e.deliveries != 0 {
		q.count(e.seq, e.deliveries)
	}
}

// arrange brings chunks that were inserted file by file into order, and joins what belongs together. A message that lies
// in two files, because one of them could not be given up, is taken from the first.
func (x *index) arrange() {
	slices.SortFunc(x.chunks, func(a, b *chunk) int { return cmp.Compare(a.base, b.base) })
	for i, c := range x.chunks[:max(0, len(x.chunks)-1)] {
		if x.chunks[i+1].base <= c.last() {
			x.rebuild()
			return
		}
	}
	kept := x.chunks[:0]
	for _, c := range x.chunks {
		if n := len(kept); n > 0 {
			p := kept[n-1]
			if p.file == c.file && len(p.slots)+len(c.slots) <= chunkMax && c.last()-p.base < 1<<32 {
				for i, s := range c.slots {
					s.delta += uint32(c.base - p.base)
					p.live |= 1 << len(p.slots)
					p.slots = append(p.slots, s)
					p.meta = append(p.meta, c.meta[i])
				}
				c.free()
				continue
			}
		}
		kept = append(kept, c)
	}
	clear(x.chunks[len(kept):])
	x.chunks = kept
}

// rebuild inserts every message again, in order.
func (x *index) rebuild() {
	type found struct {
		seq uint64
		f   *file
		slot
		meta
	}
	var all []found
	for i, c := range x.chunks {
		for k, s := range c.slots {
			all = append(all, found{c.base + uint64(s.delta), c.file, s, c.meta[k]})
		}
		x.kill(i, c.live)
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.seq, b.seq) })
	*x = index{}
	for i, m := range all {
		if i > 0 && m.seq == all[i-1].seq {
			continue
		}
		c, _ := x.insert(m.seq, m.f, m.off, m.size)
		c.meta = append(c.meta, m.meta)
	}
}

// segment applies a segment of the log.
func (r *recovery) segment(f *file, last bool) error {
	s := r.s
	var q *Queue
	err := r.read(f, last, func(e *entry) {
		if e.typ == typeHole || r.dropped[e.queue] {
			return
		}
		if q == nil || q.id != e.queue {
			q = s.queueLocked(e.queue)
		}
		switch e.typ {
		case typeMessage:
			if e.seq > q.last {
				q.last = e.seq
				r.insert(q, f, e, false)
			}
		case typeSettle:
			for _, p := range e.pairs {
				q.last = max(q.last, p.To)
				q.index.settle(p.From, p.To)
				if len(q.counts) > 0 && p.From <= p.To {
					q.uncount(p.From, p.To)
				}
			}
		case typeNote:
			for _, p := range e.pairs {
				if _, _, ok := q.index.find(p.From); ok {
					q.count(p.From, uint32(p.To))
				}
			}
		case typeDrop:
			r.dropped[q.id] = true
			delete(s.queues, q.id)
			s.dead = append(s.dead, q.index.chunks[q.index.head:])
			q = nil
		}
	})
	if err != nil && errors.Is(err, errFooter) {
		r.report.Damaged = append(r.report.Damaged, Damage{File: f.name, Bytes: f.size, Err: err})
		return nil
	}
	return err
}

// close closes what Open has opened, after an error.
func (r *recovery) close() error {
	errs := []error{r.s.manifest.close()}
	for _, f := range r.all {
		if f.f != nil {
			errs = append(errs, f.f.Close())
		}
	}
	return errors.Join(errs...)
}
