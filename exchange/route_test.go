package exchange

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// The key words and patterns of RabbitMQ's own answers.
func TestTopic(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		keys    string // separated by spaces, '' for the empty key
		want    string
	}{
		{"#", "'' a a.b .", "'' a a.b ."},
		{"*", "'' a a.b . *", "a *"},
		{"a.#", "'' a a. a.b.c b ab", "a a. a.b.c"},
		{"#.a", "'' a .a b.c.a a.b", "a .a b.c.a"},
		{"a.*.#", "a a. a.b a.b.c", "a. a.b a.b.c"},
		{"#.#", "'' a a.b", "'' a a.b"},
		{"*.#.*", "'' a a.b a.b.c .", "a.b a.b.c ."},
		{"a..b", "a.b a..b a.x.b", "a..b"},
		{"''", "'' a .", "''"},
		{"a*", "a ab a*", "a*"}, // only a whole word is a wildcard
	} {
		pattern := strings.Trim(tt.pattern, "'")
		tab := mustBind(t, queues(1), Binding{Source: "amq.topic", Destination: "q0", Key: pattern})
		x, _ := tab.Exchange("amq.topic")
		var r Router
		var got []string
		for _, key := range strings.Fields(tt.keys) {
			if len(r.Route(tab, x, &Msg{Key: strings.Trim(key, "'")}, nil)) == 1 {
				got = append(got, key)
			}
		}
		if got := strings.Join(got, " "); got != tt.want {
			t.Errorf("pattern %s of %s matches %s, want %s", tt.pattern, tt.keys, got, tt.want)
		}
	}
}

// Many '#' against a long key: the work is bounded by words times nodes, or this test would not end.
func TestTopicAdversary(t *testing.T) {
	tab := queues(3)
	for i, pattern := range []string{strings.Repeat("#.", 60) + "a", strings.Repeat("#.a.", 60) + "b", strings.Repeat("*.#.", 60) + "#"} {
		tab = mustBind(t, tab, Binding{Source: "amq.topic", Destination: fmt.Sprint("q", i), Key: pattern})
	}
	x, _ := tab.Exchange("amq.topic")
	var r Router
	got := routed(&r, tab, x, &Msg{Key: strings.Repeat("a.", 127) + "a"})
	if want := []string{"q0", "q2"}; !slices.Equal(got, want) {
		t.Errorf("routed to %v, want %v", got, want)
	}
}

func TestHeaders(t *testing.T) {
	nested := args("n", int32(1))
	for _, tt := range []struct {
		rule       string
		args, have amqp.Table
		want       bool
	}{
		{"all is the default", args("a", "1", "b", "2"), args("a", "1"), false},
		{"all, in any order, and more", args("a", "1", "b", "2"), args("c", "3", "b", "2", "a", "1"), true},
		{"any needs one", args("x-match", "any", "a", "1", "b", "2"), args("b", "2"), true},
		{"any of nothing is none", args("x-match", "any"), args("b", "2"), false},
		{"all of nothing is every message", nil, nil, true},
		{"a string is no number", args("a", "1"), args("a", int32(1)), false},
		{"integers are equal whatever their width", args("a", int32(1)), args("a", int64(1)), true},
		{"unsigned too", args("a", uint8(200)), args("a", int16(200)), true},
		{"and negative ones", args("a", int8(-1)), args("a", int64(-1)), true},
		{"and floats", args("a", int32(2)), args("a", 2.0), true},
		{"and timestamps", args("a", amqp.Timestamp(1<<63)), args("a", float64(1<<63)), true},
		{"0.1 in 32 bits is not 0.1", args("a", float32(0.1)), args("a", 0.1), false},
		{"a string's bytes", args("a", "x"), args("a", []byte("x")), true},
		{"booleans", args("a", true), args("a", true), true},
		{"true is not 1", args("a", true), args("a", int8(1)), false},
		{"decimals", args("a", amqp.Decimal{Scale: 1, Value: 5}), args("a", amqp.Decimal{Scale: 1, Value: 5}), true},
		{"a void argument asks for presence", args("a", nil), args("a", "anything"), true},
		{"a void argument and no header", args("a", nil), args("b", "anything"), false},
		{"a void header is no value", args("a", "1"), args("a", nil), false},
		{"x- fields do not count", args("a", "1", "x-b", "2"), args("a", "1"), true},
		{"with-x they do", args("x-match", "all-with-x", "a", "1", "x-b", "2"), args("a", "1"), false},
		{"any does not look at them", args("x-match", "any", "x-b", "2"), args("x-b", "2"), false},
		{"any-with-x does", args("x-match", "any-with-x", "x-b", "2"), args("x-b", "2"), true},
		{"x-match itself never counts", args("x-match", "all-with-x"), args("a", "1"), true},
		{"the first of two headers of one name", args("a", "2"), args("a", "1", "a", "2"), false},
		{"tables", args("a", nested), args("a", args("n", int32(1))), true},
		{"types matter inside tables", args("a", nested), args("a", args("n", int64(1))), false},
		{"arrays", args("a", amqp.Array{"v", nil}), args("a", amqp.Array{"v", nil}), true},
		{"an empty array is an empty table", args("a", amqp.Array{}), args("a", amqp.Table{}), true},
	} {
		tab := mustBind(t, queues(1), Binding{Source: "amq.headers", Destination: "q0", Args: tt.args})
		x, _ := tab.Exchange("amq.headers")
		var r Router
		if got := len(r.Route(tab, x, &Msg{Headers: rawTable(tt.have)}, nil)) == 1; got != tt.want {
			t.Errorf("%s: arguments %v, headers %v: %v, want %v", tt.rule, tt.args, tt.have, got, tt.want)
		}
	}
}

// FuzzHeaders: no damaged header table harms the router, and a sound one matches a binding made of itself.
func FuzzHeaders(f *testing.F) {
	f.Add([]byte(rawTable(args("a", int32(1), "b", "c", "t", args("n", nil), "r", amqp.Array{1.5}))))
	f.Add([]byte(rawTable(args(strings.Repeat("n", 255), true))))
	f.Add([]byte("\x01aS\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		headers := amqp.RawTable(raw)
		own := args("x-match", "all-with-x")
		for _, f := range headers.Table() {
			if _, twice := own.Lookup(f.Name); !twice {
				own = append(own, f)
			}
		}
		tab := mustBind(t, queues(1), Binding{Source: "amq.headers", Destination: "q0", Args: own})
		x, _ := tab.Exchange("amq.headers")
		var r Router
		if got := routed(&r, tab, x, &Msg{Headers: headers}); headers.Check() == nil && len(got) != 1 {
			t.Errorf("headers %v do not match themselves", own)
		}
		if tab, _, _ = tab.RemoveQueue("q0"); len(slices.Collect(tab.Bindings())) != 0 {
			t.Error("the binding outlived its queue")
		}
	})
}

// world declares exchanges "name type" and adds bindings "source -> destination key"; q0 to q4 are queues.
func world(t *testing.T, lines ...string) *Table {
	t.Helper()
	tab := queues(5)
	for _, line := range lines {
		f := append(strings.Fields(line), "")
		if f[1] == "->" {
			_, isExchange := tab.Exchange(f[2])
			tab = mustBind(t, tab, Binding{Source: f[0], Destination: f[2], ToExchange: isExchange, Key: f[3]})
			continue
		}
		s := Spec{Name: f[0], Type: f[1]}
		for _, opt := range f[2:] {
			if alternate, ok := strings.CutPrefix(opt, "ae="); ok {
				s.Args = args("alternate-exchange", alternate)
			}
			s.AutoDelete = s.AutoDelete || opt == "auto-delete"
		}
		var err error
		if tab, err = tab.Declare(s); err != nil {
			t.Fatal(err)
		}
	}
	return tab
}

func TestRoute(t *testing.T) {
	for _, tt := range []struct {
		rule    string
		world   []string
		from    string
		msg     Msg
		want    string
		keyOnly bool
	}{
		{"default by name", nil, "", Msg{Key: "q1"}, "q1", true},
		{"default, CC", nil, "", Msg{Key: "q1", ExtraKeys: []string{"q2", "q1", "no"}}, "q1 q2", true},
		{"direct", []string{"d direct", "d -> q0 k", "d -> q1 k", "d -> q2 l"}, "d", Msg{Key: "k"}, "q0 q1", true},
		{"CC of a direct exchange", []string{"d direct", "d -> q0 k", "d -> q1 l"}, "d", Msg{Key: "k", ExtraKeys: []string{"l"}}, "q0 q1", true},
		{"two bindings, one copy", []string{"t topic", "t -> q0 #", "t -> q0 a.*"}, "t", Msg{Key: "a.b"}, "q0", true},
		{"exchange to exchange", []string{"f fanout", "t topic", "f -> t", "t -> q1 a.*", "f -> q0"}, "f", Msg{Key: "a.b"}, "q0 q1", true},
		{"a cycle ends", []string{"a fanout", "b fanout", "a -> b", "b -> a", "b -> q0", "a -> a"}, "a", Msg{}, "q0", true},
		{"alternate", []string{"a fanout", "d direct ae=a", "d -> q0 k", "a -> q1"}, "d", Msg{Key: "no"}, "q1", true},
		{"alternate not needed", []string{"a fanout", "d direct ae=a", "d -> q0 k", "a -> q1"}, "d", Msg{Key: "k"}, "q0", true},
		{"a binding that leads nowhere is a match", []string{"a fanout", "n fanout", "d fanout ae=a", "d -> n", "a -> q1"}, "d", Msg{}, "", true},
		{"alternate of the second exchange", []string{"a fanout", "n direct ae=a", "d fanout", "d -> n", "a -> q1"}, "d", Msg{}, "q1", true},
		{"alternates in a cycle", []string{"a direct ae=b", "b direct ae=a"}, "a", Msg{}, "", true},
		{"missing alternate", []string{"a direct ae=b"}, "a", Msg{}, "", true},
		{"headers are no key", []string{"h headers", "h -> q0"}, "h", Msg{}, "q0", false},
		{"nor behind others", []string{"f fanout", "h headers", "f -> h", "h -> q0"}, "f", Msg{}, "q0", false},
		{"nor as alternates", []string{"h headers", "d direct ae=h", "h -> q0"}, "d", Msg{}, "q0", false},
		{"random of one", []string{"r x-random", "r -> q3"}, "r", Msg{}, "q3", false},
		{"random of none", []string{"r x-local-random ae=f", "f fanout", "f -> q1"}, "r", Msg{}, "q1", false},
	} {
		tab := world(t, tt.world...)
		x, _ := tab.Exchange(tt.from)
		var r Router
		if got := strings.Join(routed(&r, tab, x, &tt.msg), " "); got != tt.want || r.KeyOnly != tt.keyOnly {
			t.Errorf("%s: %q, KeyOnly %v, want %q, %v", tt.rule, got, r.KeyOnly, tt.want, tt.keyOnly)
		}
	}
}

func TestPolicyAlternate(t *testing.T) {
	tab := world(t, "own direct ae=f", "none direct", "f fanout", "g fanout", "f -> q0", "g -> q1")
	var r Router
	for _, tt := range []struct{ x, policy, want string }{
		{"own", "g", "q0"}, {"none", "g", "q1"}, {"none", "", ""}, {"no such exchange", "g", ""},
	} {
		tab = tab.SetAlternate(tt.x, tt.policy)
		if x, ok := tab.Exchange(tt.x); ok {
			if got := strings.Join(routed(&r, tab, x, &Msg{}), " "); got != tt.want {
				t.Errorf("%s with policy %q: %q, want %q", tt.x, tt.policy, got, tt.want)
			}
		}
	}
}

func TestCollapse(t *testing.T) {
	chain := []string{"a fanout auto-delete", "b fanout auto-delete", "c fanout", "never fanout auto-delete", "a -> b", "b -> c", "a -> q1", "c -> q0"}
	del := func(f func(*Table) (*Table, []Binding, []string)) string {
		tab, removed, gone := f(world(t, chain...))
		for _, x := range gone {
			if _, ok := tab.Exchange(x); ok {
				t.Errorf("%s is gone and there", x)
			}
		}
		return fmt.Sprint(len(removed), gone)
	}
	for _, tt := range []struct{ what, got, want string }{
		{"deleting the end of the chain", del(func(t *Table) (*Table, []Binding, []string) {
			t, _, _ = t.RemoveQueue("q1")
			return t.DeleteExchange("c")
		}), "3 [b a]"},
		{"a keeps a binding", del(func(t *Table) (*Table, []Binding, []string) { return t.DeleteExchange("c") }), "3 [b]"},
		{"the last queue", del(func(t *Table) (*Table, []Binding, []string) {
			t, _, _ = t.Unbind(Binding{Source: "a", Destination: "b", ToExchange: true})
			return t.RemoveQueue("q1")
		}), "1 [a]"},
		{"unbind", del(func(t *Table) (*Table, []Binding, []string) {
			t, _, _ = t.RemoveQueue("q1")
			return t.Unbind(Binding{Source: "b", Destination: "c", ToExchange: true})
		}), "2 [b a]"},
		{"what is not bound", del(func(t *Table) (*Table, []Binding, []string) {
			return t.Unbind(Binding{Source: "never", Destination: "q0"})
		}), "0 []"},
		{"not auto-delete", del(func(t *Table) (*Table, []Binding, []string) { return t.RemoveQueue("q0") }), "1 []"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, tt.got, tt.want)
		}
	}
}

func TestReplacedQueue(t *testing.T) {
	tab := world(t, "d direct", "d -> q0 k")
	q := &Queue{Name: "q0", ID: 77}
	tab = tab.AddQueue(q)
	var r Router
	for _, x := range []string{"", "d"} {
		x, _ := tab.Exchange(x)
		if got := r.Route(tab, x, &Msg{Key: map[string]string{"": "q0", "d": "k"}[x.Name]}, nil); len(got) != 1 || got[0] != q {
			t.Errorf("exchange %q: %v, want the new queue", x.Name, got)
		}
	}
}

func TestHistory(t *testing.T) {
	tab := world(t, "f fanout", "h x-recent-history", "f -> h", "h -> q0")
	x, _ := tab.Exchange("f")
	var r Router
	for _, tt := range []struct {
		headers amqp.Table
		want    int
	}{
		{nil, 1}, {args(historyNoStore, true), 0}, {args(historyNoStore, false), 1}, {args(historyNoStore, "true"), 1},
	} {
		got := routed(&r, tab, x, &Msg{Headers: rawTable(tt.headers)})
		if len(got) != 1 || len(r.History) != tt.want || r.KeyOnly {
			t.Errorf("headers %v: routed to %v, %d exchanges store, KeyOnly %v, want %d", tt.headers, got, len(r.History), r.KeyOnly, tt.want)
		}
	}
	tab, err := tab.Declare(Spec{Name: "five", Type: "x-recent-history", Args: args(historyLengthArg, int16(5))})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"f": 0, "h": 20, "five": 5} {
		if x, _ := tab.Exchange(name); x.HistoryLength() != want {
			t.Errorf("HistoryLength of %s = %d, want %d", name, x.HistoryLength(), want)
		}
	}
}

// TestReaders: routing and changing at once, for the race detector.
func TestReaders(t *testing.T) {
	tab := world(t, "t topic", "t -> q0 #.a", "h headers", "h -> q1")
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() { // ends after its messages
			var r Router
			for i := range 500 {
				x, _ := tab.Exchange([]string{"t", "h"}[i%2])
				if got := r.Route(tab, x, &Msg{Key: "b.a"}, nil); len(got) != 1 {
					t.Errorf("routed to %d queues, want 1", len(got))
				}
			}
		})
	}
	next := tab
	for i := range 500 {
		next = mustBind(t, next, Binding{Source: "t", Destination: "q2", Key: fmt.Sprint("#.a.", i)})
		next = mustBind(t, next, Binding{Source: "h", Destination: "q2", Args: args("k", int32(i))})
	}
	readers.Wait()
}

func TestRouteAllocatesNothing(t *testing.T) {
	tab := world(t, "f fanout", "t topic ae=f", "h headers ae=t", "c x-consistent-hash ae=h", "d direct ae=c", "f -> q0", "f -> t", "t -> q1 #.a.#.b")
	for i := range 100 {
		tab = tab.AddQueue(&Queue{Name: fmt.Sprint("many", i), ID: uint32(10 + i)})
		tab = mustBind(t, tab, Binding{Source: "f", Destination: fmt.Sprint("many", i)})
	}
	tab = mustBind(t, tab, Binding{Source: "h", Destination: "q2", Args: args("n", int32(2), "s", "no")})
	x, _ := tab.Exchange("d")
	m := &Msg{Key: "x.a", ExtraKeys: []string{"x.c"}, Headers: rawTable(args("n", int64(2), "s", "yes"))}
	var r Router
	dst := r.Route(tab, x, m, nil)
	if len(dst) != 101 {
		t.Fatalf("routed to %d queues, want 101", len(dst))
	}
	if n := testing.AllocsPerRun(100, func() { dst = r.Route(tab, x, m, dst[:0]) }); n != 0 {
		t.Errorf("%v allocations a message, want 0", n)
	}
}
