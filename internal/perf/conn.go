package perf

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/warrenmq/warren/amqp"
)

const (
	callTimeout  = 30 * time.Second // a synchronous method's answer
	readBuffer   = 256 << 10        // a consumer's, bytes; more than any frame that is agreed on
	maxFrame     = 128 << 10        // asked of the broker, bytes
	smallBuffer  = 2 << 10          // of a connection that does not consume, at first, bytes
	pipelineSize = 32 << 10         // bytes of methods written at once by callAll
)

// A conn is a client's connection. Setting up is by call; then one goroutine reads nc, and writes go to it directly.
type conn struct {
	nc       net.Conn
	forget   func() bool // forgets to close nc when the context ends
	frameMax int         // agreed, bytes
	server   amqp.Table

	buf  []byte
	r, w int // buf[r:w] has been read and not taken
}

// dial opens a connection and logs in. It is closed when ctx ends.
func dial(ctx context.Context, e Endpoint, i int) (*conn, error) {
	e = e.withDefaults()
	d := net.Dialer{Timeout: callTimeout}
	nc, err := d.DialContext(ctx, "tcp", e.Addrs[i%len(e.Addrs)])
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, buf: make([]byte, smallBuffer)}
	c.forget = context.AfterFunc(ctx, func() { nc.Close() })
	if err := c.handshake(e); err != nil {
		c.drop()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("log in at %s: %w", e.Addrs[i%len(e.Addrs)], err)
	}
	return c, nil
}

// handshake follows the sequence of spec 2.2.4. A client sends its last two methods without waiting.
func (c *conn) handshake(e Endpoint) error {
	c.nc.SetDeadline(time.Now().Add(callTimeout))
	if _, err := c.nc.Write([]byte(amqp.ProtocolHeader)); err != nil {
		return err
	}
	start, err := wait[*amqp.ConnectionStart](c, 0)
	if err != nil {
		return err
	}
	c.server = start.ServerProperties
	caps := amqp.Table{
		{Name: "publisher_confirms", Value: true}, {Name: "consumer_cancel_notify", Value: true},
		{Name: "authentication_failure_close", Value: true},
	}
	b := amqp.AppendMethod(nil, 0, &amqp.ConnectionStartOk{
		ClientProperties: amqp.Table{{Name: "product", Value: "Warren perf"}, {Name: "capabilities", Value: caps}},
		Mechanism:        "PLAIN", Response: "\x00" + e.User + "\x00" + e.Password, Locale: "en_US",
	})
	if _, err := c.nc.Write(b); err != nil {
		return err
	}
	tune, err := wait[*amqp.ConnectionTune](c, 0)
	if err != nil {
		return err
	}
	c.frameMax = maxFrame
	if tune.FrameMax > 0 {
		c.frameMax = min(c.frameMax, int(tune.FrameMax))
	}
	b = amqp.AppendMethod(b[:0], 0, &amqp.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: uint32(c.frameMax)})
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionOpen{VirtualHost: e.Vhost})
	if _, err := c.nc.Write(b); err != nil {
		return err
	}
	_, err = wait[*amqp.ConnectionOpenOk](c, 0)
	c.nc.SetDeadline(time.Time{})
	return err
}

// next returns the next frame; its payload is valid until the call after.
func (c *conn) next() (kind byte, ch amqp.ChannelID, payload []byte, err error) {
	for {
		have := c.buf[c.r:c.w]
		need := frameHead + frameTail
		if len(have) >= need {
			size := int(binary.BigEndian.Uint32(have[3:]))
			if size > maxFrame {
				return 0, 0, nil, errDamaged
			}
			if need += size; len(have) >= need {
				if have[need-1] != frameEnd {
					return 0, 0, nil, errDamaged
				}
				c.r += need
				return have[0], amqp.ChannelID(have[1])<<8 | amqp.ChannelID(have[2]), have[frameHead : need-1], nil
			}
		}
		if err := c.fill(need); err != nil {
			return 0, 0, nil, err
		}
	}
}

// fill reads once, after making room for need bytes from the start of what waits.
func (c *conn) fill(need int) error {
	if c.r > 0 {
		copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, c.w-c.r
	}
	if need > len(c.buf) {
		grown := make([]byte, max(need, 2*len(c.buf)))
		copy(grown, c.buf[:c.w])
		c.buf = grown
	}
	n, err := c.nc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

// wait returns the next method on a channel, which must be an M.
func wait[M amqp.Method](c *conn, ch amqp.ChannelID) (m M, err error) {
	for {
		kind, on, payload, err := c.next()
		if err != nil {
			return m, err
		}
		if kind == amqp.FrameHeartbeat {
			continue
		}
		if kind == amqp.FrameMethod && on == ch {
			got, err := amqp.ParseMethod(payload)
			if err != nil {
				return m, err
			}
			if m, ok := got.(M); ok {
				return m, nil
			}
		}
		return m, unexpected(kind, payload)
	}
}

// call sends a method and waits for its answer.
func call[M amqp.Method](c *conn, ch amqp.ChannelID, m amqp.Method) (answer M, err error) {
	c.nc.SetDeadline(time.Now().Add(callTimeout))
	defer c.nc.SetDeadline(time.Time{})
	if _, err := c.nc.Write(amqp.AppendMethod(nil, ch, m)); err != nil {
		return answer, err
	}
	answer, err = wait[M](c, ch)
	if err != nil {
		err = fmt.Errorf("%s: %w", m.ID(), err)
	}
	return answer, err
}

// callAll sends n methods without waiting in between and then has the answers of all. It reads while it writes, so that
// neither side's buffers fill up.
func callAll[M amqp.Method](c *conn, ch amqp.ChannelID, n int, m func(i int) amqp.Method) error {
	wrote := make(chan error, 1)
	go func() { // ends when all is written, or the connection fails
		var b []byte
		for i := range n {
			b = amqp.AppendMethod(b, ch, m(i))
			if len(b) < pipelineSize && i < n-1 {
				continue
			}
			if _, err := c.nc.Write(b); err != nil {
				wrote <- err
				return
			}
			b = b[:0]
		}
		wrote <- nil
	}()
	var err error
	for i := 0; i < n && err == nil; i++ {
		c.nc.SetReadDeadline(time.Now().Add(callTimeout))
		_, err = wait[M](c, ch)
	}
	if err != nil {
		c.nc.Close()
	}
	c.nc.SetReadDeadline(time.Time{})
	if werr := <-wrote; err == nil {
		err = werr
	}
	return err
}

// channel opens a channel.
func (c *conn) channel(ch amqp.ChannelID) error {
	_, err := call[*amqp.ChannelOpenOk](c, ch, &amqp.ChannelOpen{})
	return err
}

// close says goodbye and closes; no other goroutine may be reading.
func (c *conn) close() error {
	defer c.drop()
	_, err := call[*amqp.ConnectionCloseOk](c, 0, &amqp.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
	return err
}

// drop closes the socket without a word.
func (c *conn) drop() {
	c.forget()
	c.nc.Close()
}

// Await returns once the broker lets a client in and open a channel, with the product and version that it calls itself,
// or with the reason it did not when ctx ended.
func Await(ctx context.Context, e Endpoint) (server string, err error) {
	const pause = 2 * time.Millisecond
	for {
		c, err := dial(ctx, e, 0)
		if err == nil {
			product, _ := c.server.Lookup("product")
			version, _ := c.server.Lookup("version")
			if err = c.channel(1); err == nil {
				return fmt.Sprintf("%v %v", product, version), c.close()
			}
			c.drop()
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(pause):
		}
	}
}
