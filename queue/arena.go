package queue

import "github.com/warrenmq/warren/amqp"

// An arena copies messages that have to wait out of the buffer that their connection read them into, so that a message of
// a few bytes does not hold a block of hundreds of kilobytes. Messages that wait together lie together and go together.
type arena struct {
	buf  *amqp.Buffer // holds one reference while it is being filled
	used int          // bytes of buf
	next int          // size of the next buffer
}

const (
	arenaFirst = 1 << 10   // bytes; rounded up to what the pool has
	arenaMax   = 32 << 10  // bytes: as much may be held by one message that nobody settles
	arenaLarge = 256 << 10 // bytes: for messages that would leave much of arenaMax empty
	// adoptMax is the largest message that is copied, bytes. A larger one keeps its buffers, of which it is most.
	adoptMax = 32 << 10
)

// adopt returns m, or a copy of it, with a reference that the caller must release.
func (a *arena) adopt(m *amqp.Message) *amqp.Message {
	n := m.Footprint()
	if n > adoptMax {
		m.Retain(1)
		return m
	}
	if a.buf == nil || a.used+n > len(a.buf.Bytes()) {
		a.grow(n)
	}
	at := a.used
	a.used += n
	a.buf.Retain(1)
	return m.CopyTo(a.buf, a.buf.Bytes()[at:a.used])
}

func (a *arena) grow(n int) {
	if a.buf != nil {
		a.buf.Release(1)
	}
	a.next = min(max(arenaFirst, 2*a.next), arenaMax)
	size := a.next
	if n > arenaMax/4 {
		size = arenaLarge
	}
	a.buf, a.used = amqp.NewBuffer(max(size, n)), 0
}

// rest gives the buffer up when nothing waits.
func (a *arena) rest() {
	if a.buf != nil {
		a.buf.Release(1)
	}
	*a = arena{}
}
