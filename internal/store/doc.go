// Package store keeps the messages of all durable queues of a node in one segmented log on disk. The broker opens one
// Store; each durable queue's runner appends its persistent messages and their settlements to its Queue of it.
//
// The model: a queue numbers its messages (strictly rising); the store keeps, for each live number, where its record lies.
// Records of all queues follow each other in segments, files of fixed size that are preallocated and used again. A message
// is live from when it is written until it is settled. The log is freed from its old end only, so that a settlement never
// goes before the message that it settles; what is still live when the log is over its limit is moved out to extents,
// files of the same form that are not freed in order and whose live numbers are kept in the manifest.
//
// Who owns what: a queue's runner appends (Message, Settle, Note, Submit) and never waits for the disk. One goroutine, the
// committer, gathers what all queues have submitted, writes it with one write and one sync, and calls the queues back.
// The janitor frees, moves and merges files and keeps a spare one ready. Readers fetch messages that are no longer in
// memory. Nothing else touches a file. All files are reached through an FS, so that tests can cut the power.
//
// A file whose write or sync failed is not written again: what it was to hold is written to a new one. The store knows
// nothing of AMQP, consumers or mirrors; a message is three strings of bytes to it. docs/storage.md has the formats.
package store
