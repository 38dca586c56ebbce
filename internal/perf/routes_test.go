package perf

import (
	"slices"
	"testing"
)

func TestTopicMatch(t *testing.T) {
	for _, tt := range []struct {
		binding, key string
		want         bool
	}{
		{"#", "", true},
		{"*", "", false}, // the empty key has no word
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.*", "a", false},
		{"a.#", "a", true},
		{"a.#.c", "a.c", true},
		{"a.#.c", "a.b.b.c", true},
		{"a.#.c", "a.b.b", false},
		{"#.b", "a.b.b", true},
		{"a", "a.b", false},
	} {
		if got := topicMatch(split(tt.binding), split(tt.key)); got != tt.want {
			t.Errorf("topicMatch(%q, %q) = %v, want %v", tt.binding, tt.key, got, tt.want)
		}
	}
}

func TestRoutes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		cfg      Config
		producer int
		want     []route
	}{
		{"default exchange, a queue each", Config{Producers: 2, Queues: 2}, 1, []route{{"perf-1", []int{1}}}},
		{"more producers than queues", Config{Producers: 3, Queues: 2}, 2, []route{{"perf-0", []int{0}}}},
		{"more queues than producers", Config{Producers: 2, Queues: 3}, 0,
			[]route{{"perf-0", []int{0}}, {"perf-2", []int{2}}}},
		{"fanout leads everywhere", Config{Exchange: "fanout", Queues: 2, Keys: []string{""}}, 0,
			[]route{{"", []int{0, 1}}}},
		{"direct", Config{Exchange: "direct", Queues: 2, Keys: []string{"a", "b"},
			Bindings: []Binding{{0, "a"}, {1, "a"}}}, 0, []route{{"a", []int{0, 1}}, {"b", nil}}},
		{"a queue that matches twice gets one", Config{Exchange: "topic", Queues: 1, Keys: []string{"a.b"},
			Bindings: []Binding{{0, "a.*"}, {0, "*.b"}}}, 0, []route{{"a.b", []int{0}}}},
	} {
		cfg := tt.cfg.withDefaults()
		got, err := cfg.routes(tt.producer)
		same := func(a, b route) bool { return a.key == b.key && slices.Equal(a.queues, b.queues) }
		if err != nil || !slices.EqualFunc(got, tt.want, same) {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
}
