// Package storetest has a disk for tests of what must survive: a store.FS in memory that forgets at a power cut what was
// not synced, and fails, fills up and stalls when told to. Everything it decides comes from a seed.
//
// A file's written blocks of 4 KiB are kept beside what is synced. Crash keeps of each unsynced block either the old or
// the new content, by chance, as a disk does that reorders writes; a new name is kept if its folder was synced. A sync
// that fails leaves its blocks in doubt as Linux does: they read as written, later syncs report success, and at the power
// cut they may be gone.
package storetest

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"sync"
	"syscall"

	"github.com/warrenmq/warren/internal/store"
)

const block = 4096

// ErrInjected is the error of an operation that was told to fail.
var ErrInjected = errors.New("storetest: injected error")

// Op is what is about to be done to a file.
type Op struct {
	Kind string // open, read, write, sync, allocate, syncdir, remove
	Name string
	N    int // how many operations came before
}

// A Disk is a store.FS in memory. Its methods may be called by any goroutine.
type Disk struct {
	mu       sync.Mutex // guards everything below
	rng      *rand.Rand
	files    map[string]*file
	ops      int
	used     int64
	capacity int64
	hook     func(Op) error
	down     bool
	written  int64
}

type file struct {
	disk   *Disk
	name   string
	synced []byte         // as after a power cut
	dirty  map[int][]byte // unsynced blocks
	doubt  map[int][]byte // blocks whose sync failed: read as these, and may be lost
	size   int64
	alloc  int64
	named  bool // its name survives
	gone   bool
}

// New returns an empty disk.
func New(seed uint64) *Disk {
	return &Disk{rng: rand.New(rand.NewPCG(seed, 0)), files: map[string]*file{}}
}

// Hook sets a function that is called before each operation, without a lock, and may make it fail by returning an error,
// or stall it. A write that fails may have written some of its blocks.
func (d *Disk) Hook(h func(Op) error) {
	d.mu.Lock()
	d.hook = h
	d.mu.Unlock()
}

// Limit sets how many bytes can be allocated in all; 0: no limit.
func (d *Disk) Limit(bytes int64) {
	d.mu.Lock()
	d.capacity = bytes
	d.mu.Unlock()
}

// Used returns how many bytes are allocated, Written how many were ever written.
func (d *Disk) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Written returns how many bytes were ever written.
func (d *Disk) Written() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.written
}

// Ops returns how many operations there were.
func (d *Disk) Ops() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops
}

// Stop makes every operation fail from now on, as if the power were gone: what still runs does no more harm.
func (d *Disk) Stop() {
	d.mu.Lock()
	d.down = true
	d.mu.Unlock()
}

// Crash returns the disk as it is found after a power cut now. d itself is left alone.
func (d *Disk) Crash(seed uint64) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := New(seed)
	c.capacity = d.capacity
	for name, f := range d.files {
		if !f.named && c.rng.IntN(2) == 0 {
			continue
		}
		g := &file{disk: c, name: name, synced: append([]byte(nil), f.synced...), named: true}
		for _, blocks := range []map[int][]byte{f.doubt, f.dirty} {
			for i := range int((f.size + block - 1) / block) { // in order, so that the seed decides
				if b, ok := blocks[i]; ok && c.rng.IntN(2) == 0 {
					g.settle(i, b)
				}
			}
		}
		g.size = max(int64(len(g.synced)), f.alloc)
		g.alloc = f.alloc
		c.used += g.alloc
		c.files[name] = g
	}
	return c
}

// Names returns the files' paths.
func (d *Disk) Names() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for n := range d.files {
		names = append(names, n)
	}
	return names
}

// Flip inverts one bit of what a file holds, synced or not.
func (d *Disk) Flip(name string, bit int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil || bit/8 >= f.size {
		return
	}
	b := append([]byte(nil), f.block(int(bit/8/block))...)
	b[bit/8%block] ^= 1 << (bit % 8)
	i := int(bit / 8 / block)
	delete(f.dirty, i)
	delete(f.doubt, i)
	f.settle(i, b)
}

func (d *Disk) before(kind, name string) error {
	d.mu.Lock()
	n := d.ops
	d.ops++
	h, down := d.hook, d.down
	d.mu.Unlock()
	if down {
		return fmt.Errorf("%s %s: no power: %w", kind, name, ErrInjected)
	}
	if h != nil {
		if err := h(Op{kind, name, n}); err != nil {
			return fmt.Errorf("%s %s: %w", kind, name, err)
		}
	}
	return nil
}

// MkdirAll implements store.FS; folders need not be made.
func (d *Disk) MkdirAll(string) error { return nil }

// List implements store.FS.
func (d *Disk) List(dir string) ([]string, error) {
	var names []string
	for _, n := range d.Names() {
		if path.Dir(n) == dir {
			names = append(names, path.Base(n))
		}
	}
	return names, nil
}

// Open implements store.FS.
func (d *Disk) Open(name string) (store.File, error) {
	if err := d.before("open", name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		f = &file{disk: d, name: name}
		d.files[name] = f
	}
	return f, nil
}

// Remove implements store.FS. It is durable at once.
func (d *Disk) Remove(name string) error {
	if err := d.before("remove", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil {
		d.used -= f.alloc
		f.gone = true
		delete(d.files, name)
	}
	return nil
}

// SyncDir implements store.FS.
func (d *Disk) SyncDir(dir string) error {
	if err := d.before("syncdir", dir); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.files {
		if path.Dir(name) == dir {
			f.named = true
		}
	}
	return nil
}

// block returns what reads see of block i.
func (f *file) block(i int) []byte {
	if b, ok := f.dirty[i]; ok {
		return b
	}
	if b, ok := f.doubt[i]; ok {
		return b
	}
	b := make([]byte, block)
	if off := i * block; off < len(f.synced) {
		copy(b, f.synced[off:])
	}
	return b
}

// settle makes b what a power cut leaves of block i.
func (f *file) settle(i int, b []byte) {
	if end := (i + 1) * block; len(f.synced) < end {
		f.synced = append(f.synced, make([]byte, end-len(f.synced))...)
	}
	copy(f.synced[i*block:], b)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.disk.before("read", f.name); err != nil {
		return 0, err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n := 0
	for n < len(p) && off < f.size {
		b := f.block(int(off / block))[off%block:]
		b = b[:min(int64(len(b)), f.size-off)]
		k := copy(p[n:], b)
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	err := f.disk.before("write", f.name)
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.down {
		return 0, err
	}
	if end := off + int64(len(p)); end > f.alloc {
		if aerr := f.grow((end + block - 1) &^ (block - 1)); aerr != nil {
			return 0, aerr
		}
	}
	if f.dirty == nil {
		f.dirty = map[int][]byte{}
	}
	n := 0
	for n < len(p) {
		i := int(off / block)
		b := f.dirty[i]
		if b == nil {
			b = append([]byte(nil), f.block(i)...)
		}
		k := min(block-int(off%block), len(p)-n)
		if err == nil || d.rng.IntN(2) == 0 {
			b = append([]byte(nil), b...)
			copy(b[off%block:], p[n:n+k])
			f.dirty[i] = b
			f.size = max(f.size, off+int64(k))
		}
		n += k
		off += int64(k)
	}
	if err != nil {
		return 0, err
	}
	d.written += int64(len(p))
	return len(p), nil
}

func (f *file) Sync() error {
	err := f.disk.before("sync", f.name)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.down {
		return err
	}
	for i, b := range f.dirty {
		if err == nil {
			delete(f.doubt, i)
			f.settle(i, b)
			continue
		}
		if f.doubt == nil {
			f.doubt = map[int][]byte{}
		}
		f.doubt[i] = b
	}
	clear(f.dirty)
	return err
}

// grow takes space for size bytes in all.
func (f *file) grow(size int64) error {
	d := f.disk
	if size <= f.alloc {
		return nil
	}
	if d.capacity > 0 && d.used+size-f.alloc > d.capacity {
		return fmt.Errorf("allocate %s: %w", f.name, syscall.ENOSPC)
	}
	d.used += size - f.alloc
	f.alloc = size
	return nil
}

func (f *file) Allocate(size int64) error {
	if err := f.disk.before("allocate", f.name); err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.grow(size); err != nil {
		return err
	}
	f.size = max(f.size, size)
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return f.size, nil
}

func (f *file) Close() error { return nil }
