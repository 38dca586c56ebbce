package perf

import (
	"fmt"
	"time"
)

// A Result is what a run measured. Counts, rates and CPU are those of the measured window; exactness covers the whole
// run.
type Result struct {
	Window    time.Duration
	Published int64
	Delivered int64

	Sent, Arrived int64 // publishes written and deliveries read, from the first to the last
	Missing       int64 // deliveries that should have come and did not
	Duplicates    int64 // deliveries that came again
	Strays        int64 // deliveries to a queue that the message does not belong in, or of unknown origin
	Left          int64 // messages still in the queues at the end
	Nacked        int64 // publishes that the broker refused

	Latency        Histogram // from write to delivery, nanoseconds
	ConfirmLatency Histogram // from write to confirm, nanoseconds

	BrokerCPU time.Duration // user and system time of Config.PIDs; 0 without them
	ClientCPU time.Duration // of this process
	OtherCPU  time.Duration // of the rest of the machine; on an idle machine it is near zero

	BrokerWritten int64 // bytes that Config.PIDs had written to disk, whole pages; 0 if the system does not tell
}

// Exact says that each message arrived exactly once in each queue it belongs in, in no other, and that none was left.
func (r *Result) Exact() bool {
	return r.Missing == 0 && r.Duplicates == 0 && r.Strays == 0 && r.Left == 0 && r.Nacked == 0
}

// messages returns what CPU is divided by: deliveries, or publishes if nothing consumes.
func (r *Result) messages() int64 {
	if r.Delivered > 0 {
		return r.Delivered
	}
	return r.Published
}

// Rate returns deliveries a second (publishes if nothing consumes).
func (r *Result) Rate() float64 {
	if r.Window <= 0 {
		return 0
	}
	return float64(r.messages()) / r.Window.Seconds()
}

// BrokerCPUPerMillion returns the broker's CPU seconds for a million deliveries (publishes if nothing consumes).
func (r *Result) BrokerCPUPerMillion() float64 { return perMillion(r.BrokerCPU, r.messages()) }

// ClientCPUPerMillion returns the generator's CPU seconds for a million deliveries (publishes if nothing consumes).
func (r *Result) ClientCPUPerMillion() float64 { return perMillion(r.ClientCPU, r.messages()) }

func perMillion(d time.Duration, n int64) float64 {
	if n == 0 {
		return 0
	}
	return d.Seconds() / float64(n) * 1e6
}

// String tells the run in a few lines.
func (r *Result) String() string {
	s := fmt.Sprintf("%.0f/s in %s: %d published, %d delivered\n", r.Rate(), r.Window.Round(time.Millisecond),
		r.Published, r.Delivered)
	if r.Exact() {
		s += fmt.Sprintf("exact: all %d deliveries came once\n", r.Arrived)
	} else {
		s += fmt.Sprintf("not exact: %d missing, %d twice, %d astray, %d left, %d refused\n",
			r.Missing, r.Duplicates, r.Strays, r.Left, r.Nacked)
	}
	for _, h := range []struct {
		name string
		h    *Histogram
	}{{"latency", &r.Latency}, {"confirms", &r.ConfirmLatency}} {
		if h.h.Count() > 0 {
			s += fmt.Sprintf("%s: p50 %s p99 %s p99.9 %s max %s\n", h.name, micros(h.h.Quantile(0.5)),
				micros(h.h.Quantile(0.99)), micros(h.h.Quantile(0.999)), micros(h.h.Max()))
		}
	}
	return s + fmt.Sprintf("CPU s per million: broker %.2f, generator %.2f; others used %.2f s\n",
		r.BrokerCPUPerMillion(), r.ClientCPUPerMillion(), r.OtherCPU.Seconds())
}

func micros(ns int64) time.Duration { return time.Duration(ns).Round(time.Microsecond) }
