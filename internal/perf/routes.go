package perf

import (
	"fmt"
	"slices"
	"strings"
)

// A route is a routing key and the queues that a message with it belongs in, each once.
type route struct {
	key    string
	queues []int
}

// share returns which of n things fall to number i of m: i, i+m, ... while there are enough, else one of them.
func share(i, m, n int) []int {
	if m >= n {
		return []int{i % n}
	}
	var all []int
	for ; i < n; i += m {
		all = append(all, i)
	}
	return all
}

// bindings returns what is bound for the run.
func (c *Config) bindings() []Binding {
	if c.Exchange == "" || len(c.Bindings) > 0 {
		return c.Bindings
	}
	all := make([]Binding, c.Queues)
	for i := range all {
		all[i] = Binding{i, c.queueName(i)}
	}
	return all
}

// routes returns the keys that a producer uses in turn and where they lead, by the rules of spec 3.1.3.
func (c *Config) routes(producer int) ([]route, error) {
	keys := c.Keys
	if len(keys) == 0 {
		for _, q := range share(producer, max(c.Producers, 1), c.Queues) {
			keys = append(keys, c.queueName(q))
		}
	}
	var leads func(binding, key []string) bool
	switch c.Exchange {
	case "":
		return c.defaultRoutes(keys)
	case "fanout":
		leads = func(_, _ []string) bool { return true }
	case "direct":
		leads = slices.Equal[[]string]
	case "topic":
		leads = topicMatch
	default:
		return nil, fmt.Errorf("perf: exchange type %q is not known here", c.Exchange)
	}
	bindings := c.bindings()
	words := make([][]string, len(bindings))
	for i, b := range bindings {
		words[i] = split(b.Key)
	}
	out := make([]route, len(keys))
	last := make([]int, c.Queues) // 1 + the last key that led to the queue
	for k, key := range keys {
		out[k].key = key
		keyWords := split(key)
		for i, b := range bindings {
			if last[b.Queue] != k+1 && leads(words[i], keyWords) {
				last[b.Queue] = k + 1
				out[k].queues = append(out[k].queues, b.Queue)
			}
		}
	}
	return out, nil
}

// defaultRoutes reads each key as a queue's name.
func (c *Config) defaultRoutes(keys []string) ([]route, error) {
	number := make(map[string]int, c.Queues)
	for i := range c.Queues {
		number[c.queueName(i)] = i
	}
	out := make([]route, len(keys))
	for k, key := range keys {
		out[k].key = key
		if q, ok := number[key]; ok {
			out[k].queues = []int{q}
		}
	}
	return out, nil
}

// split returns the words of a key; the empty key has none.
func split(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// topicMatch says whether a binding key matches a routing key, word by word: * is one word, # any number. Spec: 3.1.3.3.
func topicMatch(binding, key []string) bool {
	for i, word := range binding {
		switch {
		case word == "#":
			for from := i; from <= len(key); from++ {
				if topicMatch(binding[i+1:], key[from:]) {
					return true
				}
			}
			return false
		case i >= len(key) || word != "*" && word != key[i]:
			return false
		}
	}
	return len(binding) == len(key)
}
