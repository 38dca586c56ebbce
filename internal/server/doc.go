// Package server speaks AMQP with clients: it accepts connections, shakes hands, and turns methods into calls of the
// broker and deliveries into frames. internal/node makes a Server and gives it listeners.
//
// A connection has one permanent goroutine, its reader, which owns the read side, the channels and their state. It parses
// what one read brought, collects publishes and settlements in a broker.Sender, and submits them before it reads again;
// so a batch is what the kernel had ready, and nothing waits for a timer. What is to be written goes into the outbox,
// encoded, by whoever has it to say: the reader, or the runner of a queue that delivers. A writer goroutine exists while
// the outbox holds something.
//
// An answer that speaks of durable definitions waits until they are on disk. Reading goes on with other changes of
// definitions meanwhile, and with nothing else: see promises.
//
// Queues and exchanges are the broker's; this package knows what a client may ask for, in which state, and how each
// refusal is worded.
package server
