package exchange

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// A pickList is the destinations of a type that leads each message to one of them, in the order of their names, which is
// the same on all nodes and after a restart. It is an array, copied by each change: such exchanges have few bindings,
// and picking by number wants one.
type pickList []pick

type pick struct {
	destination
	key  string // destination.key, the order of the list
	hash uint64 // of key, the same on all nodes
}

// with adds n to the destination's bindings.
func (l pickList) with(to destination, n int64) pickList {
	key := to.key()
	i, ok := slices.BinarySearchFunc(l, key, func(p pick, key string) int { return strings.Compare(p.key, key) })
	if !ok {
		if n <= 0 {
			return l
		}
		to.bindings = n
		return inserted(l, i, pick{to, key, stableHash(stableSeed, key)})
	}
	if to.bindings = l[i].bindings + n; to.bindings <= 0 {
		return removed(l, i)
	}
	return replaced(l, i, pick{to, key, l[i].hash})
}

// A randomMatcher leads each message to any one destination. That is x-random, and x-local-random too: a message takes
// no longer to a queue on another node.
type randomMatcher struct{ list pickList }

func (p randomMatcher) with(_ *Binding, to destination, n int64) matcher {
	return randomMatcher{p.list.with(to, n)}
}

func (p randomMatcher) match(r *Router, _ *Exchange, _ *Msg) bool {
	if len(p.list) == 0 {
		return false
	}
	r.send(&p.list[rand.IntN(len(p.list))].destination)
	return true
}

// A modulusMatcher is that of x-modulus-hash: messages with the same keys go to the same one destination as long as the
// bindings do not change.
type modulusMatcher struct{ list pickList }

func (p modulusMatcher) with(_ *Binding, to destination, n int64) matcher {
	return modulusMatcher{p.list.with(to, n)}
}

func (p modulusMatcher) match(r *Router, _ *Exchange, m *Msg) bool {
	if len(p.list) == 0 {
		return false
	}
	hash := uint64(stableSeed)
	for i := range m.keys() {
		hash = stableHash(hash, m.key(i))
	}
	r.send(&p.list[hash%uint64(len(p.list))].destination)
	return true
}
