package server

import (
	"net"
	"sync"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/queue"
)

// An outbox holds what waits to be written to a client, encoded. Its mutex also guards what must change in step with the
// frames' order: each channel's delivery tags, unacknowledged deliveries and confirms.
//
// Bodies of spliceMin bytes and more are not copied into buf: a splice says where they go.
type outbox struct {
	mu      sync.Mutex // held to append or swap, never for I/O
	buf     []byte
	splices []splice
	spliced int  // bytes of bodies in splices
	flying  int  // bytes that the writer has taken and not yet written
	writing bool // a writer goroutine exists
	dead    bool // nothing can be written any more
	held    bool // no writer is started: the handshake writes by itself
	last    bool // close the socket when everything is written
	dirty   []*channel
	starved []*queue.Queue // whose consumers wait for room
	drained chan struct{}  // made by the reader when it waits for room

	lastWrote time.Time

	// owned by the writer goroutine
	spare        []byte
	spareSplices []splice
	iov          net.Buffers
}

// A splice is a body, or a part of one, that goes into the outbox at an offset of buf.
type splice struct {
	at   int
	data []byte
	msg  *amqp.Message // whose reference is released when data is written; nil if another part follows
}

const (
	spliceMin = 4 << 10  // bytes
	roomStep  = 64 << 10 // bytes that a consumer may be granted at once
)

// outBuffers are for outboxes that have something to write; an idle connection has none. outBoxes are the pointers that a
// pool wants, for when they come back.
var (
	outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }}
	outBoxes   = sync.Pool{New: func() any { return new([]byte) }}
)

// outBufferMax is the largest buffer that is kept for others, bytes.
const outBufferMax = 4 << 20

func (o *outbox) size() int { return len(o.buf) + o.spliced + o.flying }

// ready makes sure that there is a buffer to append to. o.mu is held, as for all methods that say nothing else.
func (o *outbox) ready() {
	if o.buf == nil {
		box := outBuffers.Get().(*[]byte)
		o.buf, *box = *box, nil
		outBoxes.Put(box)
	}
}

// wake starts a writer if none exists. o.mu is held.
func (o *outbox) wake(c *conn) {
	if !o.writing && !o.dead && !o.held {
		o.writing = true
		c.srv.tasks.Add(1)
		go c.writeFunc() // ends when the outbox is empty
	}
}

// hold keeps what the handshake says in the outbox for its reader to write: it has nothing else to do, and another goroutine
// for each line would cost more than the line.
func (o *outbox) hold(held bool) {
	o.mu.Lock()
	o.held = held
	o.mu.Unlock()
}

// writeNow is the writer in the caller's place, if there is something to write and no writer.
func (c *conn) writeNow() {
	o := &c.out
	o.mu.Lock()
	start := len(o.buf) > 0 && !o.writing && !o.dead
	if start {
		o.writing = true
		c.srv.tasks.Add(1)
	}
	o.mu.Unlock()
	if start {
		c.write()
	}
}

// content appends m's header and body frames.
func (o *outbox) content(c *conn, ch amqp.ChannelID, m *amqp.Message) {
	if m.Size < spliceMin {
		o.buf = amqp.AppendContent(o.buf, ch, m, c.frameMax)
		return
	}
	o.buf = amqp.AppendFrame(o.buf, amqp.FrameHeader, ch, m.Header)
	m.Retain(1)
	m.EachBodyFrame(c.frameMax, func(parts [][]byte, size int) {
		o.buf = amqp.AppendBodyHead(o.buf, ch, size)
		for _, p := range parts {
			o.splices = append(o.splices, splice{at: len(o.buf), data: p})
		}
		o.buf = amqp.AppendFrameEnd(o.buf)
	})
	o.spliced += m.Size
	o.splices[len(o.splices)-1].msg = m
}

// beat sends a heartbeat if nothing was written for as long as idle says.
func (o *outbox) beat(c *conn, now time.Time, idle time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.writing && now.Sub(o.lastWrote) >= idle-sweepEvery/2 {
		o.ready()
		o.buf = amqp.AppendHeartbeat(o.buf)
		o.wake(c)
	}
}

// write is the writer: it writes what waits, in as few system calls as it can, until nothing waits.
func (c *conn) write() {
	o := &c.out
	for {
		o.mu.Lock()
		for i, ch := range o.dirty {
			ch.appendConfirms()
			o.dirty[i] = nil
		}
		o.dirty = o.dirty[:0]
		if len(o.buf) == 0 || o.dead {
			o.rest()
			last := o.last && !o.dead
			o.dead = o.dead || last
			o.writing = false
			o.mu.Unlock()
			if last {
				c.nc.Close()
			}
			c.srv.tasks.Done()
			return
		}
		buf, splices := o.buf, o.splices
		o.buf, o.splices = o.spare[:0], o.spareSplices[:0]
		o.flying, o.spliced = len(buf)+o.spliced, 0
		o.mu.Unlock()

		err := c.writeOut(buf, splices)
		for i := range splices {
			if m := splices[i].msg; m != nil {
				m.Release(1)
			}
			splices[i] = splice{}
		}

		o.mu.Lock()
		o.lastWrote = time.Now()
		o.flying = 0
		o.spare, o.spareSplices = buf, splices
		o.dead = o.dead || err != nil
		var starved []*queue.Queue
		if o.dead || o.size() <= c.srv.opt.OutboxMax/2 {
			starved, o.starved = o.starved, nil
			if o.drained != nil {
				close(o.drained)
				o.drained = nil
			}
		}
		o.mu.Unlock()
		if err != nil {
			c.nc.Close() // the reader notices
		}
		for _, q := range starved {
			q.Resume()
		}
	}
}

// rest gives the buffers back when nothing waits, and what waits when nothing can be written. o.mu is held, by the writer.
func (o *outbox) rest() {
	for i := range o.splices {
		if m := o.splices[i].msg; m != nil {
			m.Release(1)
		}
	}
	o.splices, o.spareSplices, o.spliced = nil, nil, 0
	for _, b := range [][]byte{o.buf, o.spare} {
		if b != nil && cap(b) <= outBufferMax {
			b = b[:0]
			box := outBoxes.Get().(*[]byte)
			*box = b
			outBuffers.Put(box)
		}
	}
	o.buf, o.spare, o.iov = nil, nil, nil
}

// writeOut writes buf with the splices in their places.
func (c *conn) writeOut(buf []byte, splices []splice) error {
	if len(splices) == 0 {
		_, err := c.nc.Write(buf)
		return err
	}
	o := &c.out
	iov := o.iov[:0]
	from := 0
	for _, s := range splices {
		iov = append(iov, buf[from:s.at], s.data)
		from = s.at
	}
	iov = append(iov, buf[from:])
	o.iov = iov
	_, err := iov.WriteTo(c.nc)
	clear(o.iov)
	return err
}

// room returns how many bytes may be delivered now; if none, q is resumed when there is room.
func (o *outbox) room(limit int, q *queue.Queue) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if free := limit - o.size(); free > 0 {
		return min(free, roomStep)
	}
	if !o.dead {
		o.starve(q)
	}
	return 0
}

func (o *outbox) starve(q *queue.Queue) {
	for _, s := range o.starved {
		if s == q {
			return
		}
	}
	o.starved = append(o.starved, q)
}

// waitRoom makes the reader wait while the client does not read what it asked for.
func (o *outbox) waitRoom(limit int) {
	o.mu.Lock()
	if o.size() <= 2*limit || o.dead {
		o.mu.Unlock()
		return
	}
	if o.drained == nil {
		o.drained = make(chan struct{})
	}
	wait := o.drained
	o.mu.Unlock()
	<-wait
}
