package exchange

import (
	"math"
	"strconv"

	"github.com/warrenmq/warren/amqp"
)

const (
	hashHeaderArg   = "hash-header"
	hashPropertyArg = "hash-property"

	hashCorrelationID = "correlation_id"
	hashMessageID     = "message_id"
	hashTimestamp     = "timestamp"
)

// A consistentMatcher is that of x-consistent-hash: messages with the same routing key, or the same value of a header or
// property, go to the same destination, and destinations get messages in proportion to their weights, which are the
// binding keys. A destination that comes takes its share from each of the others, and one that goes leaves its own to
// them; nothing else moves. The weights of several bindings to one destination add up.
//
// That is weighted rendezvous hashing: each destination draws a number from the message's hash and its own, and the best
// for its weight wins. A ring of points does the same in less time for hundreds of destinations, but it spreads a small
// weight unevenly and makes a large one a large array.
type consistentMatcher struct {
	list     pickList // weights in place of numbers of bindings
	equal    bool     // all weights are
	header   string   // what to hash instead of the key, if not ""
	property string
}

// checkHashArgs refuses what RabbitMQ's plugin refuses at once, and what it fails at later.
func checkHashArgs(t *Table, s *Spec) error {
	if _, err := t.stringArg(s, hashHeaderArg); err != nil {
		return err
	}
	property, err := t.stringArg(s, hashPropertyArg)
	if err != nil {
		return err
	}
	_, hasHeader := s.Args.Lookup(hashHeaderArg)
	_, hasProperty := s.Args.Lookup(hashPropertyArg)
	if hasHeader && hasProperty {
		return amqp.Errorf(amqp.PreconditionFailed, "hash-header and hash-property are mutually exclusive")
	}
	if !hasProperty {
		return nil
	}
	switch property {
	case hashCorrelationID, hashMessageID, hashTimestamp:
		return nil
	}
	return amqp.Errorf(amqp.PreconditionFailed, "Unsupported property: %s", property)
}

// checkWeight wants a binding key that is a number from 1 to 2^31-1. RabbitMQ has no upper limit, but a list of so many.
func checkWeight(b *Binding) error {
	n, err := weight(b)
	switch {
	case err != nil:
		return amqp.Errorf(amqp.PreconditionFailed, "The binding key must be an integer: %s", erlangTerm(b.Key))
	case n < 1:
		return amqp.Errorf(amqp.PreconditionFailed, "The binding key must be greater than 0")
	}
	return nil
}

func weight(b *Binding) (int64, error) { return strconv.ParseInt(b.Key, 10, 32) }

func newConsistentMatcher(s *Spec) matcher {
	header, _ := s.Args.Lookup(hashHeaderArg)
	property, _ := s.Args.Lookup(hashPropertyArg)
	c := consistentMatcher{equal: true}
	c.header, _ = header.(string)
	c.property, _ = property.(string)
	return c
}

func (c consistentMatcher) with(b *Binding, to destination, n int64) matcher {
	w, err := weight(b)
	if err != nil {
		panic("exchange: a binding has no weight: " + err.Error())
	}
	c.list = c.list.with(to, n*w)
	c.equal = true
	for i := range c.list {
		c.equal = c.equal && c.list[i].bindings == c.list[0].bindings
	}
	return c
}

func (c consistentMatcher) match(r *Router, _ *Exchange, m *Msg) bool {
	if len(c.list) == 0 {
		return false
	}
	hash := c.hash(r, m)
	best, bestDraw, bestScore := 0, uint64(0), math.Inf(1)
	for i := range c.list {
		p := &c.list[i]
		draw := mix(hash^p.hash) >> 11 // 53 bits: what a float64 holds
		if c.equal {
			if draw >= bestDraw {
				best, bestDraw = i, draw
			}
			continue
		}
		// -ln(u) of a uniform u in (0, 1] is exponential; divided by the weight it is least with that weight's share.
		score := -math.Log(float64(draw+1)/(1<<53)) / float64(p.bindings)
		if score <= bestScore {
			best, bestScore = i, score
		}
	}
	r.send(&c.list[best].destination)
	return true
}

// hash is of what the exchange hashes on. All messages that lack it are alike.
func (c *consistentMatcher) hash(r *Router, m *Msg) uint64 {
	switch {
	case c.header != "":
		if v, ok := r.headers.value(m.Headers, c.header); ok {
			return stableHash(stableSeed, v)
		}
		return stableSeed
	case c.property == hashCorrelationID:
		return stableHash(stableSeed, m.CorrelationID)
	case c.property == hashMessageID:
		return stableHash(stableSeed, m.MessageID)
	case c.property == hashTimestamp:
		if !m.HasTimestamp {
			return stableSeed
		}
		return mix(stableSeed ^ mix(m.Timestamp))
	}
	return stableHash(stableSeed, m.Key)
}

// stableSeed begins a stableHash.
const stableSeed = 0xcbf29ce484222325

// stableHash continues a hash with s. It is the same in all processes, so that all nodes pick the same destination, now
// and after a restart: FNV-1a, with mix to spread it.
func stableHash[T string | []byte](hash uint64, s T) uint64 {
	for i := range len(s) {
		hash = (hash ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(hash)
}

// mix makes each bit of the result depend on all of h: the finalizer of splitmix64.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
