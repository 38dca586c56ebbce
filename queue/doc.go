// Package queue is one queue: its messages, its consumers, and the rules by which the ones reach the others.
//
// A Queue is an actor without a goroutine of its own. Events (publishes, settlements, calls) are submitted to it; whoever
// submits to a queue that nobody runs becomes its runner until the events are used up, and everybody else just leaves
// theirs in the inbox. So an idle queue costs no stack, a busy one no wake-up, and at any time at most one goroutine
// touches the state, without a lock. The runner does no I/O and never blocks: what must leave the queue is collected as
// effects and handed over once a batch, to consumers' sessions (deliveries), to publishers (confirms) and to the broker
// (dead letters, "delete me").
//
// The rules are in state and are pure: they take the time as an argument, start nothing and do no I/O.
//
// internal/broker makes queues and keeps their names; internal/server submits events for its channels and implements
// Session. This package knows neither exchanges nor connections.
package queue
