// Package crash holds the tests that take a broker's ground away: the real warren binary is killed under load, its disk
// fills up, its queues grow far deeper than its memory. It has no code but tests, which nobody calls; `make test` runs a
// short form of them and `make crash` the long one.
//
// The model: clients write down what they have published, what was confirmed, and what they have acknowledged and when.
// After each restart every queue is read to its end and compared with that. What was confirmed and not acknowledged must be
// there, once and in its place; what was never published, or was acknowledged well before the end, must not; the rest may
// be either, and from then on must stay so.
package crash
