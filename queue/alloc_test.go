//go:build !race

package queue

import "testing"

// On the message path nothing is allocated per message: published, delivered, acknowledged, confirmed. (The race detector
// empties pools at random.)
func TestNoAllocation(t *testing.T) {
	for name, noAck := range map[string]bool{"no-ack": true, "ack": false} {
		q := New(Config{Name: "q"}, NoSettings(), nobody{}, DefaultInboxMax, Storage{})
		s := &benchSession{q: q}
		q.Consume(&Consumer{Session: s, NoAck: noAck, Prefetch: 1000}, func() {})
		events, release := benchEvents(100)
		if n := testing.AllocsPerRun(1000, func() {
			q.Submit(events)
			s.settle()
		}); n > 0 {
			t.Errorf("%s: %v allocations for %d messages", name, n, benchBatch)
		}
		release()
	}
}
