package queue

import (
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/store"
)

// Config is how a queue was declared. It does not change.
type Config struct {
	VHost, Name string
	Durable     bool
	AutoDelete  bool
	Exclusive   bool
	Quorum      bool // x-queue-type: quorum; the engine is the same, a few rules differ
	// SingleActive lets one consumer at a time have all deliveries (x-single-active-consumer).
	SingleActive bool
	MaxPriority  uint8 // x-max-priority; 0: not a priority queue
	Args         amqp.Table
}

// Overflow says what happens to a message for which a queue with a length limit has no room.
type Overflow uint8

// The values of x-overflow.
const (
	DropHead Overflow = iota
	RejectPublish
	RejectPublishDLX
)

// Settings are what arguments and policies make of a queue. They can change while it runs.
type Settings struct {
	TTL       time.Duration // of every message; negative: none
	Expires   time.Duration // of the unused queue; 0: never
	MaxLength int64         // ready messages; negative: no limit
	MaxBytes  int64         // of ready messages' bodies; negative: no limit
	Overflow  Overflow

	DeadLetter    bool // DLX is set; it may be "", the default exchange
	DLX           string
	DLKey         string // replaces the routing keys if HasDLKey
	HasDLKey      bool
	Flush         store.Flush // when a message counts as being on disk
	DeliveryLimit int64       // redeliveries of one message; negative: no limit
	// ExpireAnywhere lets a message go when its time is up wherever it stands; otherwise it goes, as RabbitMQ does it,
	// when it has come to the queue's head.
	ExpireAnywhere bool
}

// NoSettings are those of a queue without arguments and policies.
func NoSettings() Settings {
	return Settings{TTL: -1, MaxLength: -1, MaxBytes: -1, DeliveryLimit: -1}
}

// A Reason is why a message was dead-lettered, as x-death spells it.
type Reason string

// The reasons.
const (
	Rejected       Reason = "rejected"
	Expired        Reason = "expired"
	MaxLen         Reason = "maxlen"
	DeliveryLimits Reason = "delivery_limit"
)
