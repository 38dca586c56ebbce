package store

import "time"

// Options are a store's settings. Zero values stand for the defaults.
type Options struct {
	SegmentSize int64 // bytes of a segment; default 64 MiB. A larger message gets a segment of its own size
	LogMax      int64 // bytes of segments before what is live in the oldest is moved out; default 1 GiB
	CommitMax   int   // bytes of one commit, about; default 4 MiB
	PendingMax  int64 // bytes submitted and not written before Submit asks to slow down; default 32 MiB
	Spares      int   // files that are kept for use again; default 2, and at least 1

	SettleDelay   time.Duration // how long settlements without messages wait for company before they are written; default 20 ms
	FlushInterval time.Duration // how long what was written without a sync waits for one; default 1 s
	ProbeInterval time.Duration // between attempts to write while the disk fails; default 1 s
	SlowSync      time.Duration // a sync that takes longer raises AlarmSlow; default 2 s

	MergeBelow float64 // share of live bytes under which an extent is merged with others; default 0.3
	MoveRate   int64   // bytes a second that the janitor moves at most, but for a log of twice LogMax; default 64 MiB
	Readers    int     // goroutines that read messages back; default 2

	// NewBuffer makes the buffers that Read answers with, of at least size bytes, with one reference; default: plain memory.
	NewBuffer func(size int) Buffer
	// Alarm is called when the disk's state changes, by one goroutine at a time; it must not block.
	Alarm func(Alarm)
	// Damaged is called when records that were live turn out to be lost after Open; it must not block.
	Damaged func(Damage)
}

// A Buffer is memory with a count of references. *amqp.Buffer is one.
type Buffer interface {
	Holder
	Bytes() []byte
	Retain(n int32)
}

// AlarmKind is what an Alarm is about.
type AlarmKind uint8

const (
	// AlarmFailed: neither the current file nor a new one could be written. Messages fail until a probe succeeds.
	AlarmFailed AlarmKind = iota
	// AlarmSpace: there is no room to preallocate the next file. What is allocated is still used, the end of it for
	// settlements only.
	AlarmSpace
	// AlarmSlow: a sync takes longer than Options.SlowSync.
	AlarmSlow
	alarmKinds
)

// String names the kind for logs.
func (k AlarmKind) String() string {
	return [...]string{"disk failed", "no space for the message log", "disk is slow"}[k]
}

// An Alarm is the start or the end of a state of the disk.
type Alarm struct {
	Kind AlarmKind
	On   bool
	Err  error // why, if On and an error is the reason
}

func (o Options) withDefaults() Options {
	def := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.SegmentSize, 64<<20)
	o.SegmentSize = max(o.SegmentSize, 4*dataStart)
	def(&o.LogMax, 1<<30)
	def(&o.PendingMax, 32<<20)
	def(&o.MoveRate, 64<<20)
	dur(&o.SettleDelay, 20*time.Millisecond)
	dur(&o.FlushInterval, time.Second)
	dur(&o.ProbeInterval, time.Second)
	dur(&o.SlowSync, 2*time.Second)
	if o.CommitMax <= 0 {
		o.CommitMax = 4 << 20
	}
	if o.Spares <= 0 {
		o.Spares = 2
	}
	if o.MergeBelow <= 0 {
		o.MergeBelow = 0.3
	}
	if o.Readers <= 0 {
		o.Readers = 2
	}
	if o.NewBuffer == nil {
		o.NewBuffer = func(size int) Buffer { return plainBuffer(make([]byte, size)) }
	}
	if o.Alarm == nil {
		o.Alarm = func(Alarm) {}
	}
	if o.Damaged == nil {
		o.Damaged = func(Damage) {}
	}
	return o
}

// plainBuffer is memory that the garbage collector frees.
type plainBuffer []byte

func (b plainBuffer) Bytes() []byte { return b }
func (plainBuffer) Retain(int32)    {}
func (plainBuffer) Release(int32)   {}
