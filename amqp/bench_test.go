package amqp

import (
	"fmt"
	"testing"
)

// A hotPath is one step of a message's way through the broker, with all it needs set up. None may allocate.
type hotPath struct {
	name  string
	bytes int // of the body, or 0
	step  func()
}

// sink keeps the compiler from leaving out what has no other use.
var sink int

func hotPaths(t testing.TB) []hotPath {
	publish := (&BasicPublish{Exchange: "orders", RoutingKey: "eu.new", Mandatory: true}).Append(nil)
	plain := Properties{Flags: FlagContentType | FlagDeliveryMode, ContentType: "application/json", DeliveryMode: 2}
	ack := (&BasicAck{DeliveryTag: 1 << 40, Multiple: true}).Append(nil)
	head := NewDeliverHead(1, "amq.ctag-0123456789012345678901")
	out := make([]byte, 0, 1<<20)
	paths := []hotPath{
		{"ParseSettle", 0, func() {
			tag, _, _, _ := ParseSettle(ack)
			sink += int(tag)
		}},
		{"AppendAck", 0, func() { sink += len(AppendAck(out, 1, 1<<40, true)) }},
	}
	for i, p := range []Properties{plain, everyProperty} {
		header := AppendHeader(nil, &p, 1024)
		paths = append(paths, hotPath{"ParsePublish+ParseFacts/" + []string{"plain", "every property"}[i], 0, func() {
			x, _ := ParsePublish(publish)
			f, err := ParseFacts(header)
			if err != nil {
				t.Fatal(err)
			}
			sink += len(x.Address) + int(f.Flags)
		}})
	}
	for _, size := range []int{16, 1024, 100 << 10} {
		m := build(t, plain, true, pattern(size, 1))
		paths = append(paths, hotPath{fmt.Sprintf("AppendDeliver+AppendContent/%d", size), size, func() {
			b := AppendDeliver(out, head, 1<<40, false, m.Address)
			b = AppendContent(b, 1, m, 131072)
			sink += len(b)
		}})
	}
	var r Reader
	var wire []byte
	wire = AppendFrame(wire, FrameMethod, 1, publish)
	wire = AppendContent(wire, 1, build(t, plain, true, pattern(1024, 1)), 131072)
	paths = append(paths, hotPath{"Reader", 1024, func() {
		n := copy(r.Space(), wire)
		r.Filled(n)
		for {
			f, ok, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			sink += len(f.Payload)
		}
		r.Rest()
	}})
	return paths
}

// TestNoAllocations keeps the message path free of garbage.
func TestNoAllocations(t *testing.T) {
	if underRace {
		t.Skip("the race detector allocates")
	}
	for _, p := range hotPaths(t) {
		if n := testing.AllocsPerRun(200, p.step); n != 0 {
			t.Errorf("%s allocates %v times", p.name, n)
		}
	}
}

func BenchmarkHotPath(b *testing.B) {
	for _, p := range hotPaths(b) {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			if p.bytes > 0 {
				b.SetBytes(int64(p.bytes))
			}
			for b.Loop() {
				p.step()
			}
		})
	}
}
