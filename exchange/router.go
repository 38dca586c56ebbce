package exchange

import "github.com/warrenmq/warren/amqp"

// A Msg is what routing looks at in a message. Nothing of it is kept after Route returns.
type Msg struct {
	Key       string
	ExtraKeys []string      // of the headers CC and BCC
	Headers   amqp.RawTable // nil if the message has none

	// The properties that x-consistent-hash can hash.
	CorrelationID string
	MessageID     string
	Timestamp     uint64 // seconds since the Unix epoch
	HasTimestamp  bool
}

// keys returns how many routing keys m has, and key the i-th of them. The message's own is the first.
func (m *Msg) keys() int { return 1 + len(m.ExtraKeys) }

func (m *Msg) key(i int) string {
	if i == 0 {
		return m.Key
	}
	return m.ExtraKeys[i-1]
}

// A Router routes messages for one goroutine. It holds nothing but scratch memory, so one Router serves any vhost and
// any version of a Table. The zero Router is ready.
type Router struct {
	// KeyOnly says of the last Route that its result depends on nothing but the Table, the exchange and the routing keys,
	// so that the caller may keep it for as long as the Table is the current one.
	KeyOnly bool
	// History are the x-recent-history exchanges that have to store the message of the last Route; see
	// Exchange.HistoryLength. Valid until the next Route.
	History []*Exchange

	table *Table
	found []*Queue
	work  []*Exchange // reached so far; those before the current one have been asked

	// Marks equal to mark say what has been found or reached in this Route: by Queue.ID and by Exchange.id.
	mark      uint32
	queues    []uint32
	exchanges []uint32

	topic   topicScratch
	headers headerScratch
}

// Route appends to dst the queues that a message published to x goes to, each once, in no order. It follows bindings to
// other exchanges, and goes on to an exchange's alternate if no binding of the exchange itself matches. x must be of t.
func (r *Router) Route(t *Table, x *Exchange, m *Msg, dst []*Queue) []*Queue {
	r.KeyOnly = true
	r.History = r.History[:0]
	r.table, r.found = t, dst
	r.headers.reset()
	if r.mark++; r.mark == 0 { // wrapped: the old marks would look new
		clear(r.queues)
		clear(r.exchanges)
		r.mark = 1
	}
	r.work = r.work[:0]
	r.reach(x)
	for i := 0; i < len(r.work); i++ {
		x := r.work[i]
		if !x.kind.keyOnly {
			r.KeyOnly = false
		}
		if x.matcher.match(r, x, m) {
			continue
		}
		if alternate := x.Alternate(); alternate != "" {
			r.reachName(alternate)
		}
	}
	dst = r.found
	r.table, r.found = nil, nil
	clear(r.work)
	return dst
}

// reach puts x on the list of exchanges to ask, unless it has been there.
func (r *Router) reach(x *Exchange) {
	if int(x.id) >= len(r.exchanges) {
		r.exchanges = append(r.exchanges, make([]uint32, int(x.id)+1-len(r.exchanges))...)
	}
	if r.exchanges[x.id] != r.mark {
		r.exchanges[x.id] = r.mark
		r.work = append(r.work, x)
	}
}

func (r *Router) reachName(exchange string) {
	if x, ok := r.table.Exchange(exchange); ok {
		r.reach(x)
	}
}

// find adds q to the result, unless it is there.
func (r *Router) find(q *Queue) {
	if int(q.ID) >= len(r.queues) {
		r.queues = append(r.queues, make([]uint32, int(q.ID)+1-len(r.queues))...)
	}
	if r.queues[q.ID] != r.mark {
		r.queues[q.ID] = r.mark
		r.found = append(r.found, q)
	}
}

// send adds one destination, sendAll all of a set; that reports whether there was any.
func (r *Router) send(d *destination) {
	if d.queue != nil {
		r.find(d.queue)
	} else {
		r.reachName(d.exchange)
	}
}

func (r *Router) sendAll(d *destinations) bool {
	for i := range d.few {
		r.send(&d.few[i])
	}
	if d.many.size > 0 {
		d.many.each(func(e destination) bool {
			r.send(&e)
			return true
		})
	}
	return !d.empty()
}
