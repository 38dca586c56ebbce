package perf

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of CPU time under /proc. The kernel fixes it for user space at 100 a second.
const tick = 10 * time.Millisecond

// CPU returns the user and system time that processes of this machine have used, all their threads together.
func CPU(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		// The fields are counted from after the name, which may hold anything: utime is the 12th, stime the 13th.
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(f) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
		}
		for _, v := range f[11:13] {
			n, err := strconv.ParseInt(string(v), 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// AnonMemory returns the resident memory of processes that is not a file's, bytes.
func AnonMemory(pids []int) (int64, error) { return memory(pids, "RssAnon") }

// ResidentMemory returns the resident memory of processes, mapped files included, bytes.
func ResidentMemory(pids []int) (int64, error) { return memory(pids, "VmRSS") }

// PeakMemory returns the most that ResidentMemory has been since the processes started, bytes; for several processes it
// is the sum of their peaks.
func PeakMemory(pids []int) (int64, error) { return memory(pids, "VmHWM") }

// memory sums up a line of /proc/PID/status, which is in KiB.
func memory(pids []int, name string) (int64, error) {
	var sum int64
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, after, ok := bytes.Cut(b, []byte("\n"+name+":"))
		f := bytes.Fields(after)
		if !ok || len(f) == 0 {
			return 0, fmt.Errorf("/proc/%d/status has no %s", pid, name)
		}
		n, err := strconv.ParseInt(string(f[0]), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n << 10
	}
	return sum, nil
}

// written returns what processes have had written to disk, bytes: whole pages, each time that one is written. It is 0 if
// the system does not tell, as it does not about other users' processes.
func written(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		_, after, _ := bytes.Cut(b, []byte("\nwrite_bytes: "))
		line, _, _ := bytes.Cut(after, []byte("\n"))
		n, _ := strconv.ParseInt(string(line), 10, 64)
		sum += n
	}
	return sum
}

// machineCPU returns the time that all CPUs were not idle, what the hypervisor took included; 0 if it cannot be read.
func machineCPU() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var sum time.Duration
	for i, f := range bytes.Fields(line) {
		const idle, iowait, guest = 4, 5, 9 // guest time is counted in user time too
		if i == 0 || i == idle || i == iowait || i >= guest {
			continue
		}
		n, _ := strconv.ParseInt(string(f), 10, 64)
		sum += time.Duration(n) * tick
	}
	return sum
}

// A usage is what was spent up to a moment, by whom.
type usage struct {
	at                      time.Time
	broker, client, machine time.Duration
	published, delivered    int64
	written                 int64 // bytes, by the broker
}

// use reads the clocks. The broker's processes may be none.
func use(pids []int) (u usage, err error) {
	u.at = time.Now()
	u.machine = machineCPU()
	if u.broker, err = CPU(pids); err != nil {
		return u, fmt.Errorf("broker's CPU time: %w", err)
	}
	u.written = written(pids)
	u.client, _ = CPU([]int{os.Getpid()})
	return u, nil
}

// other returns what neither broker nor generator used since an earlier moment.
func (u usage) other(since usage) time.Duration {
	return max(0, (u.machine-since.machine)-(u.broker-since.broker)-(u.client-since.client))
}
