package server

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
)

// preAuthFrameMax is the largest frame that is read from a client that has not logged in, bytes: room for a token.
const preAuthFrameMax = 64 << 10

// silentCloseDelay is how long a client that cannot take a close frame is kept after a refused login.
const silentCloseDelay = 3 * time.Second

// handshake takes the connection from accept to open. It returns false if that is not reached.
func (c *conn) handshake() bool {
	s := c.srv
	c.readFor(s.opt.HandshakeTimeout)
	if t, ok := c.nc.(*tls.Conn); ok {
		if err := t.Handshake(); err != nil {
			s.opt.Log.Warn("TLS handshake failed", "connection", c.name, "error", err)
			return false
		}
	}
	if !c.protocolHeader() {
		return false
	}
	c.in.MaxFrame = preAuthFrameMax
	c.out.hold(true)
	err := c.negotiate()
	c.out.hold(false)
	c.writeNow()
	switch {
	case err == nil:
		c.phase = open
		c.pokes.Lock()
		if len(c.pokes.list) == 0 {
			c.nc.SetReadDeadline(time.Time{})
		}
		c.pokes.Unlock()
		s.opt.Log.Info("user authenticated and granted access to vhost", "connection", c.name, "user", c.user.UserName,
			"vhost", c.vhost.Name)
		return true
	case errors.Is(err, errHungUp):
		return false
	}
	var fault *amqp.Error
	if errors.As(err, &fault) && fault.Method == amqp.IDConnectionOpen { // of which the client is told
		c.refuse(fault)
		return false
	}
	var login *auth.LoginError
	if !errors.As(err, &login) || login.Reply.Code != amqp.AccessRefused {
		// RabbitMQ drops a client that cannot shake hands without a word, and clients know it so.
		s.opt.Log.Warn("handshake failed", "connection", c.name, "error", err)
		return false
	}
	s.opt.Log.Warn("login refused", "connection", c.name, "user", login.User, "reason", login.Reason)
	if !capable(c.properties, "authentication_failure_close") {
		c.drain(silentCloseDelay)
		return false
	}
	c.refuse(login.Reply)
	return false
}

// refuse sends connection.close and waits for the answer.
func (c *conn) refuse(e *amqp.Error) {
	c.fail(e)
	c.readFor(closeTimeout)
	for c.phase != closed {
		if c.takeFrames() != nil || c.phase == closed {
			return
		}
		n, _ := c.read()
		if n <= 0 {
			return
		}
		c.in.Filled(n)
	}
}

// errHungUp says that the client went away, or took too long.
var errHungUp = errors.New("the client went away during the handshake")

// protocolHeader reads the client's first eight bytes and answers any but a version that is spoken here. Spec: 4.2.2.
func (c *conn) protocolHeader() bool {
	for c.in.Peek(8) == nil {
		if n, _ := c.read(); n <= 0 {
			return false
		} else {
			c.in.Filled(n)
		}
	}
	switch string(c.in.Peek(8)) {
	case amqp.ProtocolHeader, "AMQP\x01\x01\x00\x09", "AMQP\x01\x01\x08\x00", "AMQP\x01\x01\x09\x01":
		c.in.Skip(8)
		return true
	}
	c.srv.opt.Log.Warn("bad protocol header", "connection", c.name)
	c.nc.SetWriteDeadline(time.Now().Add(closeTimeout))
	c.nc.Write([]byte(amqp.ProtocolHeader))
	return false
}

// expect waits for the next method on channel 0.
func (c *conn) expect() (amqp.Method, error) {
	for {
		f, ok, err := c.in.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			c.writeNow()
			n, _ := c.read()
			if n <= 0 {
				return nil, errHungUp
			}
			c.in.Filled(n)
			c.lastRead.Store(c.srv.clock.Load())
			continue
		}
		switch {
		case f.Type == amqp.FrameHeartbeat && f.Channel == 0:
		case f.Type == amqp.FrameMethod && f.Channel == 0:
			return amqp.ParseMethod(f.Payload)
		case f.Type == amqp.FrameMethod:
			return nil, &amqp.Error{Code: amqp.ChannelError, Text: "unexpected method on channel before the connection is open",
				Method: amqp.PeekMethod(f.Payload)}
		default:
			return nil, amqp.Errorf(amqp.UnexpectedFrame, "frame of type %d before the connection is open", f.Type)
		}
	}
}

// negotiate is start, tune and open. Spec: 2.2.4.
func (c *conn) negotiate() error {
	c.send(0, &amqp.ConnectionStart{VersionMajor: 0, VersionMinor: 9, ServerProperties: c.srv.properties(),
		Mechanisms: c.srv.opt.Users.Mechanisms(c.peer()), Locales: "en_US"})
	m, err := c.expect()
	if err != nil {
		return err
	}
	start, ok := m.(*amqp.ConnectionStartOk)
	if !ok {
		return outOfOrder(m, "starting")
	}
	c.properties = start.ClientProperties
	c.canCancel = capable(c.properties, "consumer_cancel_notify")
	c.canBlock = capable(c.properties, "connection.blocked")
	if c.user, err = c.srv.opt.Users.Login(start.Mechanism, []byte(start.Response), c.peer()); err != nil {
		return err
	}
	if err := c.tune(); err != nil {
		return err
	}
	if m, err = c.expect(); err != nil {
		return err
	}
	open, ok := m.(*amqp.ConnectionOpen)
	if !ok {
		return outOfOrder(m, "opening")
	}
	if err := c.enter(open.VirtualHost); err != nil {
		err.Method = amqp.IDConnectionOpen
		return err
	}
	c.send(0, &amqp.ConnectionOpenOk{})
	return nil
}

// enter opens the vhost.
func (c *conn) enter(name string) *amqp.Error {
	v, err := c.srv.opt.Broker.VHost(name)
	if err != nil {
		return err.(*amqp.Error)
	}
	if !c.user.MayOpen(name) {
		return auth.RefusedVhost(name, c.user.UserName)
	}
	c.vhost = v
	c.sender = broker.NewSender(v)
	return nil
}

func outOfOrder(m amqp.Method, state string) error {
	return &amqp.Error{Code: amqp.CommandInvalid, Text: "unexpected method in connection state " + state, Method: m.ID()}
}

// tune settles the limits. The client may lower what is offered.
func (c *conn) tune() error {
	o := &c.srv.opt
	c.send(0, &amqp.ConnectionTune{ChannelMax: o.ChannelMax, FrameMax: o.FrameMax, Heartbeat: uint16(o.Heartbeat / time.Second)})
	m, err := c.expect()
	if err != nil {
		return err
	}
	ok, is := m.(*amqp.ConnectionTuneOk)
	if !is {
		return outOfOrder(m, "tuning")
	}
	if err := within("frame_max", ok.FrameMax, o.FrameMax, amqp.FrameMinSize); err != nil {
		return err
	}
	if err := within("channel_max", uint32(ok.ChannelMax), uint32(o.ChannelMax), 1); err != nil {
		return err
	}
	c.frameMax, c.channelMax = int(ok.FrameMax), int(ok.ChannelMax)
	c.in.MaxFrame = c.frameMax
	c.heartbeat.Store(int64(time.Duration(ok.Heartbeat) * time.Second))
	return nil
}

// within checks a negotiated value as RabbitMQ does: 0 is no limit, which the client may have only if it was offered.
func within(field string, asked, offered, least uint32) error {
	suffix := ""
	if asked == 0 {
		suffix = " (no limit)"
	}
	switch {
	case asked != 0 && asked < least:
		return &amqp.Error{Code: amqp.NotAllowed, Method: amqp.IDConnectionTuneOk, Text: amqp.Errorf(amqp.NotAllowed,
			"negotiated %s = %d%s is lower than the minimum allowed value (%d)", field, asked, suffix, least).Text}
	case offered != 0 && (asked == 0 || asked > offered):
		return &amqp.Error{Code: amqp.NotAllowed, Method: amqp.IDConnectionTuneOk, Text: amqp.Errorf(amqp.NotAllowed,
			"negotiated %s = %d%s is higher than the maximum allowed value (%d)", field, asked, suffix, offered).Text}
	}
	return nil
}

// properties are what connection.start says of the broker.
func (s *Server) properties() amqp.Table {
	caps := amqp.Table{}
	for _, name := range []string{"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
		"connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to"} {
		caps = append(caps, amqp.Field{Name: name, Value: true})
	}
	return amqp.Table{
		{Name: "capabilities", Value: caps},
		{Name: "cluster_name", Value: s.opt.Broker.ClusterName()},
		{Name: "copyright", Value: "The Warren authors"},
		{Name: "information", Value: "Licensed under the Apache License, Version 2.0"},
		{Name: "platform", Value: "Go"},
		{Name: "product", Value: s.opt.Product},
		{Name: "version", Value: s.opt.Version},
	}
}

// capable reports whether the client's properties announce a capability.
func capable(properties amqp.Table, name string) bool {
	caps, _ := properties.Lookup("capabilities")
	t, _ := caps.(amqp.Table)
	v, _ := t.Lookup(name)
	return v == true
}

func (c *conn) peer() auth.Peer {
	var p auth.Peer
	if a, ok := c.nc.RemoteAddr().(*net.TCPAddr); ok {
		p.Addr, _ = netip.AddrFromSlice(a.IP)
		p.Addr = p.Addr.Unmap()
	}
	if t, ok := c.nc.(*tls.Conn); ok {
		state := t.ConnectionState()
		p.TLS = &state
	}
	return p
}
