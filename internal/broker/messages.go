package broker

import (
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/internal/store"
	"github.com/warrenmq/warren/queue"
)

// Messages is where queues keep messages on disk: the node's store.
type Messages struct {
	store *store.Store
	cache *queue.Cache
	known map[uint64]bool // the queues that the store has messages of; only until Restore has been through
	spill atomic.Uint64   // the last number given to a queue that is not durable
}

// NewMessages makes a Messages on s, with the given bytes of memory for what waits in all queues together.
func NewMessages(s *store.Store, cacheBytes int64) *Messages {
	m := &Messages{store: s, cache: &queue.Cache{Limit: cacheBytes}, known: make(map[uint64]bool)}
	for id := range s.Queues() {
		m.known[id] = true
	}
	// Numbers of queues that a restart forgets: apart from those of durable ones, and from those of the run before.
	m.spill.Store(1<<63 | uint64(time.Now().UnixMilli())<<20)
	return m
}

// storage returns what a new queue keeps messages with. number is a durable queue's, 0 of any other.
func (m *Messages) storage(number uint64) queue.Storage {
	if m == nil {
		return queue.Storage{}
	}
	recovered := m.known[number]
	delete(m.known, number)
	return queue.Storage{Recovered: recovered, Cache: m.cache, Open: func() queue.Log {
		if number == 0 {
			return m.store.Queue(m.spill.Add(1))
		}
		return m.store.Queue(number)
	}}
}

// dropUnknown forgets the messages of queues that no definition names: it is called when all durable queues are there.
func (m *Messages) dropUnknown() {
	if m == nil {
		return
	}
	for id := range m.known {
		m.store.Queue(id).Drop()
	}
	m.known = nil
}
