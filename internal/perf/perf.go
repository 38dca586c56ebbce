// Package perf is a load generator for AMQP 0-9-1 brokers. `mqctl perf` and the program of `make bench`
// (internal/perf/bench) call it; it measures Warren and its peers alike, since it speaks only the wire.
//
// The generator must cost clearly less than any broker it measures, or it measures itself. So publishes are encoded once,
// before the run: a producer stamps the bodies of a whole batch and hands it to the kernel in one write. A consumer reads
// into a large buffer and walks the frames where they lie. Neither allocates while it runs, and what they share is an
// atomic add for each batch or read.
//
// A body begins with its producer and number, and the time it was written. Consumers note the number in a bitmap, so
// that Run can say that each message came to each queue it belongs in, exactly once, and to no other.
//
// Every connection has its own goroutine (a producer's has a second, which reads its confirms). Run starts them and
// returns after they have ended.
package perf

import (
	"errors"
	"fmt"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// An Endpoint says where the broker is and who asks.
type Endpoint struct {
	Addrs    []string // host:port; connections are spread over them in turn
	User     string   // default "guest"
	Password string   // default "guest"
	Vhost    string   // default "/"
}

// A Config describes one run. The zero value of a field is a sensible choice where its comment does not ask for one.
type Config struct {
	Endpoint

	Producers int // connections that publish; 0 with Messages set drains what is there
	Consumers int // connections that consume; 0 fills the queues and leaves them there
	Queues    int // default 1

	Queue      string     // prefix of the queues' names, which end in -0, -1, ...; default "perf"
	Durable    bool       // queues and exchange survive a restart of the broker
	Arguments  amqp.Table // of the queues
	Keep       bool       // leave queues and exchange there afterwards
	UseThere   bool       // the queues are there and are not declared or deleted
	Persistent bool       // delivery-mode 2

	// Exchange is the type of an exchange that is declared for the run; "" publishes through the default exchange,
	// producer i to the queues i, i+Producers, ... in turn.
	Exchange string
	Bindings []Binding // default: each queue is bound by its name
	Keys     []string  // routing keys that each producer uses in turn; default: the names of its queues

	BodySize int // bytes; exactness needs 8, latency 16

	Window   int // confirms: publishes of a producer that may be unconfirmed; 0 is no confirms
	AckEvery int // one multiple basic.ack each so many deliveries of a queue; 0 is automatic acknowledgement
	Prefetch int // of a consumer on a queue; 0 is no limit
	Lag      int // deliveries that may be outstanding while producers go on; 0 is no limit

	Rate     float64       // messages a second over all producers; 0 is as fast as it goes
	Messages int64         // over all producers; 0 ends by Duration
	Duration time.Duration // of the measured window; default 5 s if Messages is 0
	Warmup   time.Duration // before the window; not for runs that end by Messages

	// Patience is how long a run that should go on may stand still before it is given up; default 20 s.
	Patience time.Duration

	PIDs []int // the broker's processes on this machine, whose CPU time is measured
}

// A Binding routes messages to one of the queues.
type Binding struct {
	Queue int // number of the queue
	Key   string
}

// Limits of what a body can carry and of what bookkeeping can hold.
const (
	maxProducers = 1 << 12
	maxQueues    = 1 << 12
	maxSeq       = 1 << 36
)

func (e Endpoint) withDefaults() Endpoint {
	if e.User == "" {
		e.User = "guest"
	}
	if e.Password == "" {
		e.Password = "guest"
	}
	if e.Vhost == "" {
		e.Vhost = "/"
	}
	return e
}

func (c Config) withDefaults() Config {
	c.Endpoint = c.Endpoint.withDefaults()
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.Queue == "" {
		c.Queue = "perf"
	}
	if c.Messages == 0 && c.Duration == 0 {
		c.Duration = 5 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 20 * time.Second
	}
	if c.Messages > 0 {
		c.Warmup = 0
	}
	return c
}

// check says what is wrong with a configuration that has its defaults.
func (c *Config) check() error {
	switch {
	case len(c.Addrs) == 0:
		return errors.New("perf: no address")
	case c.Producers < 0 || c.Producers > maxProducers:
		return fmt.Errorf("perf: %d producers, 0 to %d are possible", c.Producers, maxProducers)
	case c.Consumers < 0 || c.Queues < 1 || c.Queues > maxQueues:
		return fmt.Errorf("perf: %d consumers on %d queues", c.Consumers, c.Queues)
	case c.Producers == 0 && c.Consumers == 0:
		return errors.New("perf: neither producers nor consumers")
	case c.Producers == 0 && c.Messages == 0:
		return errors.New("perf: without producers the number of messages is needed")
	case c.BodySize < 0 || c.Window < 0 || c.AckEvery < 0 || c.Lag < 0 || c.Rate < 0 || c.Messages < 0:
		return errors.New("perf: a negative size, count or rate")
	case c.Prefetch < 0 || c.Prefetch > 65535:
		return fmt.Errorf("perf: prefetch %d does not fit a short", c.Prefetch)
	case c.Prefetch > 0 && c.AckEvery > c.Prefetch:
		return fmt.Errorf("perf: an ack each %d deliveries never comes with a prefetch of %d", c.AckEvery, c.Prefetch)
	case c.Consumers > 0 && c.Lag > 0 && c.AckEvery > c.Lag:
		return fmt.Errorf("perf: an ack each %d deliveries with a lag of %d", c.AckEvery, c.Lag)
	}
	for _, b := range c.Bindings {
		if b.Queue < 0 || b.Queue >= c.Queues {
			return fmt.Errorf("perf: binding %q names queue %d of %d", b.Key, b.Queue, c.Queues)
		}
	}
	return nil
}

// queueName returns the name of queue i.
func (c *Config) queueName(i int) string { return fmt.Sprintf("%s-%d", c.Queue, i) }

// exchangeName returns the name that publishes carry.
func (c *Config) exchangeName() string {
	if c.Exchange == "" {
		return ""
	}
	return c.Queue + "-" + c.Exchange
}
