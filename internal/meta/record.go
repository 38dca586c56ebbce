package meta

import "github.com/warrenmq/warren/amqp"

// A Record is one definition. The types are VHost, User, Permission, TopicPermission, Exchange, Queue and Binding.
type Record interface {
	key(b []byte) []byte   // appends what identifies the record
	value(b []byte) []byte // appends the rest, without version and checksum
}

// A VHost is a name space of exchanges and queues.
type VHost struct{ Name string }

// A User is somebody who may log in. Hashing is internal/auth's number of the function that made PasswordHash.
type User struct {
	Name, PasswordHash string
	Hashing            uint8
	Tags               []string
}

// A Permission is what a user may do in a vhost, as regular expressions.
type Permission struct {
	VHost, User            string
	Configure, Write, Read string
}

// A TopicPermission is which keys a user may use with an exchange, as regular expressions.
type TopicPermission struct {
	VHost, User, Exchange string
	Write, Read           string
}

// An Exchange is a durable exchange that a client declared.
type Exchange struct {
	VHost, Name, Type    string
	AutoDelete, Internal bool
	Args                 amqp.Table
}

// A Queue is a durable queue. Number is from Store.Number: no other queue has or will have it, not even one of the same
// name, so that a log can name a queue's messages by it.
type Queue struct {
	VHost, Name string
	Number      uint64
	AutoDelete  bool
	Args        amqp.Table
}

// A Binding leads from a durable exchange to a durable queue, or to a durable exchange. All of it is its identity; the
// order of Args is not.
type Binding struct {
	VHost, Source, Destination string
	ToExchange                 bool
	Key                        string
	Args                       amqp.Table
}

// A Change puts a record, in place of one with the same identity if there is one, or deletes it.
type Change struct {
	key   []byte
	value []byte // nil deletes
}

// Put returns the change that keeps r.
func Put(r Record) Change {
	key := r.key(nil)
	return Change{key, seal(key, r.value([]byte{version}))}
}

// Delete returns the change that removes the record with r's identity; there need not be one. Nothing else of r is looked
// at.
func Delete(r Record) Change { return Change{key: r.key(nil)} }
