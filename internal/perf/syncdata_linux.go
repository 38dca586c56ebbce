package perf

import (
	"os"
	"syscall"
)

// syncData waits until what was written to f is on disk. Times of the file may be missing there.
func syncData(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := c.Control(func(fd uintptr) { err = syscall.Fdatasync(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
