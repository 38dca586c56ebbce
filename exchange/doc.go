// Package exchange decides which queues a message goes to. The broker calls it: for each message with a Router, and for
// each declaration, deletion, bind and unbind to make the next Table.
//
// A Table is an immutable picture of one vhost's exchanges, bindings and queue names; any number of goroutines read it
// without locks. A change makes a new Table that shares nearly all of the old one's memory, in time that does not depend
// on how much there is. The broker makes changes one after the other, under the vhost's lock, and publishes each Table
// whole by an atomic pointer, so that a message sees all of a change or none of it.
//
// A Router is one goroutine's scratch memory for routing. It follows bindings between exchanges and alternate exchanges,
// visits each exchange once and finds each queue once, and allocates nothing once it is warm.
//
// Queues are names and numbers here, with a value that belongs to the broker: this package neither holds nor starts one.
// It knows no permissions, no reserved names and nothing of what survives a restart; it stores no message either, so a
// recent-history exchange is only reported to the caller, who keeps the messages.
//
// A type of exchange is a kind in the list of kinds, with a matcher that holds what the type needs of its bindings.
//
// Spec: 3.1.3. Where it is silent (empty routing keys, all-with-x, types with an x- in front) we do as RabbitMQ does.
package exchange
