package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/warrenmq/warren/internal/store"
)

// reserveSize is the size of a file that lies in the data directory for a node that has to start on a full disk, bytes: what
// the definitions and the message log need to come up, so that consumers can make room.
const reserveSize = 32 << 20

func (n *Node) reserve() string { return filepath.Join(n.cfg.DataDir, "reserve") }

// makeRoom gives the reserve up if the node starts on a full disk.
func (n *Node) makeRoom() error {
	free, err := freeSpace(n.cfg.DataDir)
	if err != nil || free >= 2*reserveSize {
		return err
	}
	err = os.Remove(n.reserve())
	if err == nil {
		n.log.Warn("the disk is full: the reserve is given up", "free", free)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkDisk compares what is free on the data directory's disk with the limit, and makes the reserve if there is none and
// plenty of room.
func (n *Node) checkDisk() {
	free, err := freeSpace(n.cfg.DataDir)
	if err != nil {
		n.log.Error("the free disk space is unknown", "error", err)
		return
	}
	limit := n.cfg.DiskFreeLimit
	if n.cfg.DiskFreeLimitRelative > 0 {
		limit = int64(n.cfg.DiskFreeLimitRelative * float64(totalMemory()))
	}
	n.broker.Alarms.SetDisk(free < limit || n.full.Load() || n.failed.Load())
	if free > limit+8*reserveSize && !n.reserved {
		n.reserved = n.makeReserve() == nil
	}
}

func (n *Node) makeReserve() error {
	if _, err := os.Stat(n.reserve()); err == nil {
		return nil
	}
	f, err := store.OS.Open(n.reserve())
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Allocate(reserveSize)
}

// freeSpace returns the bytes that are free on dir's disk.
func freeSpace(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
