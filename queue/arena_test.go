package queue

import (
	"bytes"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// What an arena adopts is a copy that lives by itself, up to a size from which on it is the message itself.
func TestArena(t *testing.T) {
	var a arena
	var kept []*amqp.Message
	for _, size := range []int{0, 1, 1000, 5000, 30_000, adoptMax - 100, 1, adoptMax, 300_000} {
		l := letter{body: "b", key: "key", size: size, expiration: "7", priority: 3, hidden: []string{"h"}}
		m := l.message()
		got := a.adopt(m)
		if same := got == m; same != (m.Footprint() > adoptMax) {
			t.Errorf("size %d: the message itself is kept: %v", size, same)
		}
		m.Release(1)
		kept = append(kept, got)
	}
	for i, m := range kept {
		want := append([]byte("b"), bytes.Repeat([]byte{'.'}, max(m.Size-1, 0))...)
		if string(m.RoutingKey()) != "key" || !bytes.Equal(m.AppendBody(nil), want) || m.Expiration != 7 || m.Priority != 3 ||
			len(m.HiddenKeys()) != 1 {
			t.Errorf("message %d is damaged", i)
		}
		m.Release(1)
	}
	a.rest()
	if a.buf != nil {
		t.Error("an arena at rest holds a buffer")
	}
	a.rest()
}
