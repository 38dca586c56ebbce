package main

import (
	"fmt"

	"github.com/warrenmq/warren/internal/perf"
)

const (
	topicBindings  = 1000
	topicQueues    = 4
	keysPerBinding = 10
)

// bindings returns wildcard binding keys of four shapes: stars at the end, a hash at the end, stars in front, a hash in
// front.
func bindings() []perf.Binding {
	out := make([]perf.Binding, topicBindings)
	for i := range out {
		format := [...]string{"order.%d.*.*", "stock.%d.#", "*.*.press.%d", "#.alarm.%d"}[i%4]
		out[i] = perf.Binding{Queue: i / 4 % topicQueues, Key: fmt.Sprintf(format, i)}
	}
	return out
}

// keys returns routing keys each of which matches one of the bindings, ten for each binding, in an order in which
// neighbours have nothing in common: neither a trie's path nor a cached answer is still warm.
func keys() []string {
	const n = topicBindings * keysPerBinding
	const stride = 7919 // a prime that does not divide n, so that each key has its turn
	out := make([]string, n)
	for at := range out {
		i, k := at*stride%n/keysPerBinding, at*stride%n%keysPerBinding
		switch i % 4 {
		case 0:
			out[at] = fmt.Sprintf("order.%d.eu.v%d", i, k)
		case 1:
			out[at] = fmt.Sprintf("stock.%d.hall%d.shelf%d.box", i, k%3, k)
		case 2:
			out[at] = fmt.Sprintf("hall%d.line%d.press.%d", k%3, k, i)
		case 3:
			out[at] = fmt.Sprintf("plant.hall%d.line%d.alarm.%d", k%3, k, i)
		}
	}
	return out
}
