package server

import (
	"github.com/warrenmq/warren/amqp"
)

// frame handles one frame of an open connection. An error ends the connection; faults of a channel are answered here.
func (c *conn) frame(f amqp.Frame) error {
	if c.promised.at != 0 && !changesDefinitions(f) {
		if err := c.keepPromises(); err != nil {
			return err
		}
	}
	if f.Type == amqp.FrameHeartbeat {
		if f.Channel != 0 {
			return f.Fault(amqp.UnexpectedFrame, "")
		}
		return nil
	}
	if f.Type < amqp.FrameMethod || f.Type > amqp.FrameBody {
		return f.Fault(amqp.FrameError, "unknown_frame")
	}
	if f.Type == amqp.FrameMethod && len(f.Payload) < 4 {
		return f.Fault(amqp.FrameError, "unknown_frame")
	}
	if f.Channel == 0 {
		return c.connectionFrame(f)
	}
	if c.phase != open {
		return nil
	}
	ch := c.recent
	if ch == nil || ch.id != f.Channel {
		if ch = c.channels[f.Channel]; ch == nil {
			return c.openChannel(f)
		}
		c.recent = ch
	}
	err := ch.frame(f)
	if err == nil {
		return nil
	}
	if broken := c.keepPromises(); broken != nil {
		return broken
	}
	e, ok := err.(*amqp.Error)
	if !ok || e.Code.Hard() {
		return err
	}
	if e.Method == 0 && f.Type == amqp.FrameMethod {
		e = &amqp.Error{Code: e.Code, Text: e.Text, Method: amqp.PeekMethod(f.Payload)}
	}
	ch.fail(e)
	return nil
}

// connectionFrame handles a frame on channel 0.
func (c *conn) connectionFrame(f amqp.Frame) error {
	if f.Type != amqp.FrameMethod {
		if c.phase == closing {
			return nil
		}
		return amqp.Errorf(amqp.UnexpectedFrame, "content on channel 0")
	}
	if c.phase == closing {
		switch amqp.PeekMethod(f.Payload) {
		case amqp.IDConnectionCloseOk:
			c.finish()
		case amqp.IDConnectionClose: // both sides at once
			c.send(0, &amqp.ConnectionCloseOk{})
			c.finish()
		}
		return nil
	}
	m, err := amqp.ParseMethod(f.Payload)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *amqp.ConnectionClose:
		c.closeChannels()
		c.out.hold(true)
		c.send(0, &amqp.ConnectionCloseOk{})
		c.finish()
		return nil
	case *amqp.ConnectionUpdateSecret:
		if err := c.user.Renew([]byte(m.NewSecret)); err != nil {
			return err
		}
		c.srv.opt.Log.Info("connection updated its secret", "connection", c.name, "reason", m.Reason)
		c.send(0, &amqp.ConnectionUpdateSecretOk{})
		return nil
	case *amqp.ConnectionCloseOk:
		return nil
	}
	return &amqp.Error{Code: amqp.ChannelError, Text: "unexpected method in connection state running", Method: m.ID()}
}

// openChannel handles a frame on a channel that is not open: only channel.open will do.
func (c *conn) openChannel(f amqp.Frame) error {
	var id amqp.MethodID // 0 for content
	if f.Type == amqp.FrameMethod {
		id = amqp.PeekMethod(f.Payload)
	}
	if id != amqp.IDChannelOpen {
		return &amqp.Error{Code: amqp.ChannelError, Text: "expected 'channel.open'", Method: id}
	}
	if _, err := amqp.ParseMethod(f.Payload); err != nil {
		return err
	}
	if c.channelMax > 0 && len(c.channels) >= c.channelMax {
		return amqp.Errorf(amqp.NotAllowed, "number of channels opened (%d) has reached the negotiated channel_max (%d)",
			len(c.channels), c.channelMax)
	}
	ch := newChannel(c, f.Channel)
	c.out.mu.Lock()
	c.channels[f.Channel] = ch
	c.out.mu.Unlock()
	c.send(f.Channel, &amqp.ChannelOpenOk{})
	return nil
}
