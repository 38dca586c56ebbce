//go:build race

package amqp

// underRace is true when the race detector is built in, which allocates, and makes pools forget at random.
const underRace = true
