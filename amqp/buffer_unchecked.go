//go:build !checked

package amqp

// checked is true in builds with the tag checked, in which released memory is filled with a pattern.
const checked = false
