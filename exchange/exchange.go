package exchange

import (
	"maps"
	"slices"

	"github.com/warrenmq/warren/amqp"
)

// A Spec is how an exchange was declared. Spec: 1.6.2.1, with RabbitMQ's internal and auto-delete.
type Spec struct {
	Name       string
	Type       string
	Durable    bool
	AutoDelete bool // goes with the last binding from it
	Internal   bool // the broker refuses publishing to it
	Args       amqp.Table
}

// An Exchange is one exchange in one version of a Table. It never changes: the next version holds another Exchange of
// the same name if a binding from or to it came or went.
type Exchange struct {
	Spec

	vhost     string
	kind      *kind
	id        uint32         // dense, unique in a Table, kept over changes: the index of Router.exchanges
	alternate string         // the argument; "" if there is none
	policy    string         // the alternate exchange by policy; "" if there is none
	from, to  hamt[*Binding] // by identity
	matcher   matcher        // what the type makes of the bindings from it
}

// Alternate returns the exchange that takes what this one finds no binding for, or "". The argument wins over a policy.
// No exchange of the name need exist.
func (x *Exchange) Alternate() string {
	if x.alternate != "" {
		return x.alternate
	}
	return x.policy
}

// Used reports whether there is a binding from x, which forbids a deletion with if-unused.
func (x *Exchange) Used() bool { return x.from.size > 0 }

// HistoryLength returns how many of its last messages an x-recent-history exchange keeps for later bindings, and 0 for
// any other type. Keeping them, and routing them to what is newly bound, is the caller's work.
func (x *Exchange) HistoryLength() int {
	if h, ok := x.matcher.(historyMatcher); ok {
		return h.length
	}
	return 0
}

// A matcher is what one type of exchange makes of the bindings from an exchange: immutable, like all of a Table.
type matcher interface {
	// with returns the matcher after b, which leads to to, was added (n is 1) or removed (n is -1).
	with(b *Binding, to destination, n int64) matcher
	// match sends each destination of a message to r, and reports whether there was any.
	match(r *Router, x *Exchange, m *Msg) bool
}

// A kind is a type of exchange.
type kind struct {
	keyOnly      bool                      // the destinations depend on the routing keys alone
	check        func(*Table, *Spec) error // refuses arguments; nil: all are fine
	checkBinding func(*Binding) error      // refuses keys and arguments; nil: all are fine
	empty        func(*Spec) matcher       // for an exchange without bindings
}

// kinds are all types. A new one needs an entry here and a matcher.
var kinds = map[string]*kind{
	"direct":            {keyOnly: true, empty: func(*Spec) matcher { return directMatcher{} }},
	"fanout":            {keyOnly: true, empty: func(*Spec) matcher { return fanoutMatcher{} }},
	"topic":             {keyOnly: true, empty: func(*Spec) matcher { return topicMatcher{&topicNode{}} }},
	"headers":           {checkBinding: checkHeadersBinding, empty: func(*Spec) matcher { return headersMatcher{} }},
	"x-consistent-hash": {check: checkHashArgs, checkBinding: checkWeight, empty: newConsistentMatcher},
	"x-modulus-hash":    {empty: func(*Spec) matcher { return modulusMatcher{} }},
	"x-random":          {empty: func(*Spec) matcher { return randomMatcher{} }},
	"x-local-random":    {empty: func(*Spec) matcher { return randomMatcher{} }},
	"x-recent-history":  {check: checkHistoryArgs, empty: newHistoryMatcher},
}

// Types returns the names of all types of exchange, sorted.
func Types() []string {
	return slices.Sorted(maps.Keys(kinds))
}

// CheckType returns COMMAND_INVALID if there is no such type of exchange. RabbitMQ looks at the type before all else in
// an exchange.declare that is not passive.
func CheckType(typ string) error {
	if typ == "" {
		return amqp.Errorf(amqp.CommandInvalid, "invalid exchange type ''")
	}
	if kinds[typ] == nil {
		return amqp.Errorf(amqp.CommandInvalid, "unknown exchange type '%s'", typ)
	}
	return nil
}
