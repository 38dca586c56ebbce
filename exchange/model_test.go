package exchange

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// The model is routing as the rules are written: lists, searched from end to end, and recursion.
type model struct {
	exchanges map[string]Spec
	policies  map[string]string
	queues    map[string]bool
	bindings  []Binding
}

// naiveTopic tries every way in which '#' can take words.
func naiveTopic(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		for i := range len(key) + 1 {
			if naiveTopic(pattern[1:], key[i:]) {
				return true
			}
		}
		return false
	case len(key) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == key[0]) && naiveTopic(pattern[1:], key[1:])
}

func naiveWords(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ".")
}

// naiveHeaders knows integers and strings only.
func naiveHeaders(args, headers amqp.Table) bool {
	match, _ := args.Lookup("x-match")
	anyOf := match == "any" || match == "any-with-x"
	withX := match == "all-with-x" || match == "any-with-x"
	for _, f := range args {
		if f.Name == "x-match" || !withX && strings.HasPrefix(f.Name, "x-") {
			continue
		}
		v, ok := headers.Lookup(f.Name)
		same := v == f.Value
		if n, isInt := amqp.Int(f.Value); isInt {
			h, alsoInt := amqp.Int(v)
			same = alsoInt && h == n
		}
		if hit := ok && (f.Value == nil || same); hit == anyOf {
			return anyOf
		}
	}
	return !anyOf
}

func (md *model) matches(b Binding, m *Msg) bool {
	for i := range m.keys() {
		key := m.key(i)
		switch md.exchanges[b.Source].Type {
		case "direct":
			if b.Key == key {
				return true
			}
		case "fanout", "x-recent-history":
			return true
		case "topic":
			if naiveTopic(naiveWords(b.Key), naiveWords(key)) {
				return true
			}
		case "headers":
			return naiveHeaders(b.Args, m.Headers.Table())
		}
	}
	return false
}

func (md *model) route(x string, m *Msg, seen, out map[string]bool) {
	s, ok := md.exchanges[x]
	if !ok || seen[x] {
		return
	}
	seen[x] = true
	matched := false
	for _, b := range md.bindings {
		if b.Source != x || !md.matches(b, m) {
			continue
		}
		matched = true
		if b.ToExchange {
			md.route(b.Destination, m, seen, out)
		} else {
			out[b.Destination] = true
		}
	}
	if matched {
		return
	}
	alternate, ok := s.Args.Lookup("alternate-exchange")
	if !ok {
		alternate = md.policies[x]
	}
	if alternate != "" {
		md.route(alternate.(string), m, seen, out)
	}
}

// drop removes the bindings that f picks, and auto-delete exchanges that they were the last of.
func (md *model) drop(f func(Binding) bool) (gone []string) {
	var sources []string
	md.bindings = slices.DeleteFunc(md.bindings, func(b Binding) bool {
		if f(b) {
			sources = append(sources, b.Source)
			return true
		}
		return false
	})
	for _, x := range sources {
		used := slices.ContainsFunc(md.bindings, func(b Binding) bool { return b.Source == x })
		if s, ok := md.exchanges[x]; ok && s.AutoDelete && !used {
			gone = append(gone, x)
			gone = append(gone, md.delete(x)...)
		}
	}
	return gone
}

func (md *model) delete(x string) []string {
	delete(md.exchanges, x)
	return md.drop(func(b Binding) bool { return b.Source == x || b.ToExchange && b.Destination == x })
}

func sameBinding(a, b Binding) bool { return a.identity() == b.identity() }

// FuzzChanges makes random changes to a Table and to the model and compares what they say to random messages.
func FuzzChanges(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, uint16(200))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
		types := []string{"direct", "fanout", "topic", "headers", "x-recent-history"}
		words := func() string {
			var w []string
			for range rnd.IntN(5) {
				w = append(w, pick("a", "b", "*", "#", "#", ""))
			}
			return strings.Join(w, ".")
		}
		name := func(prefix string) string { return prefix + fmt.Sprint(rnd.IntN(7)) }
		args := func() (a amqp.Table) {
			for range rnd.IntN(4) {
				a = append(a, amqp.Field{Name: pick("f", "g", "x-h", "h"), Value: []any{int32(1), int64(1), "1", nil, int8(2), "s"}[rnd.IntN(6)]})
			}
			seen := map[string]bool{}
			a = slices.DeleteFunc(a, func(f amqp.Field) bool { again := seen[f.Name]; seen[f.Name] = true; return again })
			if m := pick("", "all", "any", "all-with-x", "any-with-x"); m != "" {
				a = append(a, amqp.Field{Name: "x-match", Value: m})
			}
			return a
		}
		binding := func() Binding {
			b := Binding{Source: name("x"), Destination: name("q"), Key: words(), Args: args()}
			if rnd.IntN(3) == 0 {
				b.ToExchange, b.Destination = true, name("x")
			}
			return b
		}
		tab := NewTable("/")
		md := &model{exchanges: map[string]Spec{}, policies: map[string]string{}, queues: map[string]bool{}}
		var r Router
		var id uint32
		for step := range min(int(steps), 400) {
			var gone, wantGone []string
			var removed []Binding
			before := slices.Clone(md.bindings)
			switch op := rnd.IntN(20); {
			case op < 4:
				s := Spec{Name: name("x"), Type: types[rnd.IntN(len(types))], AutoDelete: rnd.IntN(2) == 0}
				if rnd.IntN(3) == 0 {
					s.Args = amqp.Table{{Name: "alternate-exchange", Value: name("x")}}
				}
				if _, ok := md.exchanges[s.Name]; !ok {
					md.exchanges[s.Name] = s
					delete(md.policies, s.Name)
				}
				var err error
				if tab, err = tab.Declare(s); err != nil {
					t.Fatal(err)
				}
			case op < 7:
				q := name("q")
				md.queues[q] = true
				id++
				tab = tab.AddQueue(&Queue{Name: q, ID: id})
			case op < 8:
				q := name("q")
				delete(md.queues, q)
				wantGone = md.drop(func(b Binding) bool { return !b.ToExchange && b.Destination == q })
				tab, removed, gone = tab.RemoveQueue(q)
			case op < 9:
				x := name("x")
				wantGone = md.delete(x)
				tab, removed, gone = tab.DeleteExchange(x)
			case op < 10:
				x, a := name("x"), name("x")
				if _, ok := md.exchanges[x]; ok {
					md.policies[x] = a
				}
				tab = tab.SetAlternate(x, a)
			case op < 12 && len(md.bindings) > 0:
				b := md.bindings[rnd.IntN(len(md.bindings))]
				b.Args = slices.Clone(b.Args)
				slices.Reverse(b.Args)
				wantGone = md.drop(func(c Binding) bool { return sameBinding(b, c) })
				tab, removed, gone = tab.Unbind(b)
			default:
				b := binding()
				_, haveX := md.exchanges[b.Source]
				_, haveD := md.exchanges[b.Destination]
				if !b.ToExchange {
					haveD = md.queues[b.Destination]
				}
				again := slices.ContainsFunc(md.bindings, func(c Binding) bool { return sameBinding(b, c) })
				next, added, err := tab.Bind(b)
				if (err == nil) != (haveX && haveD) || err == nil && added == again {
					t.Fatalf("step %d: Bind(%+v) = %v, %v; source %v, destination %v, there %v", step, b, added, err, haveX, haveD, again)
				}
				if err == nil {
					tab = next
				}
				if added {
					md.bindings = append(md.bindings, b)
				}
			}
			slices.Sort(gone)
			slices.Sort(wantGone)
			if !slices.Equal(gone, wantGone) {
				t.Fatalf("step %d: gone = %v, want %v", step, gone, wantGone)
			}
			if len(removed) != 0 && len(removed) != len(before)-len(md.bindings) {
				t.Fatalf("step %d: removed %d bindings, want %d", step, len(removed), len(before)-len(md.bindings))
			}
			if got := len(slices.Collect(tab.Bindings())); got != len(md.bindings) {
				t.Fatalf("step %d: %d bindings, want %d", step, got, len(md.bindings))
			}
			for range 3 {
				m := &Msg{Key: strings.NewReplacer("*", "a", "#", "b").Replace(words()), Headers: rawTable(args())}
				if rnd.IntN(4) == 0 {
					m.ExtraKeys = []string{words()}
				}
				src := name("x")
				x, ok := tab.Exchange(src)
				if _, want := md.exchanges[src]; ok != want {
					t.Fatalf("step %d: exchange %s there: %v, want %v", step, src, ok, want)
				}
				if !ok {
					continue
				}
				want := map[string]bool{}
				md.route(src, m, map[string]bool{}, want)
				if got := routed(&r, tab, x, m); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
					t.Fatalf("step %d: Route(%s, %+v) = %v, want %v\nbindings %+v", step, src, *m, got, slices.Sorted(maps.Keys(want)), md.bindings)
				}
			}
		}
		for x := range tab.Exchanges() { // what was added comes away again without a trace
			if x.Name != "" && len(x.Name) < 3 {
				tab, _, _ = tab.DeleteExchange(x.Name)
			}
		}
		for q := range tab.Queues() {
			if n := len(slices.Collect(tab.BindingsToQueue(q.Name))); n != 1 {
				t.Fatalf("queue %s has %d bindings after all exchanges went, want the implicit one", q.Name, n)
			}
		}
	})
}

// FuzzTopic compares a pattern and a key with the naive matcher, in a trie that holds other patterns too.
func FuzzTopic(f *testing.F) {
	for _, s := range [][2]string{{"#.#.a", "a.a.a"}, {"*.#", ""}, {"a..#", "a.."}, {"#.*.#.b.#", "a.b.c.b"}, {".", "."}} {
		f.Add(s[0], s[1], "#.a|*|a.#.b")
	}
	f.Fuzz(func(t *testing.T, pattern, key, others string) {
		if strings.Count(pattern, "#") > 5 || len(key) > 40 || len(others) > 300 {
			t.Skip()
		}
		m := topicMatcher{&topicNode{}}.with(&Binding{Key: pattern}, destination{queue: &Queue{Name: "q"}}, 1)
		for i, o := range strings.Split(others, "|") {
			m = m.with(&Binding{Key: o}, destination{queue: &Queue{Name: fmt.Sprint(i), ID: uint32(i + 1)}}, 1)
		}
		tab := NewTable("/")
		x, _ := tab.Exchange("amq.topic")
		y := *x
		y.matcher = m
		var r Router
		got := slices.Contains(routed(&r, tab, &y, &Msg{Key: key}), "q")
		if want := naiveTopic(naiveWords(pattern), naiveWords(key)); got != want {
			t.Errorf("pattern %q, key %q: %v, want %v", pattern, key, got, want)
		}
		for i, o := range strings.Split(others, "|") {
			m = m.with(&Binding{Key: o}, destination{queue: &Queue{Name: fmt.Sprint(i)}}, -1)
		}
		m = m.with(&Binding{Key: pattern}, destination{queue: &Queue{Name: "q"}}, -1)
		if root := m.(topicMatcher).root; root.words.size != 0 || root.star != nil || root.hash != nil || !root.here.empty() {
			t.Errorf("pattern %q left something in the trie", pattern)
		}
	})
}

// routed returns the sorted names of the queues that m goes to.
func routed(r *Router, t *Table, x *Exchange, m *Msg) []string {
	names := []string{}
	for _, q := range r.Route(t, x, m, nil) {
		names = append(names, q.Name)
	}
	slices.Sort(names)
	return names
}

func rawTable(t amqp.Table) amqp.RawTable { return amqp.AppendTable(nil, t)[4:] }
