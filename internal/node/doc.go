// Package node builds a broker from its configuration: it makes all parts, starts them in order and stops them in the
// reverse. cmd/warren calls it, and tests that want a whole broker in their process.
//
// The version that clients see is a version of RabbitMQ's, because client libraries switch features on it.
package node
