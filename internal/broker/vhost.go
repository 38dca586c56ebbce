package broker

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

// A VHost is a name space of exchanges and queues.
type VHost struct {
	Name   string
	broker *Broker

	table   atomic.Pointer[exchange.Table] // read by everybody, changed under mu
	history history

	mu    sync.Mutex // held to change table and ids; never while waiting for a queue
	ids   []uint32   // numbers of deleted queues, to be used again
	maxID uint32
}

func newVHost(b *Broker, name string) *VHost {
	v := &VHost{Name: name, broker: b}
	v.table.Store(exchange.NewTable(name))
	return v
}

// Table returns the exchanges, bindings and queues of this moment.
func (v *VHost) Table() *exchange.Table { return v.table.Load() }

// An Owner is a connection, as the owner of exclusive queues: any comparable value that is unique to it.
type Owner any

// A Queue is a queue in its vhost.
type Queue struct {
	*queue.Queue
	owner  Owner // of an exclusive queue, otherwise nil
	target *exchange.Queue
	vhost  *VHost
	number uint64
}

// Number is the queue's own for ever: no other durable queue of this node had it or will have it, not one of the same name
// either. It is 0 if the queue does not survive a restart.
func (q *Queue) Number() uint64 { return q.number }

// errNoQueue is the error for a name that no queue has.
func (v *VHost) errNoQueue(name string) error {
	return amqp.Errorf(amqp.NotFound, "no queue '%s' in vhost '%s'", name, v.Name)
}

// Queue returns the queue called name if o may use it: it is RESOURCE_LOCKED if it is exclusive to another connection.
func (v *VHost) Queue(name string, o Owner) (*Queue, error) {
	t, ok := v.Table().Queue(name)
	if !ok {
		return nil, v.errNoQueue(name)
	}
	q := t.Value.(*Queue)
	if q.owner != nil && q.owner != o {
		return nil, q.errLocked()
	}
	return q, nil
}

func (q *Queue) errLocked() error {
	return amqp.Errorf(amqp.ResourceLocked, "cannot obtain exclusive access to locked %s. It could be originally declared on "+
		"another connection or the exclusive property value does not match that of the original declaration.", q.Config())
}

// GeneratedName returns a name that no one else has, in the form that RabbitMQ gives to what clients leave unnamed:
// prefix and 22 letters.
func GeneratedName(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// StripName returns name without carriage returns and line feeds, as RabbitMQ takes names of queues and exchanges.
func StripName(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// reserved refuses names that only the broker may give.
func reserved(kind, name string) error {
	if strings.HasPrefix(name, "amq.") {
		return amqp.Errorf(amqp.AccessRefused, "%s name '%s' contains reserved prefix 'amq.*'", kind, name)
	}
	return nil
}
