package exchange

import (
	"fmt"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

func benchRoute(b *testing.B, t *Table, source string, want int, m *Msg) {
	b.Helper()
	var r Router
	x, _ := t.Exchange(source)
	dst := r.Route(t, x, m, nil)
	if len(dst) != want {
		b.Fatalf("%d queues, want %d", len(dst), want)
	}
	b.ReportAllocs()
	for b.Loop() {
		dst = r.Route(t, x, m, dst[:0])
	}
}

func mustBind(tb testing.TB, t *Table, b Binding) *Table {
	tb.Helper()
	next, _, err := t.Bind(b)
	if err != nil {
		tb.Fatal(err)
	}
	return next
}

func queues(n int) *Table {
	t := NewTable("/")
	for i := range n {
		t = t.AddQueue(&Queue{Name: fmt.Sprint("q", i), ID: uint32(i)})
	}
	return t
}

func BenchmarkDefault(b *testing.B) { benchRoute(b, queues(100_000), "", 1, &Msg{Key: "q77777"}) }

func BenchmarkDirect(b *testing.B) {
	t := queues(1000)
	for i := range 1000 {
		t = mustBind(b, t, Binding{Source: "amq.direct", Destination: fmt.Sprint("q", i), Key: fmt.Sprint("key.", i)})
	}
	benchRoute(b, t, "amq.direct", 1, &Msg{Key: "key.500"})
}

func BenchmarkFanout10(b *testing.B) {
	t := queues(10)
	for i := range 10 {
		t = mustBind(b, t, Binding{Source: "amq.fanout", Destination: fmt.Sprint("q", i)})
	}
	benchRoute(b, t, "amq.fanout", 10, &Msg{})
}

func BenchmarkFanout1000(b *testing.B) {
	t := queues(1000)
	for i := range 1000 {
		t = mustBind(b, t, Binding{Source: "amq.fanout", Destination: fmt.Sprint("q", i)})
	}
	benchRoute(b, t, "amq.fanout", 1000, &Msg{})
}

// 1,000 bindings, each with a '*' or a '#'; the key matches three of them.
func BenchmarkTopic1000Wildcards(b *testing.B) {
	t := queues(1000)
	for i := range 1000 {
		pattern := fmt.Sprintf([]string{"site.%d.*.temperature", "*.%d.#", "site.*.room%d.*", "#.alarm%d"}[i%4], i)
		t = mustBind(b, t, Binding{Source: "amq.topic", Destination: fmt.Sprint("q", i), Key: pattern})
	}
	for i, pattern := range []string{"site.5.#", "site.*.kitchen.*", "#.temperature"} {
		t = mustBind(b, t, Binding{Source: "amq.topic", Destination: fmt.Sprint("q", i), Key: pattern})
	}
	benchRoute(b, t, "amq.topic", 4, &Msg{Key: "site.5.kitchen.temperature", ExtraKeys: nil})
}

// A pattern and a key that a search by trial takes exponential time for.
func BenchmarkTopicAdversary(b *testing.B) {
	t := queues(1)
	key, pattern := "", "b"
	for range 100 {
		key += "a."
	}
	for range 40 {
		pattern = "#.a." + pattern
	}
	t = mustBind(b, t, Binding{Source: "amq.topic", Destination: "q0", Key: pattern})
	benchRoute(b, t, "amq.topic", 0, &Msg{Key: key})
}

func BenchmarkHeaders(b *testing.B) {
	t := queues(1000)
	for i := range 1000 {
		args := amqp.Table{{Name: "format", Value: "pdf"}, {Name: "customer", Value: int32(i)}}
		t = mustBind(b, t, Binding{Source: "amq.headers", Destination: fmt.Sprint("q", i), Args: args})
	}
	benchRoute(b, t, "amq.headers", 1, &Msg{Headers: rawTable(amqp.Table{
		{Name: "x-request", Value: "9f0c"}, {Name: "customer", Value: int64(500)}, {Name: "format", Value: "pdf"}})})
}

func BenchmarkConsistentHash10(b *testing.B) {
	t, err := queues(10).Declare(Spec{Name: "x", Type: "x-consistent-hash"})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 10 {
		t = mustBind(b, t, Binding{Source: "x", Destination: fmt.Sprint("q", i), Key: fmt.Sprint(1 + i)})
	}
	benchRoute(b, t, "x", 1, &Msg{Key: "customer.500"})
}

// Change costs: one more binding, and one less, in a table that has 300,000.
func BenchmarkBindUnbind(b *testing.B) {
	t := queues(100_000)
	for i := range 100_000 {
		q := fmt.Sprint("q", i)
		t = mustBind(b, t, Binding{Source: "amq.direct", Destination: q, Key: fmt.Sprint("key.", i)})
		t = mustBind(b, t, Binding{Source: "amq.topic", Destination: q, Key: fmt.Sprintf("site.%d.#", i)})
		t = mustBind(b, t, Binding{Source: "amq.fanout", Destination: q})
	}
	for _, bd := range []Binding{
		{Source: "amq.direct", Destination: "q5", Key: "one more"},
		{Source: "amq.topic", Destination: "q5", Key: "one.more.*"},
	} {
		b.Run(bd.Source, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n, _, _ := t.Bind(bd)
				n.Unbind(bd)
			}
		})
	}
	b.Run("queue", func(b *testing.B) {
		b.ReportAllocs()
		q := &Queue{Name: "one more", ID: 100_000}
		for b.Loop() {
			n := t.AddQueue(q)
			n.RemoveQueue("one more")
		}
	})
}
