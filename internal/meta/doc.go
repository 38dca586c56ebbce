// Package meta keeps the definitions: vhosts, users, permissions, exchanges, queues and bindings that are to survive a
// restart. They live in a Badger store of their own, in a folder of the data directory.
//
// The model: a definition is a Record, a record is one key with one value, and a Change puts or deletes one. Changes are
// handed over by Submit, which never blocks and gives them a Position; one goroutine, the applier, takes everything that
// waits, writes it as one transaction with one sync, and so serves many callers at the price of one. Wait returns when a
// position is safe. The changes of one Submit are there whole or not at all, however many they are and wherever the
// process is killed. Positions are in the order of Submit, and so are the changes on disk.
//
// The applier's apply is a state machine's step: what it does depends on the position and the changes alone. A consensus
// group can stand between Submit and apply; a single node needs none.
//
// Whoever holds the objects that the records describe (internal/broker, internal/auth) changes them under a lock of his
// own and submits under the same lock, so that memory and disk see one order. internal/node opens the Store and gives what
// Load returns to both. The package does not know what a definition means, and keeps no copy of them in memory.
//
// A store that is damaged is refused as a whole, by a DamageError that says where it is and what can be done: every block
// and every record has a checksum, and a witness file tells if the store's newest commits are missing.
package meta
