package meta

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
)

// space watches the disk. Badger writes its log through a memory map, and a page of it that finds no room ends the process:
// so a change is refused while there is still room for a log, its table and a merge of tables.
type space struct {
	dir string

	looked atomic.Int64 // Unix nanoseconds
	free   atomic.Int64 // bytes, then
}

const (
	spaceEvery = 100 * time.Millisecond // how old a look at the disk may be
	roomToPut  = 64 << 20               // bytes that must be free for a change that puts something
	roomToDrop = 32 << 20               // and for one that only deletes
	roomToOpen = 16 << 20               // and for a start, which writes what the last log holds into a table
)

// check returns an error if there is too little room on the disk.
func (s *space) check(puts bool) error {
	now := time.Now().UnixNano()
	if last := s.looked.Load(); now-last > int64(spaceEvery) && s.looked.CompareAndSwap(last, now) {
		if err := s.look(); err != nil {
			return err
		}
	}
	need := int64(roomToDrop)
	if puts {
		need = roomToPut
	}
	if err := s.room(need); err != nil {
		return fmt.Errorf("definitions cannot be changed: %w", err)
	}
	return nil
}

// room returns an error if fewer than need bytes were free at the last look.
func (s *space) room(need int64) error {
	if free := s.free.Load(); free < need {
		return &noRoomError{fmt.Sprintf("the disk of %s has %d MiB left, and %d MiB are needed", s.dir, free>>20, need>>20)}
	}
	return nil
}

// noRoomError says that the disk is nearly full. It is ENOSPC before its time.
type noRoomError struct{ text string }

func (e *noRoomError) Error() string { return e.text }
func (e *noRoomError) Unwrap() error { return syscall.ENOSPC }

// look asks the system how much room there is. Open does first, so that there is always an answer.
func (s *space) look() error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return fmt.Errorf("look for room in %s: %w", s.dir, err)
	}
	s.free.Store(int64(st.Bavail) * int64(st.Bsize))
	s.looked.Store(time.Now().UnixNano())
	return nil
}
