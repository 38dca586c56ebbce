package exchange

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

// hashSeed is fresh in each process, so that clients cannot choose names that collide. Hashes are never stored or sent.
var hashSeed = maphash.MakeSeed()

func hashOf(key string) uint64 { return maphash.String(hashSeed, key) }

// A hamt is a persistent map from strings: a hash array mapped trie. put and del return a new map that shares all but
// one path with the old, so a change of a million entries copies a few hundred bytes, and readers of the old map need no
// lock. The zero hamt is empty. Callers hand in the hash of the key, because some know it already.
//
// A node has 32 slots, chosen by five bits of the hash; a slot is empty, an entry or a child, and only used slots take
// memory. Below the last bits of the hash a node is a plain list of entries, which all have the same hash. Nodes are
// kept in the shape that they would have had if only the present entries had ever been put.
type hamt[V any] struct {
	root *hamtNode[V]
	size int
}

type hamtNode[V any] struct {
	entryMap, childMap uint32 // which slots are entries, which children; in a list both are 0
	entries            []hamtEntry[V]
	children           []*hamtNode[V]
}

type hamtEntry[V any] struct {
	hash  uint64
	key   string
	value V
}

const (
	hamtBits = 5
	hamtEnd  = 65 // the first shift at which no bit of the hash is left
)

func slot(hash uint64, shift uint) uint32 { return 1 << (hash >> shift & (1<<hamtBits - 1)) }

func rank(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

func (m hamt[V]) get(hash uint64, key string) (v V, ok bool) {
	n := m.root
	for shift := uint(0); n != nil; shift += hamtBits {
		if shift >= hamtEnd {
			if i := n.find(key); i >= 0 {
				return n.entries[i].value, true
			}
			return v, false
		}
		bit := slot(hash, shift)
		if n.entryMap&bit != 0 {
			e := &n.entries[rank(n.entryMap, bit)]
			if e.hash == hash && e.key == key {
				return e.value, true
			}
			return v, false
		}
		if n.childMap&bit == 0 {
			return v, false
		}
		n = n.children[rank(n.childMap, bit)]
	}
	return v, false
}

// at is get for a key of which the caller has not got the hash.
func (m hamt[V]) at(key string) (V, bool) { return m.get(hashOf(key), key) }

func (m hamt[V]) put(hash uint64, key string, v V) hamt[V] {
	root, added := m.root.put(0, hamtEntry[V]{hash, key, v})
	m.root = root
	if added {
		m.size++
	}
	return m
}

func (m hamt[V]) set(key string, v V) hamt[V] { return m.put(hashOf(key), key, v) }

func (m hamt[V]) del(hash uint64, key string) hamt[V] {
	root, removed := m.root.del(0, hash, key)
	if removed {
		m.root = root
		m.size--
	}
	return m
}

func (m hamt[V]) without(key string) hamt[V] { return m.del(hashOf(key), key) }

// each calls f with every value, in no order, until f returns false; it reports whether f never did.
func (m hamt[V]) each(f func(V) bool) bool { return m.root.each(f) }

func (n *hamtNode[V]) each(f func(V) bool) bool {
	if n == nil {
		return true
	}
	for i := range n.entries {
		if !f(n.entries[i].value) {
			return false
		}
	}
	for _, c := range n.children {
		if !c.each(f) {
			return false
		}
	}
	return true
}

// find returns the place of key in a list, or -1.
func (n *hamtNode[V]) find(key string) int {
	return slices.IndexFunc(n.entries, func(e hamtEntry[V]) bool { return e.key == key })
}

func (n *hamtNode[V]) put(shift uint, e hamtEntry[V]) (_ *hamtNode[V], added bool) {
	if n == nil {
		n = &hamtNode[V]{}
	}
	c := *n
	if shift >= hamtEnd {
		if i := n.find(e.key); i >= 0 {
			c.entries = replaced(n.entries, i, e)
			return &c, false
		}
		c.entries = inserted(n.entries, len(n.entries), e)
		return &c, true
	}
	bit := slot(e.hash, shift)
	if n.childMap&bit != 0 {
		i := rank(n.childMap, bit)
		child, added := n.children[i].put(shift+hamtBits, e)
		c.children = replaced(n.children, i, child)
		return &c, added
	}
	i := rank(n.entryMap, bit)
	if n.entryMap&bit == 0 {
		c.entryMap |= bit
		c.entries = inserted(n.entries, i, e)
		return &c, true
	}
	old := n.entries[i]
	if old.hash == e.hash && old.key == e.key {
		c.entries = replaced(n.entries, i, e)
		return &c, false
	}
	var child *hamtNode[V] // two entries want the slot: both move down
	child, _ = child.put(shift+hamtBits, old)
	child, _ = child.put(shift+hamtBits, e)
	c.entryMap &^= bit
	c.entries = removed(n.entries, i)
	c.childMap |= bit
	c.children = inserted(n.children, rank(c.childMap, bit), child)
	return &c, true
}

// del returns nil in place of a node that would be empty.
func (n *hamtNode[V]) del(shift uint, hash uint64, key string) (_ *hamtNode[V], deleted bool) {
	if n == nil {
		return nil, false
	}
	c := *n
	var bit uint32
	if shift < hamtEnd {
		bit = slot(hash, shift)
	}
	if n.childMap&bit != 0 {
		i := rank(n.childMap, bit)
		child, deleted := n.children[i].del(shift+hamtBits, hash, key)
		switch {
		case !deleted:
			return n, false
		case len(child.entries) == 1 && len(child.children) == 0: // what is alone in a node belongs above it
			c.childMap &^= bit
			c.children = removed(n.children, i)
			c.entryMap |= bit
			c.entries = inserted(n.entries, rank(c.entryMap, bit), child.entries[0])
		default:
			c.children = replaced(n.children, i, child)
		}
		return &c, true
	}
	i := n.find(key)
	if i < 0 || n.entries[i].hash != hash {
		return n, false
	}
	if len(n.entries) == 1 && len(n.children) == 0 {
		return nil, true
	}
	c.entryMap &^= bit
	c.entries = removed(n.entries, i)
	return &c, true
}

// inserted, replaced and removed return a changed copy of s.
func inserted[T any](s []T, i int, v T) []T {
	out := make([]T, len(s)+1)
	copy(out, s[:i])
	out[i] = v
	copy(out[i+1:], s[i:])
	return out
}

func replaced[T any](s []T, i int, v T) []T {
	out := slices.Clone(s)
	out[i] = v
	return out
}

func removed[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	out := make([]T, len(s)-1)
	copy(out, s[:i])
	copy(out[i:], s[i+1:])
	return out
}
