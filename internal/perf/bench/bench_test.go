package main

import (
	"strings"
	"testing"
)

// Each key matches exactly one binding, each binding gets its share of keys, and neighbours go to different bindings.
func TestTopicKeys(t *testing.T) {
	patterns := make([][]string, 0, topicBindings)
	for _, b := range bindings() {
		patterns = append(patterns, strings.Split(b.Key, "."))
	}
	got := make([]int, topicBindings)
	last := -1
	seen := map[string]bool{}
	for _, key := range keys() {
		if seen[key] {
			t.Fatalf("%q comes twice", key)
		}
		seen[key] = true
		words := strings.Split(key, ".")
		hit := -1
		for i, p := range patterns {
			if !matches(p, words) {
				continue
			}
			if hit >= 0 {
				t.Fatalf("%q matches %v and %v", key, patterns[hit], p)
			}
			hit = i
		}
		if hit < 0 || hit == last {
			t.Fatalf("%q matches binding %d, as its neighbour did", key, hit)
		}
		last = hit
		got[hit]++
	}
	for i, n := range got {
		if n != keysPerBinding {
			t.Errorf("binding %v is matched by %d keys, want %d", patterns[i], n, keysPerBinding)
		}
	}
}

// matches is the rule of topic exchanges for the shapes used here: a # stands first or last only.
func matches(pattern, key []string) bool {
	n := len(pattern)
	if pattern[0] == "#" {
		return len(key) >= n-1 && matches(pattern[1:], key[len(key)-n+1:])
	}
	if pattern[n-1] == "#" {
		return len(key) >= n-1 && matches(pattern[:n-1], key[:n-1])
	}
	if len(key) != n {
		return false
	}
	for i, p := range pattern {
		if p != "*" && p != key[i] {
			return false
		}
	}
	return true
}

func TestGoal(t *testing.T) {
	for _, tt := range []struct {
		name     string
		goal     goal
		w, q     float64
		hasW     bool
		hasQ     bool
		want, as string
	}{
		{"a share is met", goal{share: 10}, 1, 10, true, true, "yes", "1/10"},
		{"a share is missed", goal{share: 10}, 1.1, 10, true, true, "no", "1/10"},
		{"no worse", goal{share: 1}, 5, 5, true, true, "yes", "≤ 1"},
		{"a limit needs no peer", goal{limit: 20}, 19, 0, true, false, "yes", "≤ 20"},
		{"a share needs one", goal{share: 2}, 1, 0, true, false, absent, "1/2"},
		{"nothing asked", goal{}, 1, 2, true, true, absent, absent},
	} {
		if got := tt.goal.met(tt.w, tt.q, tt.hasW, tt.hasQ); got != tt.want || tt.goal.String() != tt.as {
			t.Errorf("%s: %s %s, want %s %s", tt.name, tt.goal, got, tt.as, tt.want)
		}
	}
}

func TestTable(t *testing.T) {
	w, q := &broker{name: "Warren", title: "Warren 1"}, &broker{name: "RabbitMQ"}
	tab := &table{brokers: []*broker{w, q}, faults: []string{"b, RabbitMQ: lost"}}
	for _, v := range []float64{9, 0.5, 0.1} { // the median stands
		tab.add("a", 0, w, figure{value: v, rate: 1234567, client: 0.2})
	}
	tab.add("a", 0, q, figure{value: 15, rate: 999, other: 0.25})
	got := tab.markdown([]benchCase{{name: "a", rows: []row{{name: "p50", unit: "µs", goal: goal{share: 29}}}}})
	for _, want := range []string{
		"Warren 1, ", "| a p50 | µs   |   0.50 |     15.0 | 1/30.0 | 1/29 | yes | 1,234,567 |         999 |",
		"Failed: b, RabbitMQ: lost",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestReplaceTable(t *testing.T) {
	doc := "a\n" + tableBegin + "old\n" + tableEnd + "b\n"
	got, err := replaceTable(doc, "new\n")
	if want := "a\n" + tableBegin + "\nnew\n\n" + tableEnd + "b\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	if again, _ := replaceTable(got, "new\n"); again != got {
		t.Errorf("a second time: %q", again)
	}
	if _, err := replaceTable("no marks", "new"); err == nil {
		t.Error("a document without marks is accepted")
	}
}
