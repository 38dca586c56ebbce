package exchange

import (
	"fmt"
	"math"
	"testing"
)

// counts routes n messages, the i-th made by msg, and returns where each went and how many went to each queue.
func counts(tb testing.TB, t *Table, source string, n int, msg func(i int) *Msg) (where []string, per map[string]int) {
	tb.Helper()
	var r Router
	x, _ := t.Exchange(source)
	per = map[string]int{}
	for i := range n {
		got := routed(&r, t, x, msg(i))
		if len(got) != 1 {
			tb.Fatalf("message %d went to %v, want one queue", i, got)
		}
		where = append(where, got[0])
		per[got[0]]++
	}
	return where, per
}

func byKey(i int) *Msg { return &Msg{Key: fmt.Sprint("key.", i)} }

func TestConsistentHashWeights(t *testing.T) {
	const n = 20_000
	for _, lines := range [][]string{
		{"c -> q0 1", "c -> q1 1", "c -> q2 1"},
		{"c -> q0 1", "c -> q1 2", "c -> q2 5"},
		{"c -> q0 1", "c -> q1 1", "c -> q1 3"}, // weights of one destination add up
	} {
		tab := world(t, append([]string{"c x-consistent-hash"}, lines...)...)
		_, per := counts(t, tab, "c", n, byKey)
		want, total := map[string]float64{}, 0.0
		for b := range tab.BindingsFrom("c") {
			w, _ := weight(&b)
			want[b.Destination] += float64(w)
			total += float64(w)
		}
		for q, w := range want {
			if share := float64(per[q]) / n; math.Abs(share-w/total) > 0.02 {
				t.Errorf("%v: %s got %.3f of the messages, want %.3f", lines, q, share, w/total)
			}
		}
	}
}

func TestConsistentHashMovesOnlyAShare(t *testing.T) {
	tab := world(t, "c x-consistent-hash", "c -> q0 1", "c -> q1 1", "c -> q2 1", "c -> q3 1")
	before, _ := counts(t, tab, "c", 5000, byKey)
	for _, weight := range []string{"1", "7"} { // the second makes the weights unequal
		more, _, err := tab.Bind(Binding{Source: "c", Destination: "q4", Key: weight})
		if err != nil {
			t.Fatal(err)
		}
		after, _ := counts(t, more, "c", 5000, byKey)
		for i := range before {
			if after[i] != before[i] && after[i] != "q4" {
				t.Fatalf("weight %s: message %d moved from %s to %s, not to the new queue", weight, i, before[i], after[i])
			}
		}
	}
	less, _, _ := tab.RemoveQueue("q2")
	after, _ := counts(t, less, "c", 5000, byKey)
	for i := range before {
		if after[i] != before[i] && before[i] != "q2" {
			t.Fatalf("message %d moved from %s, which stayed", i, before[i])
		}
	}
}

func TestConsistentHashSources(t *testing.T) {
	for _, tt := range []struct {
		arg, value string
		same, each func(i int) *Msg // alike in what is hashed; different
	}{
		{"hash-header", "h",
			func(i int) *Msg { return &Msg{Key: fmt.Sprint(i), Headers: rawTable(args("i", int32(i), "h", "s"))} },
			func(i int) *Msg { return &Msg{Headers: rawTable(args("h", int32(i)))} }},
		{"hash-header", "missing", byKey, nil},
		{"hash-property", "correlation_id",
			func(i int) *Msg { return &Msg{Key: fmt.Sprint(i), CorrelationID: "c"} },
			func(i int) *Msg { return &Msg{CorrelationID: fmt.Sprint(i)} }},
		{"hash-property", "message_id",
			func(i int) *Msg { return &Msg{Key: fmt.Sprint(i), MessageID: "c"} },
			func(i int) *Msg { return &Msg{MessageID: fmt.Sprint(i)} }},
		{"hash-property", "timestamp",
			func(i int) *Msg { return &Msg{Key: fmt.Sprint(i), Timestamp: 5, HasTimestamp: true} },
			func(i int) *Msg { return &Msg{Timestamp: uint64(i), HasTimestamp: true} }},
		{"hash-property", "timestamp", byKey, nil},
	} {
		tab, err := queues(4).Declare(Spec{Name: "c", Type: "x-consistent-hash", Args: args(tt.arg, tt.value)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			tab = mustBind(t, tab, Binding{Source: "c", Destination: fmt.Sprint("q", i), Key: "1"})
		}
		if _, per := counts(t, tab, "c", 100, tt.same); len(per) != 1 {
			t.Errorf("%s %s: what is alike went to %v", tt.arg, tt.value, per)
		}
		if tt.each != nil {
			if _, per := counts(t, tab, "c", 1000, tt.each); len(per) != 4 {
				t.Errorf("%s %s: what differs went to %v only", tt.arg, tt.value, per)
			}
		}
	}
}

func TestModulusAndRandom(t *testing.T) {
	tab := world(t, "m x-modulus-hash", "m -> q0", "m -> q1", "m -> q2", "r x-random", "r -> q0", "r -> q1", "r -> q2")
	first, per := counts(t, tab, "m", 300, byKey)
	again, _ := counts(t, world(t, "m x-modulus-hash", "m -> q2", "m -> q0", "m -> q1"), "m", 300, byKey)
	if fmt.Sprint(first) != fmt.Sprint(again) || len(per) != 3 {
		t.Errorf("x-modulus-hash: the order of binding matters, or not all queues are used: %v", per)
	}
	if _, per := counts(t, tab, "r", 300, byKey); len(per) != 3 {
		t.Errorf("x-random uses %v, want all three", per)
	}
}

// The same on all nodes and in all later versions: a change would move messages between queues during an upgrade.
func TestStableHash(t *testing.T) {
	for s, want := range map[string]uint64{"": 0xf52a15e9a9b5e89b, "key": 0x487eb6f7e0ea7e7c} {
		if got := stableHash(stableSeed, s); got != want {
			t.Errorf("stableHash(%q) = %#x, want %#x", s, got, want)
		}
	}
}
