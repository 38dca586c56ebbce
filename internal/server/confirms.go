package server

import "github.com/warrenmq/warren/amqp"

// confirms are the publishes of a channel in confirm mode that are not yet confirmed. They are confirmed in the order in
// which they were published, so that one basic.ack with multiple set speaks for many.
type confirms struct {
	first  uint64   // number of the publish that window begins with, less one
	window []uint32 // how many queues still have to answer; refused set if one has refused. A ring, power of two long
	head   int
	n      int
	sent   uint64 // the last publish that the client was told of
	nacks  []uint64
	listed bool // the channel is in its outbox's list
}

const refused = 1 << 31

// register adds the next publish, which went to n queues.
func (c *confirms) register(n uint32) {
	if c.n == len(c.window) {
		ring := make([]uint32, max(16, 2*len(c.window)))
		for i := range c.n {
			ring[i] = c.window[(c.head+i)&(len(c.window)-1)]
		}
		c.window, c.head = ring, 0
	}
	c.window[(c.head+c.n)&(len(c.window)-1)] = n
	c.n++
	if n == 0 {
		c.advance()
	}
}

// settle notes a queue's answer for the publish numbered seq.
func (c *confirms) settle(seq uint64, ok bool) {
	i := seq - c.first - 1
	if seq <= c.first || i >= uint64(c.n) {
		return
	}
	p := &c.window[(c.head+int(i))&(len(c.window)-1)]
	if !ok {
		*p |= refused
	}
	*p--
	if i == 0 {
		c.advance()
	}
}

// advance takes the publishes off the window that all queues have answered for.
func (c *confirms) advance() {
	for c.n > 0 {
		left := c.window[c.head]
		if left&^refused != 0 {
			return
		}
		c.first++
		if left&refused != 0 {
			c.nacks = append(c.nacks, c.first)
		}
		c.head = (c.head + 1) & (len(c.window) - 1)
		c.n--
	}
	if len(c.window) > 1<<12 {
		c.window, c.head = nil, 0
	}
}

func (c *confirms) due() bool { return c.first > c.sent }

// append encodes all that is due: runs of acks, and nacks between them.
func (c *confirms) append(b []byte, ch amqp.ChannelID) []byte {
	for _, tag := range c.nacks {
		if tag-1 > c.sent {
			b = amqp.AppendAck(b, ch, tag-1, tag-1-c.sent > 1)
		}
		b = amqp.AppendNack(b, ch, tag, false)
		c.sent = tag
	}
	c.nacks = c.nacks[:0]
	if c.first > c.sent {
		b = amqp.AppendAck(b, ch, c.first, c.first-c.sent > 1)
		c.sent = c.first
	}
	return b
}
