//go:build !linux

package store

// Allocate makes the file size bytes long. Elsewhere than on Linux the blocks are taken when they are written.
func (f osFile) Allocate(size int64) error {
	n, err := f.Size()
	if err != nil || n >= size {
		return err
	}
	return f.Truncate(size)
}

// Sync makes everything written durable.
func (f osFile) Sync() error { return f.File.Sync() }
