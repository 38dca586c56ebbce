package exchange

import "strings"

// A topicMatcher leads a message to the bindings whose pattern matches one of its keys. Keys and patterns are words with
// a dot between them; an empty word is a word, but an empty key has none. In a pattern '*' stands for one word and '#'
// for any number of them. Spec: 3.1.3.3.
//
// Patterns form a trie, and a key walks it as it would a nondeterministic automaton: word by word, with the set of all
// nodes that the words so far lead to. No node is in the set twice, so that a key costs at most its words times the nodes
// it can reach, whatever the patterns: one with many '#' has many ways to match a key, and a search that tries one
// way after the other, as RabbitMQ's does, can take exponential time.
type topicMatcher struct{ root *topicNode }

// A topicNode is what a beginning of patterns leads to.
type topicNode struct {
	here  destinations // of the patterns that end here
	words hamt[*topicNode]
	star  *topicNode // the next word is '*'
	hash  *topicNode // the next word is '#'
}

func (t topicMatcher) with(b *Binding, to destination, n int64) matcher {
	root := t.root.with(b.Key, b.Key != "", to, n)
	if root == nil {
		root = &topicNode{}
	}
	return topicMatcher{root}
}

// cutWord splits the first word off a key or a pattern that has one; more says whether others follow.
func cutWord(s string) (word, rest string, more bool) {
	if i := strings.IndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// with returns n after a change of the pattern that consists, if more, of the words of rest; nil if nothing is left.
func (n *topicNode) with(rest string, more bool, to destination, delta int64) *topicNode {
	var c topicNode
	if n != nil {
		c = *n
	}
	if !more {
		c.here = c.here.with(to, delta)
	} else {
		word, rest, more := cutWord(rest)
		switch word {
		case "*":
			c.star = c.star.with(rest, more, to, delta)
		case "#":
			c.hash = c.hash.with(rest, more, to, delta)
		default:
			hash := hashOf(word)
			child, _ := c.words.get(hash, word)
			if child = child.with(rest, more, to, delta); child != nil {
				c.words = c.words.put(hash, word, child)
			} else {
				c.words = c.words.del(hash, word)
			}
		}
	}
	if c.here.empty() && c.words.size == 0 && c.star == nil && c.hash == nil {
		return nil
	}
	return &c
}

func (t topicMatcher) match(r *Router, _ *Exchange, m *Msg) bool {
	matched := false
	for i := range m.keys() {
		matched = r.topic.match(r, t.root, m.key(i)) || matched
	}
	return matched
}

// A topicScratch is a walk's set of nodes, in two parts: those after a '#' stay, because '#' takes any further word, and
// the others are there for one word. Only a node that stays can be reached a second time.
type topicScratch struct {
	now, next []*topicNode
	stay      []*topicNode
	staying   map[*topicNode]struct{} // what is in stay, once there is much
}

// stayFew is how long stay may be to be searched from end to end.
const stayFew = 16

func (s *topicScratch) match(r *Router, root *topicNode, key string) (matched bool) {
	s.now = s.now[:0]
	s.enter(&s.now, root)
	for rest, more := key, key != ""; more && len(s.now)+len(s.stay) > 0; {
		var word string
		word, rest, more = cutWord(rest)
		hash := hashOf(word)
		s.next = s.next[:0]
		stay := s.stay // without those that this word adds
		for _, n := range s.now {
			s.step(n, hash, word)
		}
		for _, n := range stay {
			s.step(n, hash, word)
		}
		s.now, s.next = s.next, s.now
	}
	for _, n := range s.now {
		matched = r.sendAll(&n.here) || matched
	}
	for _, n := range s.stay {
		matched = r.sendAll(&n.here) || matched
	}
	s.forget()
	return matched
}

// step puts the nodes that word leads to from n into next.
func (s *topicScratch) step(n *topicNode, hash uint64, word string) {
	if n.words.size > 0 {
		if child, ok := n.words.get(hash, word); ok {
			s.enter(&s.next, child)
		}
	}
	if n.star != nil {
		s.enter(&s.next, n.star)
	}
}

// enter puts n into a set, and with it what '#' after n leads to without taking a word.
func (s *topicScratch) enter(set *[]*topicNode, n *topicNode) {
	*set = append(*set, n)
	for h := n.hash; h != nil && !s.stays(h); h = h.hash {
		s.stay = append(s.stay, h)
		if len(s.stay) > stayFew {
			s.index()
		}
	}
}

func (s *topicScratch) stays(n *topicNode) bool {
	if len(s.stay) > stayFew {
		_, ok := s.staying[n]
		return ok
	}
	for _, e := range s.stay {
		if e == n {
			return true
		}
	}
	return false
}

// index notes the last of stay in staying, and all of it the first time.
func (s *topicScratch) index() {
	if s.staying == nil {
		s.staying = make(map[*topicNode]struct{})
	}
	if len(s.staying) > 0 {
		s.staying[s.stay[len(s.stay)-1]] = struct{}{}
		return
	}
	for _, n := range s.stay {
		s.staying[n] = struct{}{}
	}
}

// forget drops the pointers, so that an idle Router keeps no old Table alive, and sets that grew out of proportion.
func (s *topicScratch) forget() {
	const usual = 256
	if cap(s.now)+cap(s.next)+cap(s.stay) > 3*usual {
		*s = topicScratch{}
		return
	}
	clear(s.now[:cap(s.now)])
	clear(s.next[:cap(s.next)])
	clear(s.stay)
	s.stay = s.stay[:0]
	if len(s.staying) > 0 {
		clear(s.staying)
	}
}
