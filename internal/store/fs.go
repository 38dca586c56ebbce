package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is the disk as the store uses it. Names are paths.
type FS interface {
	// MkdirAll makes a directory and its parents, durably.
	MkdirAll(dir string) error
	// List returns the base names of the files in dir.
	List(dir string) ([]string, error)
	// Open opens a file for reading and writing and makes an empty one if there is none. A new file's name is durable
	// after SyncDir.
	Open(name string) (File, error)
	Remove(name string) error
	SyncDir(dir string) error
}

// File is an open file. Its methods may be called at the same time, for different parts.
type File interface {
	// ReadAt and WriteAt are those of io.ReaderAt and io.WriterAt.
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	// Sync makes what was written durable, and as much of the metadata as is needed to read it. After an error nothing is
	// known of what was written since the Sync before.
	Sync() error
	// Allocate takes disk space for the first size bytes, and makes the file that long if it is shorter.
	Allocate(size int64) error
	Size() (int64, error)
	Close() error
}

// OS is the operating system's file system.
var OS FS = osFS{}

type osFS struct{}

func (osFS) MkdirAll(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return osFS{}.SyncDir(filepath.Dir(filepath.Clean(dir)))
}

func (osFS) List(dir string) ([]string, error) {
	es, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range es {
		if e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (osFS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", f.Name(), err)
	}
	return fi.Size(), nil
}
