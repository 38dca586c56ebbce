package perf

import (
	"os"
	"testing"
)

// What is resident holds what belongs to no file, and was never more than its peak.
func TestMemory(t *testing.T) {
	me := []int{os.Getpid()}
	anon, err1 := AnonMemory(me)
	resident, err2 := ResidentMemory(me)
	peak, err3 := PeakMemory(me)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Skip("the system does not tell:", err1, err2, err3)
	}
	if anon <= 0 || anon > resident || peak < anon {
		t.Errorf("%d bytes without a file, %d resident, %d at most", anon, resident, peak)
	}
	if _, err := memory(me, "NoSuchLine"); err == nil {
		t.Error("a line that is not there was read")
	}
}

// The disk test leaves nothing behind, and says so if it cannot write.
func TestDiskFloor(t *testing.T) {
	dir := t.TempDir()
	rate, err := DiskFloor(dir, 0)
	if err != nil || rate <= 0 {
		t.Errorf("%v records a second, %v", rate, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := DiskFloor(dir+"/none", 0); err == nil {
		t.Error("a folder that is not there can be written to")
	}
}
