package exchange

import (
	"iter"

	"github.com/warrenmq/warren/amqp"
)

// A Queue is a routing target. It belongs to the broker and must not change once it is in a Table.
type Queue struct {
	Name    string
	ID      uint32 // small, and unique among the vhost's queues of one time: a Router has memory for the largest
	Durable bool
	Value   any // the broker's own
}

// A Table is one version of a vhost's exchanges, queues and bindings. It never changes; see the package's comment. The
// changing methods return the next version, or the same pointer if nothing changes.
type Table struct {
	vhost     string
	exchanges hamt[*Exchange] // by name; "" is the default exchange
	queues    hamt[*target]   // by name
	ids       ids             // the free Exchange.ids
}

// A target is a queue and the bindings to it, by identity, without the implicit one from the default exchange.
type target struct {
	queue *Queue
	to    hamt[*Binding]
}

// ids hands out small numbers and takes them back. It is immutable too: a linked list of what came back.
type ids struct {
	next uint32
	free *freeID
}

type freeID struct {
	id   uint32
	rest *freeID
}

func (s ids) take() (uint32, ids) {
	if s.free != nil {
		return s.free.id, ids{s.next, s.free.rest}
	}
	return s.next, ids{s.next + 1, nil}
}

func (s ids) put(id uint32) ids { return ids{s.next, &freeID{id, s.free}} }

// NewTable returns the table of a new vhost, which has the exchanges that every vhost has.
func NewTable(vhost string) *Table {
	t := &Table{vhost: vhost}
	def := &Exchange{Spec: Spec{Type: "direct", Durable: true}, vhost: vhost, kind: kinds["direct"], matcher: defaultMatcher{}}
	def.id, t.ids = t.ids.take()
	t.exchanges = t.exchanges.set("", def)
	for _, s := range []Spec{
		{Name: "amq.direct", Type: "direct"},
		{Name: "amq.fanout", Type: "fanout"},
		{Name: "amq.topic", Type: "topic"},
		{Name: "amq.headers", Type: "headers"},
		{Name: "amq.match", Type: "headers"},
		{Name: "amq.rabbitmq.trace", Type: "topic", Internal: true},
	} {
		s.Durable = true
		next, err := t.Declare(s)
		if err != nil {
			panic("exchange: a predeclared exchange is refused: " + err.Error())
		}
		t = next
	}
	return t
}

// VHost returns the name of the vhost that t is a picture of.
func (t *Table) VHost() string { return t.vhost }

// Exchange returns the exchange called name; "" is the default exchange.
func (t *Table) Exchange(name string) (*Exchange, bool) { return t.exchanges.at(name) }

// Queue returns the queue called name.
func (t *Table) Queue(name string) (*Queue, bool) {
	if q, ok := t.queues.at(name); ok {
		return q.queue, true
	}
	return nil, false
}

// Exchanges lists all exchanges, in no order.
func (t *Table) Exchanges() iter.Seq[*Exchange] {
	return func(yield func(*Exchange) bool) { t.exchanges.each(yield) }
}

// Queues lists all queues, in no order.
func (t *Table) Queues() iter.Seq[*Queue] {
	return func(yield func(*Queue) bool) {
		t.queues.each(func(q *target) bool { return yield(q.queue) })
	}
}

// Bindings lists the bindings that clients made, in no order. The implicit ones are BindingsFrom("").
func (t *Table) Bindings() iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		t.exchanges.each(func(x *Exchange) bool { return eachBinding(x.from, yield) })
	}
}

// BindingsFrom lists the bindings from an exchange, in no order. From the default exchange "" those are one to each
// queue, with its name as the key.
func (t *Table) BindingsFrom(source string) iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		if source == "" {
			t.queues.each(func(q *target) bool { return yield(implicit(q.queue.Name)) })
		} else if x, ok := t.Exchange(source); ok {
			eachBinding(x.from, yield)
		}
	}
}

// BindingsToQueue lists the bindings to a queue: the implicit one from the default exchange, then the others in no order.
func (t *Table) BindingsToQueue(name string) iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		if q, ok := t.queues.at(name); ok && yield(implicit(name)) {
			eachBinding(q.to, yield)
		}
	}
}

// BindingsToExchange lists the bindings that lead to an exchange, in no order.
func (t *Table) BindingsToExchange(name string) iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		if x, ok := t.Exchange(name); ok {
			eachBinding(x.to, yield)
		}
	}
}

func eachBinding(m hamt[*Binding], yield func(Binding) bool) bool {
	return m.each(func(b *Binding) bool { return yield(*b) })
}

// SetAlternate sets the alternate exchange that a policy gives an exchange, "" for none. Where the exchange was declared
// with one of its own, that is the one in force. A missing exchange changes nothing.
func (t *Table) SetAlternate(exchange, alternate string) *Table {
	x, ok := t.Exchange(exchange)
	if !ok || x.policy == alternate {
		return t
	}
	n, y := *t, *x
	y.policy = alternate
	n.exchanges = n.exchanges.set(exchange, &y)
	return &n
}

func (t *Table) noExchange(name string) error {
	return amqp.Errorf(amqp.NotFound, "no %s", resource(name, t.vhost))
}
