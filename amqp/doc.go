// Package amqp is the wire: frames, methods, field tables, content properties, reply codes, and the memory that messages
// travel in. It holds no socket, starts no goroutine and knows nothing of a broker; internal/server reads and writes with
// it, exchange and queue look at messages through it, and the test tools speak to other brokers with it.
//
// Three things carry it. A Buffer is a reference-counted block of memory that a connection reads into; a Reader cuts it
// into frames without copying; a Message is slices of Buffers, so that a body is copied by the kernel once and then only
// pointed to. Whoever keeps a Message beyond the call that handed it over calls Retain, and later Release, once each.
//
// Methods are structs generated from spec/amqp0-9-1.txt by gen; nothing reflects. The three that carry every message
// (basic.publish, basic.deliver, basic.ack) also have forms that allocate nothing.
//
// Specification: AMQP 0-9-1, with RabbitMQ's extensions and its reading of what the text leaves open.
package amqp

//go:generate go run ./gen -in spec/amqp0-9-1.txt -out methods_gen.go
