package server

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/queue"
)

// A conn is one client.
type conn struct {
	// immutable
	srv       *Server
	nc        net.Conn
	raw       syscall.RawConn // nil with TLS
	secure    bool
	name      string // "peer -> local"
	readFunc  func(fd uintptr) bool
	writeFunc func()

	// set by the handshake, immutable after
	user       *auth.Session
	vhost      *broker.VHost
	frameMax   int // bytes; 0: no limit
	channelMax int // 0: no limit
	properties amqp.Table
	canCancel  bool // the client takes basic.cancel
	canBlock   bool // the client takes connection.blocked

	// owned by the reader
	in        amqp.Reader
	sender    *broker.Sender
	msg       exchange.Msg // of the publish at hand: scratch
	recent    *channel     // the one that the last frame was for
	partial   []*channel   // with content that has begun to arrive
	unpin     []pinned     // messages to be let go after the next flush
	confirms  []*channel   // that have publishes to register
	exclusive queueSet
	promised  promises
	phase     phase
	told      string // the reason in the last connection.blocked; "" if it is over
	n         int    // result of the last read
	readErr   error

	// channels is changed by the reader under out.mu; the reader reads it without.
	channels map[amqp.ChannelID]*channel
	out      outbox

	// atomics
	heartbeat atomic.Int64 // time.Duration
	lastRead  atomic.Int64 // Unix nanoseconds
	reading   atomic.Bool  // the reader waits for the socket
	closeBy   atomic.Int64 // Unix nanoseconds when the socket is closed if the client has not done so; 0: not closing
	published atomic.Bool
	parked    atomic.Bool // the reader waits for an alarm to end

	pokes struct {
		sync.Mutex
		list []func()
		over bool
	}
}

type pinned struct {
	msg  *amqp.Message
	held int // as Message.Pin counts; -1: one reference by Retain
}

// A phase is how far a connection's life has come.
type phase uint8

const (
	opening phase = iota
	open
	closing // connection.close was sent; everything but its answer is ignored
	closed
)

// closeTimeout is how long a client may take to answer connection.close.
const closeTimeout = 5 * time.Second

func newConn(s *Server, nc net.Conn, secure bool) *conn {
	c := &conn{srv: s, nc: nc, secure: secure, channels: make(map[amqp.ChannelID]*channel)}
	c.name = nc.RemoteAddr().String() + " -> " + nc.LocalAddr().String()
	c.writeFunc = c.write
	if !secure {
		if sc, ok := nc.(syscall.Conn); ok {
			c.raw, _ = sc.SyscallConn()
			c.readFunc = c.tryRead
		}
	}
	c.lastRead.Store(s.clock.Load())
	return c
}

// serve is the reader.
func (c *conn) serve() {
	defer c.srv.tasks.Done()
	defer c.srv.drop(c)
	defer c.end()
	if !c.handshake() {
		return
	}
	for c.phase != closed {
		err := c.takeFrames()
		c.flush()
		if broken := c.keepPromises(); broken != nil {
			err = broken
		}
		if err != nil {
			c.fail(err)
			if e := (*amqp.Error)(nil); errors.As(err, &e) && e.Code == amqp.FrameError {
				c.drain(time.Second)
				return
			}
			continue
		}
		if c.phase == closed {
			return
		}
		c.pin()
		c.out.waitRoom(c.srv.opt.OutboxMax)
		if !c.fill() {
			return
		}
	}
}

// takeFrames handles the frames that have arrived. An error is the end of the connection.
func (c *conn) takeFrames() error {
	for c.phase != closed {
		f, ok, err := c.in.Next()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		if err := c.frame(f); err != nil {
			return err
		}
	}
	return nil
}

// flush registers publishes with their confirms, submits what was collected, and lets go of the messages.
func (c *conn) flush() {
	for i, ch := range c.confirms {
		ch.registerConfirms()
		c.confirms[i] = nil
	}
	c.confirms = c.confirms[:0]
	if c.sender != nil {
		c.sender.Flush()
	}
	for i, p := range c.unpin {
		if p.held < 0 {
			p.msg.Release(1)
		} else {
			p.msg.Unpin(p.held)
		}
		c.unpin[i] = pinned{}
	}
	c.unpin = c.unpin[:0]
}

// pin holds on to content that has only partly arrived, before its buffer is filled again.
func (c *conn) pin() {
	for _, ch := range c.partial {
		ch.content.held = ch.content.msg.Pin(ch.content.held)
	}
}

// fill reads once from the socket, or does what the reader was poked to do. It returns false at the end of the
// connection.
func (c *conn) fill() bool {
	c.reading.Store(true)
	n, err := c.read()
	c.reading.Store(false)
	switch {
	case n > 0:
		c.in.Filled(n)
		c.lastRead.Store(c.srv.clock.Load())
		return true
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.poked()
		return c.phase != closed
	case err == io.EOF && c.phase == open:
		c.srv.opt.Log.Warn("client unexpectedly closed TCP connection", "connection", c.name)
	}
	return false
}

// read waits for the socket and reads once.
func (c *conn) read() (int, error) {
	if c.raw == nil {
		n, err := c.nc.Read(c.in.Space())
		if n == 0 && err == nil {
			err = io.ErrNoProgress
		}
		return n, err
	}
	c.n, c.readErr = 0, nil
	if err := c.raw.Read(c.readFunc); err != nil {
		return 0, err
	}
	return c.n, c.readErr
}

// tryRead reads without waiting. False means that there is nothing to read: then the connection holds no buffer while it
// waits, unless a frame has begun to arrive.
func (c *conn) tryRead(fd uintptr) bool {
	for {
		n, err := syscall.Read(int(fd), c.in.Space())
		switch {
		case err == syscall.EAGAIN:
			c.in.Rest()
			return false
		case err == syscall.EINTR:
			continue
		case err != nil:
			c.n, c.readErr = 0, os.NewSyscallError("read", err)
		case n == 0:
			c.n, c.readErr = 0, io.EOF
		default:
			c.n, c.readErr = n, nil
		}
		return true
	}
}

// poke has the reader call f soon: it interrupts the reader's waiting for the socket.
func (c *conn) poke(f func()) {
	c.pokes.Lock()
	defer c.pokes.Unlock()
	if c.pokes.over {
		return
	}
	c.pokes.list = append(c.pokes.list, f)
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

// poked does what the reader was poked to do.
func (c *conn) poked() {
	c.pokes.Lock()
	list := c.pokes.list
	c.pokes.list = nil
	c.nc.SetReadDeadline(time.Time{})
	c.pokes.Unlock()
	for _, f := range list {
		f()
	}
	c.flush()
}

// send queues a method.
func (c *conn) send(ch amqp.ChannelID, m amqp.Method) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.ready()
	c.out.buf = amqp.AppendMethod(c.out.buf, ch, m)
	c.out.wake(c)
}

// fail ends the connection with connection.close. Whatever comes from the client until its answer is ignored.
func (c *conn) fail(err error) {
	if c.phase >= closing {
		return
	}
	var e *amqp.Error
	if !errors.As(err, &e) {
		e = amqp.Errorf(amqp.InternalError, "%v", err)
	}
	c.srv.opt.Log.Warn("closing AMQP connection", "connection", c.name, "error", e.ReplyText())
	c.closeChannels()
	c.phase = closing
	c.closeBy.Store(time.Now().Add(closeTimeout).UnixNano())
	c.send(0, &amqp.ConnectionClose{ReplyCode: uint16(e.Code), ReplyText: e.ReplyText(), ClassID: e.Method.Class(), MethodID: e.Method.Method()})
}

// readFor lets reads wait until d is over, or until the reader is poked if it is not already.
func (c *conn) readFor(d time.Duration) {
	c.pokes.Lock()
	defer c.pokes.Unlock()
	if len(c.pokes.list) == 0 {
		c.nc.SetReadDeadline(time.Now().Add(d))
	}
}

// drain waits for the client to close when what it sends is of no interest any more, at most as long as d.
func (c *conn) drain(d time.Duration) {
	c.readFor(d)
	for {
		c.in.Close()
		n, err := c.read()
		if n <= 0 || err != nil {
			return
		}
	}
}

// closeChannels ends all channels and gives up the connection's exclusive queues.
func (c *conn) closeChannels() {
	c.flush()
	for _, ch := range c.channels {
		ch.end()
	}
	c.out.mu.Lock()
	clear(c.channels)
	c.out.mu.Unlock()
	c.recent = nil
	for q := range c.exclusive.queues {
		c.vhost.DeleteQueue(q, false, false)
	}
	c.exclusive = queueSet{}
}

// finish writes what waits, closes the socket, and ends the reader.
func (c *conn) finish() {
	c.phase = closed
	c.nc.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.out.mu.Lock()
	c.out.last, c.out.held = true, false
	if len(c.out.buf) == 0 {
		c.out.wake(c)
	}
	c.out.mu.Unlock()
	c.writeNow() // nothing else is left to do
}

// end cleans up after the reader.
func (c *conn) end() {
	c.pokes.Lock()
	c.pokes.over = true
	c.pokes.Unlock()
	c.closeChannels()
	c.in.Close()
	c.out.mu.Lock()
	polite := c.out.last // then the writer closes the socket
	if !polite {
		c.out.dead = true
		if !c.out.writing {
			c.out.rest()
		}
	}
	starved := c.out.starved
	c.out.starved = nil
	c.out.mu.Unlock()
	if !polite {
		c.nc.Close()
	}
	for _, q := range starved {
		q.Resume()
	}
	if c.user != nil {
		c.srv.opt.Log.Info("connection closed", "connection", c.name)
	}
}

// add collects an event for a queue.
func (c *conn) add(q *queue.Queue, ev queue.Event) { c.sender.Add(q, ev) }
