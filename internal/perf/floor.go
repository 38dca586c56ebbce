package perf

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What a store of messages cannot do without: a record for each 1-KiB message, and a sync before the confirms of a group.
const (
	floorRecord = 1024 + 64 // bytes
	floorGroup  = 256       // records
	floorGroups = 256       // in the file
)

// DiskFloor returns how many 1-KiB messages a second the disk under dir takes if nothing is done but the least: groups of
// 256 records, each one write and one fdatasync, over and over a file whose blocks are there already. It writes for about
// d and removes its file.
func DiskFloor(dir string, d time.Duration) (perSecond float64, err error) {
	perSecond, err = diskFloor(filepath.Join(dir, "floor"), d)
	if err != nil {
		return 0, fmt.Errorf("disk test: %w", err)
	}
	return perSecond, nil
}

func diskFloor(name string, d time.Duration) (float64, error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer f.Close()
	group := make([]byte, floorGroup*floorRecord)
	for i := range group {
		group[i] = byte(i * 7)
	}
	for range floorGroups {
		if _, err := f.Write(group); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	n, begin := 0, time.Now()
	for n == 0 || time.Since(begin) < d {
		if _, err := f.WriteAt(group, int64(n%floorGroups*len(group))); err != nil {
			return 0, err
		}
		if err := syncData(f); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n*floorGroup) / time.Since(begin).Seconds(), nil
}
