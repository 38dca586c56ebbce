package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The manifest says where the log begins and which files are extents, and, for the messages in extents, which are live:
// the settlements of those may be in segments that are gone. It is written whole, in turns to two files that are
// overwritten in place, so that a torn write leaves the one before, and a full disk does not stand in the way. A file that
// it no longer names is used again only after it is on disk.
type manifest struct {
	gen      uint64 // rises with each one written
	lastID   uint64 // no file's use has a higher id, unless begun later
	logStart uint64 // segments with a lower id are free
	extents  []uint64
	queues   []manifestQueue // rising
}

// manifestQueue is what the manifest says of one queue's messages in extents.
type manifestQueue struct {
	id     uint64
	live   []Range
	counts []Range // seq and deliveries
}

// A manifest on disk is: magic, CRC32C of what follows, length of the rest, generation; then varints.
const (
	manifestMagic = "WRNMFST1"
	manifestHead  = 8 + 4 + 4 + 8
	manifestRoom  = 64 << 10 // bytes that are allocated from the start
)

func (m *manifest) encode(b []byte) []byte {
	b = append(b[:0], manifestMagic...)
	b = append(b, make([]byte, manifestHead-len(manifestMagic))...)
	u := func(v uint64) { b = binary.AppendUvarint(b, v) }
	u(m.lastID)
	u(m.logStart)
	u(uint64(len(m.extents)))
	for _, id := range m.extents {
		u(id)
	}
	u(uint64(len(m.queues)))
	for i := range m.queues {
		q := &m.queues[i]
		u(q.id)
		u(uint64(len(q.live)))
		var at uint64
		for _, r := range q.live {
			u(r.From - at)
			u(r.To - r.From)
			at = r.To
		}
		u(uint64(len(q.counts)))
		for _, c := range q.counts {
			u(c.From)
			u(c.To)
		}
	}
	le := binary.LittleEndian
	le.PutUint32(b[12:], uint32(len(b)-manifestHead))
	le.PutUint64(b[16:], m.gen)
	le.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
	return b
}

var errManifest = errors.New("store: the manifest is damaged")

func (m *manifest) decode(b []byte) error {
	le := binary.LittleEndian
	if len(b) < manifestHead || string(b[:8]) != manifestMagic {
		return errManifest
	}
	if n := le.Uint32(b[12:]); uint64(n) > uint64(len(b)-manifestHead) {
		return errManifest
	} else if b = b[:manifestHead+int(n)]; crc32.Checksum(b[12:], castagnoli) != le.Uint32(b[8:]) {
		return errManifest
	}
	m.gen = le.Uint64(b[16:])
	b = b[manifestHead:]
	bad := false
	u := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	count := func() uint64 { // no more than there are bytes for
		n := u()
		if n > uint64(len(b)) {
			bad = true
			return 0
		}
		return n
	}
	m.lastID, m.logStart = u(), u()
	for range count() {
		m.extents = append(m.extents, u())
	}
	for range count() {
		q := manifestQueue{id: u()}
		var at uint64
		for range count() {
			r := Range{From: at + u()}
			r.To = r.From + u()
			at = r.To
			q.live = append(q.live, r)
		}
		for range count() {
			q.counts = append(q.counts, Range{u(), u()})
		}
		m.queues = append(m.queues, q)
	}
	if bad {
		return errManifest
	}
	return nil
}

// manifestFiles are the two files that hold manifests in turns.
type manifestFiles struct {
	files [2]File
	gen   uint64
	buf   []byte
}

var manifestNames = [2]string{"manifest-a", "manifest-b"}

// open opens both files and returns the newer manifest that is sound. found is false if there is none; damaged tells
// that there should be one.
func (mf *manifestFiles) open(fs FS, dir string) (m manifest, found, damaged bool, err error) {
	for i, name := range manifestNames {
		f, err := fs.Open(dir + "/" + name)
		if err != nil {
			return m, false, false, fmt.Errorf("open the manifest: %w", err)
		}
		mf.files[i] = f
		size, err := f.Size()
		if err != nil {
			return m, false, false, err
		}
		if size < manifestRoom {
			if err := f.Allocate(manifestRoom); err != nil {
				return m, false, false, fmt.Errorf("preallocate the manifest: %w", err)
			}
			size = manifestRoom
		}
		b := make([]byte, size)
		if n, err := f.ReadAt(b, 0); n < len(b) {
			return m, false, false, fmt.Errorf("read the manifest: %w", err)
		}
		var x manifest
		if err := x.decode(b); err != nil {
			damaged = damaged || binary.LittleEndian.Uint64(b) != 0
			continue
		}
		if !found || x.gen > m.gen {
			m, found = x, true
		}
	}
	mf.gen = m.gen
	return m, found, damaged, fs.SyncDir(dir)
}

// write makes m the manifest.
func (mf *manifestFiles) write(m *manifest) error {
	m.gen = mf.gen + 1
	mf.buf = m.encode(mf.buf)
	f := mf.files[m.gen%2]
	if _, err := f.WriteAt(mf.buf, 0); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync the manifest: %w", err)
	}
	mf.gen = m.gen
	return nil
}

func (mf *manifestFiles) close() error {
	var errs [2]error
	for i, f := range mf.files {
		if f != nil {
			errs[i] = f.Close()
		}
	}
	return errors.Join(errs[:]...)
}
