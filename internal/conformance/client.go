package conformance

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// An event is something that a broker sent, or the end of a connection.
type event struct {
	conn    *conn
	channel amqp.ChannelID
	method  amqp.Method      // nil if it is something else
	props   *amqp.Properties // of a message
	body    []byte           // of a message
	other   string           // what else it was, as printed
	closed  bool             // the connection ended
}

// A conn is one of a scenario's connections. The runner writes and keeps the books; a goroutine reads.
type conn struct {
	name   string
	nc     net.Conn
	events chan<- event  // shared by all connections of a scenario
	quit   chan struct{} // closed when the scenario ends: nobody takes events any more
	done   chan struct{} // closed when the reader has ended

	// The rest is the runner's.

	greeted  bool                             // connection.open-ok has come
	ended    bool                             // by an error, a close or a cut
	manual   bool                             // closes are not answered
	raw      bool                             // raw bytes were sent: round trips may not be possible any more
	frameMax int                              // negotiated, bytes
	tune     *amqp.ConnectionTune             // what the broker offered
	channels map[amqp.ChannelID]*channelState // those that were ever used
}

// A channelState is what the runner knows of a channel.
type channelState struct {
	open      bool
	trips     int    // round trips whose answer has yet to come and is not printed
	confirmed uint64 // the highest publish that was confirmed by a multiple
	confirms  map[uint64]bool
}

// dial connects to addr and starts reading.
func dial(name, addr string, events chan<- event, quit chan struct{}) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	c := &conn{name: name, nc: nc, events: events, quit: quit, done: make(chan struct{}),
		channels: map[amqp.ChannelID]*channelState{}}
	go c.read()
	return c, nil
}

// close cuts the connection and waits for its reader.
func (c *conn) close() {
	c.nc.Close()
	<-c.done
}

func (c *conn) channel(ch amqp.ChannelID) *channelState {
	s := c.channels[ch]
	if s == nil {
		s = &channelState{confirms: map[uint64]bool{}}
		c.channels[ch] = s
	}
	return s
}

// write sends b. That the peer is gone shows as the end of the connection, not here.
func (c *conn) write(b []byte) {
	c.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.nc.Write(b); errors.Is(err, os.ErrDeadlineExceeded) {
		c.nc.Close()
	}
}

func (c *conn) send(ch amqp.ChannelID, m amqp.Method) {
	c.write(amqp.AppendMethod(nil, ch, m))
}

// put hands over an event; it reports false when the scenario is over.
func (c *conn) put(e event) bool {
	e.conn = c
	select {
	case c.events <- e:
		return true
	case <-c.quit:
		return false
	}
}

// read turns what arrives into events until the connection or the scenario ends.
func (c *conn) read() {
	defer close(c.done)
	var r amqp.Reader
	defer r.Close()
	contents := map[amqp.ChannelID]*content{}
	for {
		if !c.takeHeader(&r) || !c.takeFrames(&r, contents) {
			return
		}
		n, err := c.nc.Read(r.Space())
		if n > 0 {
			r.Filled(n)
			continue
		}
		if err != nil {
			c.put(event{closed: true, other: "closed"})
			return
		}
	}
}

// takeHeader takes a protocol header, which no frame can be taken for: no frame has the type 'A'.
func (c *conn) takeHeader(r *amqp.Reader) bool {
	if p := r.Peek(8); p != nil && string(p[:4]) == "AMQP" {
		text := fmt.Sprintf("protocol-header %d %d %d %d", p[4], p[5], p[6], p[7])
		r.Skip(8)
		return c.put(event{other: text})
	}
	return true
}

func (c *conn) takeFrames(r *amqp.Reader, contents map[amqp.ChannelID]*content) bool {
	for {
		if p := r.Peek(1); p != nil && p[0] == 'A' {
			return true
		}
		f, ok, err := r.Next()
		if err != nil {
			c.put(event{closed: true, other: "broken frame: " + err.Error()})
			return false
		}
		if !ok {
			return true
		}
		e, ok := takeFrame(f, contents)
		if ok && !c.put(e) {
			return false
		}
	}
}

// A content is a message that is arriving.
type content struct {
	event event
	left  uint64 // bytes of the body that have yet to come
}

// takeFrame returns the event that f completes, if it does.
func takeFrame(f amqp.Frame, contents map[amqp.ChannelID]*content) (event, bool) {
	e := event{channel: f.Channel}
	switch f.Type {
	case amqp.FrameMethod:
		m, err := amqp.ParseMethod(f.Payload)
		if err != nil {
			e.other = fmt.Sprintf("undecodable method %x: %v", f.Payload, err)
			return e, true
		}
		e.method = m
		switch m.ID() {
		case amqp.IDBasicDeliver, amqp.IDBasicReturn, amqp.IDBasicGetOk:
			contents[f.Channel] = &content{event: e}
			return e, false
		}
		return e, true
	case amqp.FrameHeader, amqp.FrameBody:
		at := contents[f.Channel]
		if at == nil {
			e.other = fmt.Sprintf("content frame of type %d out of order", f.Type)
			return e, true
		}
		if f.Type == amqp.FrameBody {
			at.event.body = append(at.event.body, f.Payload...)
			at.left -= uint64(len(f.Payload))
		} else {
			p, err := amqp.ParseProperties(f.Payload)
			if err != nil {
				e.other = fmt.Sprintf("undecodable header %x: %v", f.Payload, err)
				return e, true
			}
			at.event.props = &p
			_, at.left, _ = amqp.BodySize(f.Payload)
		}
		if at.left == 0 {
			delete(contents, f.Channel)
			return at.event, true
		}
		return e, false
	case amqp.FrameHeartbeat:
		e.other = "heartbeat"
		return e, true
	}
	e.other = fmt.Sprintf("frame of type %d", f.Type)
	return e, true
}
