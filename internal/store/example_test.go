package store_test

import (
	"fmt"
	"os"

	"github.com/warrenmq/warren/internal/store"
)

// A runner is what a queue does with its store.Queue.
type runner struct{ durable chan uint64 }

// Durable is called by the committer: a real queue leaves an event in its inbox.
func (r runner) Durable(upTo uint64) { r.durable <- upTo }

// Failed says that the messages up to upTo that are not durable are to be nacked.
func (r runner) Failed(upTo uint64, err error) {}

func Example() {
	dir, err := os.MkdirTemp("", "store-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	s, report, err := store.Open(store.OS, dir, store.Options{SegmentSize: 1 << 20})
	if err != nil {
		panic(err)
	}
	fmt.Println("recovered", report.Messages)

	q := s.Queue(1)
	for range q.Recovered() {
		// make the queue's list of messages that are on disk
	}
	r := runner{make(chan uint64, 1)}
	q.Handle(r, store.FlushSync)

	// One batch of events: two messages, then Submit; nothing here waits for the disk.
	for seq, body := range []string{"one", "two"} {
		q.Message(&store.Message{Seq: q.Last() + 1, Body: []byte(body), Priority: uint8(seq)})
	}
	if slow := q.Submit(); slow != nil {
		<-slow // publishers wait for this, the runner does not
	}
	fmt.Println("confirm up to", <-r.durable)

	q.Settle(1, 1)
	q.Submit()

	done := make(chan struct{})
	q.Read(1, q.Last(), 250<<10, func(ms []store.Message, err error) {
		for _, m := range ms {
			fmt.Printf("%d: %s\n", m.Seq, m.Body)
			m.Holder.Release(1)
		}
		close(done)
	})
	<-done
	if err := s.Close(); err != nil {
		panic(err)
	}
	// Output:
	// recovered 0
	// confirm up to 2
	// 2: two
}
