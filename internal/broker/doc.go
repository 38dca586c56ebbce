// Package broker is the only place that knows every part: it turns names into vhosts, exchanges and queues, keeps who owns
// what, and passes messages from exchanges to queues. internal/server and, later, the management API call it; internal/node
// makes it.
//
// A VHost's exchanges, bindings and queue names are one immutable exchange.Table behind an atomic pointer. Every change is
// made under the vhost's lock and published whole; a message is routed by whatever table it finds, without a lock. A
// Sender is what one connection routes and submits with: it remembers where recent addresses led and collects events so
// that a queue is handed many at once.
//
// What is durable is handed to Definitions under the same lock, just before the table is published, and is safe a moment
// later: Pending and Wait are for those who have to answer for it. At a start, Restore brings it back.
//
// It does not speak AMQP: who is on the other side of a connection, and how an error reaches him, is the server's affair.
package broker
