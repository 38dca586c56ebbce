package queue

import "github.com/warrenmq/warren/amqp"

// A Session is a channel as a queue sees it. The queue's runner calls it; its methods take a lock for a moment at most,
// never block, and never call the queue back.
type Session interface {
	// Deliver passes a batch on to c's client. The messages are borrowed: what Deliver keeps it copies or retains.
	Deliver(c *Consumer, batch []Delivery)
	// Got passes on the answer to a basic.get; ready is the number of messages that remain.
	Got(d Delivery, noAck bool, ready int)
	// Room returns how many bytes may be delivered to c before asking again. Zero: none now; the session will resume the
	// queue when there is room.
	Room(c *Consumer) int
	// Acquire takes a place of the prefetch that the session's consumers share. False: none is free; the session will
	// resume the queue when there is one.
	Acquire(c *Consumer) bool
	// Cancelled says that the queue is gone from under c.
	Cancelled(c *Consumer)
}

// A Publisher is a channel in confirm mode as a queue sees it.
type Publisher interface {
	// Confirmed says for each publish number whether the queue has taken the message (or has done with it) or refused it.
	// seqs is borrowed.
	Confirmed(seqs []uint64, ok bool)
}

// A Handle names an unacknowledged delivery to the queue that made it, until it is settled.
type Handle struct {
	slot uint32
	gen  uint32
}

// A Delivery is a message on its way to a consumer.
type Delivery struct {
	Message     *amqp.Message
	Handle      Handle // to settle it; meaningless if it needs no acknowledgement
	Queue       *Queue
	Redelivered bool

	release bool // the queue releases Message once the session has had it
}

// A Consumer takes deliveries from one queue. The session makes it; the fields below the line are the queue's.
type Consumer struct {
	Session   Session
	Tag       string
	NoAck     bool
	Exclusive bool
	Prefetch  int   // unacknowledged deliveries; 0: no limit
	Priority  int32 // x-priority: higher ones are served first
	Args      amqp.Table
	// Data is the session's own.
	Data any

	// owned by the queue's runner

	queue   *Queue
	member  *member
	group   *group
	unacked int
	room    int // bytes that may still be delivered without asking the session
	batch   []Delivery
	blocked bool // takes no turns: its prefetch is used up, or it is starved
	starved bool // its session had no room or no place for it
	gone    bool // it was cancelled
	ready   bool // is in a ring of ready consumers
	next    *Consumer
}

// Queue returns the queue that c consumes from.
func (c *Consumer) Queue() *Queue { return c.queue }
