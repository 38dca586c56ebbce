package store

import (
	"os"
	"syscall"
)

// Allocate uses fallocate(2): the blocks are the file's, whatever others write.
func (f osFile) Allocate(size int64) error {
	return f.control("fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, 0, size) })
}

// Sync uses fdatasync(2), which leaves times alone.
func (f osFile) Sync() error { return f.control("fdatasync", syscall.Fdatasync) }

func (f osFile) control(name string, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := c.Control(func(fd uintptr) {
		for {
			if err = call(int(fd)); err != syscall.EINTR {
				return
			}
		}
	}); cerr != nil {
		return cerr
	}
	if err != nil {
		return &os.PathError{Op: name, Path: f.Name(), Err: err}
	}
	return nil
}
