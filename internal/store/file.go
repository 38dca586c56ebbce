package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"sync/atomic"
)

// A file is a segment of the log or an extent. Both have the same form: two blocks that say what it is, then records,
// then, once it is sealed, a footer. It is made for a use with an id that rises and a salt of its own, which its records
// carry: what an earlier use left behind is not mistaken for this one's.
type file struct {
	// immutable during a use
	f    File
	name string
	id   uint64
	salt uint64
	kind uint8
	size int64 // allocated
	// bounds are those of its head.
	bounds []bound

	// owned by whoever fills it: the committer, or the janitor for an extent; nobody changes them once it is sealed
	off    int64 // where the next record goes
	end    int64 // of the records that are written and, where it was asked for, synced
	footer footer
	sealed bool // the footer is on disk
	broken bool // a write or sync failed: nothing is written to it again
	stuck  bool // the janitor could not read it: it stays where it is
	queues int  // queues with messages in it, about

	written atomic.Int64 // end, for readers
	live    atomic.Int64 // bytes of live messages' records
	count   atomic.Int64 // live messages
	pins    atomic.Int64 // readers that are at it
}

const (
	kindSegment = 1
	kindExtent  = 2

	blockSize = 4096
	dataStart = 2 * blockSize // where the first record lies
)

// fileHead is what blocks 0 and 1 say. Both are written when a use begins, block 1 again when the file is sealed, so that
// one damaged block does not cost the file.
type fileHead struct {
	kind       uint8
	id, salt   uint64
	end        uint64 // where the records end; 0 if the file is not sealed
	footerSize uint64 // the footer lies at end
	footerCRC  uint32
	// bounds are the ids of earlier segments that were given up, and where their records end: what lies behind was written
	// again, or refused.
	bounds []bound
}

type bound struct{ id, end uint64 }

// boundsMax is how many bounds a head has at most; older ones are left out.
const boundsMax = 64

// A head is the magic, the CRC32C of what follows, the kind, five numbers, and the bounds with their count.
const (
	headMagic = "WARRENLOG1\r\n\x1a\n\x00\x00"
	headFixed = 16 + 4 + 4 + 5*8 + 8
	headSize  = headFixed + 16*boundsMax
)

func (h *fileHead) put(b []byte) {
	le := binary.LittleEndian
	copy(b, headMagic)
	le.PutUint32(b[20:], uint32(h.kind))
	for i, v := range [...]uint64{h.id, h.salt, h.end, h.footerSize, uint64(h.footerCRC), uint64(len(h.bounds))} {
		le.PutUint64(b[24+8*i:], v)
	}
	for i, x := range h.bounds {
		le.PutUint64(b[headFixed+16*i:], x.id)
		le.PutUint64(b[headFixed+16*i+8:], x.end)
	}
	le.PutUint32(b[16:], crc32.Checksum(b[20:headSize], castagnoli))
}

func (h *fileHead) parse(b []byte) (ok bool) {
	le := binary.LittleEndian
	if len(b) < headSize || string(b[:16]) != headMagic || le.Uint32(b[16:]) != crc32.Checksum(b[20:headSize], castagnoli) {
		return false
	}
	*h = fileHead{kind: b[20]}
	var crc, n uint64
	for i, p := range [...]*uint64{&h.id, &h.salt, &h.end, &h.footerSize, &crc, &n} {
		*p = le.Uint64(b[24+8*i:])
	}
	h.footerCRC = uint32(crc)
	for i := range min(n, boundsMax) {
		h.bounds = append(h.bounds, bound{le.Uint64(b[headFixed+16*i:]), le.Uint64(b[headFixed+16*i+8:])})
	}
	return h.kind == kindSegment || h.kind == kindExtent
}

// readHead returns what f's first two blocks say: of two uses the later one, of one use what its seal says.
func readHead(f File) (h fileHead, ok bool, err error) {
	b := make([]byte, dataStart)
	n, err := f.ReadAt(b, 0)
	if n < len(b) {
		return h, false, err
	}
	var second fileHead
	ok = h.parse(b)
	if second.parse(b[blockSize:]) && (!ok || second.id >= h.id) {
		h, ok = second, true
	}
	return h, ok, nil
}

// claim gives f the next id, and makes it the active segment if it is to be one.
func (s *Store) claim(f *file, active bool) (bounds []bound) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastID++
	f.id = s.lastID
	if !active {
		return nil
	}
	s.activeAt.Store(f)
	for _, f := range s.log[max(0, len(s.log)-boundsMax):] {
		if !f.sealed {
			bounds = append(bounds, bound{f.id, uint64(f.end)})
		}
	}
	return bounds
}

// begin starts a new use of f, which was claimed. The blocks are on disk with the first sync.
func (f *file) begin(kind uint8, bounds []bound) error {
	f.kind, f.salt, f.bounds = kind, rand.Uint64(), bounds
	f.off, f.end, f.sealed, f.broken, f.queues = dataStart, dataStart, false, false, 0
	f.written.Store(0)
	f.live.Store(0)
	f.count.Store(0)
	f.footer.reset()
	h := fileHead{kind: kind, id: f.id, salt: f.salt, bounds: bounds}
	b := make([]byte, dataStart)
	h.put(b)
	h.put(b[blockSize:])
	if _, err := f.f.WriteAt(b, 0); err != nil {
		return fmt.Errorf("begin %s: %w", f.name, err)
	}
	return nil
}

// seal writes the footer and syncs the file. A file that could not be sealed is scanned by the next restart.
func (f *file) seal() error {
	if f.sealed || f.broken {
		return nil
	}
	b := f.footer.b
	h := fileHead{
		kind: f.kind, id: f.id, salt: f.salt, bounds: f.bounds,
		end: uint64(f.end), footerSize: uint64(len(b)), footerCRC: crc32.Update(uint32(f.salt), castagnoli, b),
	}
	if _, err := f.f.WriteAt(b, f.end); err != nil {
		return fmt.Errorf("write the footer of %s: %w", f.name, err)
	}
	block := make([]byte, blockSize)
	h.put(block)
	if _, err := f.f.WriteAt(block, blockSize); err != nil {
		return fmt.Errorf("seal %s: %w", f.name, err)
	}
	if err := f.f.Sync(); err != nil {
		return fmt.Errorf("seal %s: %w", f.name, err)
	}
	f.sealed = true
	return nil
}

// readFooter returns the footer of a file whose seal is h; an error if there is none, or a damaged one.
func readFooter(f File, h *fileHead) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if h.end == 0 || h.end < dataStart || h.footerSize > uint64(size) || h.end > uint64(size)-h.footerSize {
		return nil, errFooter
	}
	b := make([]byte, h.footerSize)
	if n, err := f.ReadAt(b, int64(h.end)); n < len(b) {
		return nil, fmt.Errorf("read a footer: %w", err)
	}
	if crc32.Update(uint32(h.salt), castagnoli, b) != h.footerCRC {
		return nil, errFooter
	}
	return b, nil
}

// entries calls yield for each record of a file that nobody fills, from its footer or, if it has none, its records.
func (f *file) entries(yield func(*entry)) error {
	h, ok, err := readHead(f.f)
	if err != nil {
		return err
	}
	if ok && h.id == f.id && h.end != 0 {
		if b, err := readFooter(f.f, &h); err == nil {
			return eachFooter(b, dataStart, yield)
		}
	}
	sc := scanner{f: f.f, salt: f.salt, limit: f.end}
	sc.run(yield, func(damage) {})
	return sc.err
}

// newFile makes a file with room for size bytes. Its name is durable when it returns.
func (s *Store) newFile(size int64) (*file, error) {
	s.mu.Lock()
	s.lastName++
	name := fmt.Sprintf("%s/%08d%s", s.dir, s.lastName, fileSuffix)
	s.mu.Unlock()
	f, err := s.fs.Open(name)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	if err = f.Allocate(size); err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preallocate %s: %w", name, err), f.Close(), s.fs.Remove(name))
	}
	return &file{f: f, name: name, size: size}, nil
}

const fileSuffix = ".log"
