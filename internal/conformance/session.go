package conformance

import (
	"fmt"
	"strings"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// pump takes events until enough says so, and at most for d. It reports what enough said last.
func (p *play) pump(d time.Duration, enough func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for !enough() {
		select {
		case e := <-p.events:
			p.take(e)
		case <-timer.C:
			return enough()
		}
	}
	return true
}

// silence takes events until none has come for d.
func (p *play) silence(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case e := <-p.events:
			p.take(e)
			timer.Reset(d)
		case <-timer.C:
			return
		}
	}
}

// mute reports whether nothing more can come, because all connections have ended and all events are taken.
func (p *play) mute() bool {
	for _, c := range p.conns {
		if !c.ended {
			return false
		}
	}
	return len(p.conns) > 0 && len(p.events) == 0
}

// take keeps the books for one event, answers it if that is our part, and notes it.
func (p *play) take(e event) {
	c := e.conn
	if e.closed {
		if !c.ended {
			p.now.add(e)
		}
		c.ended = true
		return
	}
	s := c.channel(e.channel)
	switch m := e.method.(type) {
	case *amqp.ExchangeDeclareOk:
		if s.trips > 0 {
			s.trips--
			return
		}
	case *amqp.QueueDeclareOk:
		p.declared = append(p.declared, declared{"queue", m.Queue})
	case *amqp.BasicAck:
		if tags := s.confirm(m.DeliveryTag, m.Multiple); len(tags) > 0 {
			p.now.addConfirms(c, e.channel, tags, false)
			return
		}
	case *amqp.BasicNack:
		if tags := s.confirm(m.DeliveryTag, m.Multiple); len(tags) > 0 {
			p.now.addConfirms(c, e.channel, tags, true)
			return
		}
	case *amqp.ChannelOpenOk:
		*s = channelState{open: true, confirms: map[uint64]bool{}}
	case *amqp.ChannelCloseOk:
		s.open = false
	case *amqp.ChannelClose:
		s.open, s.trips = false, 0
		if !c.manual {
			c.send(e.channel, &amqp.ChannelCloseOk{})
		}
	case *amqp.ConnectionClose:
		p.now.add(e)
		if !c.manual {
			c.ended = true
			c.send(0, &amqp.ConnectionCloseOk{})
		}
		return
	case *amqp.ConnectionCloseOk:
		c.ended = true
	}
	p.now.add(e)
}

// confirm returns the publishes that an ack or nack with this tag covers and that were not covered before.
func (s *channelState) confirm(tag uint64, multiple bool) []uint64 {
	if !multiple {
		s.confirms[tag] = true
		return []uint64{tag}
	}
	var tags []uint64
	for t := s.confirmed + 1; t <= tag; t++ {
		if !s.confirms[t] {
			tags = append(tags, t)
		}
		delete(s.confirms, t)
	}
	s.confirmed = max(s.confirmed, tag)
	return tags
}

// await takes events until the method id is answered on the channel, or cannot be any more. It reports whether the last
// event is the answer asked for.
func (p *play) await(c *conn, ch amqp.ChannelID, id amqp.MethodID) bool {
	seen := len(p.now.lanes[lane{c.name, ch}])
	ok := false
	p.pump(answerTime, func() bool {
		entries := p.now.lanes[lane{c.name, ch}]
		for ; seen < len(entries); seen++ {
			if m := entries[seen].event.method; m != nil {
				if answers(m.ID(), id) {
					ok = seen == len(entries)-1
					return true
				}
				if m.ID() == amqp.IDChannelClose {
					return true
				}
			}
		}
		return c.ended
	})
	return ok
}

// trip makes a round trip on a channel: when it is over, the broker has seen all that was sent there before. It asks
// for an exchange that always exists, which changes nothing.
func (p *play) trip(c *conn, ch amqp.ChannelID) {
	s := c.channel(ch)
	if c.ended || !s.open {
		return
	}
	s.trips++
	c.send(ch, &amqp.ExchangeDeclare{Exchange: "amq.direct", Passive: true})
	p.pump(answerTime, func() bool { return c.ended || !s.open || s.trips == 0 })
}

func (p *play) dial(name string) (*conn, error) {
	if old := p.conns[name]; old != nil {
		p.old = append(p.old, old)
	}
	c, err := dial(name, p.Addr, p.events, p.quit)
	if err == nil {
		c.raw = true // until a handshake says otherwise
		p.conns[name] = c
	}
	return c, err
}

// ready returns the command's connection with the channel open.
func (p *play) ready(cmd *Command) (*conn, error) {
	c := p.conns[cmd.Conn]
	if c == nil || c.ended && !c.manual {
		var err error
		if c, err = p.greet(cmd.Conn); err != nil {
			return nil, err
		}
	}
	ch := amqp.ChannelID(cmd.Channel)
	s := c.channel(ch)
	if ch == 0 || s.open || c.ended || cmd.Verb == "channel.open" {
		return c, nil
	}
	c.send(ch, &amqp.ChannelOpen{})
	if p.await(c, ch, amqp.IDChannelOpen) {
		p.now.forget(c.name, ch)
	}
	return c, nil
}

// greet makes a connection with an ordinary handshake, silently.
func (p *play) greet(name string) (*conn, error) {
	if err := p.open(&Command{Do: true, Conn: name}, nil); err != nil {
		return nil, err
	}
	c := p.conns[name]
	if !c.greeted {
		return nil, fmt.Errorf("connection %s was not opened: %v", name, p.now.lines(p.vars))
	}
	return c, nil
}

// A handshake is what open may be told to do otherwise than usual. Numbers that are not set are the broker's.
type handshake struct {
	User, Password, Vhost, Mechanism, Response, Locale string
	ClientProperties, Capabilities                     amqp.Table
	ChannelMax                                         uint16
	FrameMax                                           uint32
	Heartbeat                                          uint16
}

// open makes a connection. What it prints is the last thing that came: connection.open-ok, or why not.
func (p *play) open(cmd *Command, args []string) error {
	h := handshake{User: "guest", Password: "guest", Vhost: "/", Mechanism: "PLAIN", Locale: "en_US",
		Capabilities: amqp.Table{{Name: "consumer_cancel_notify", Value: true}, {Name: "authentication_failure_close", Value: true},
			{Name: "basic.nack", Value: true}, {Name: "publisher_confirms", Value: true},
			{Name: "connection.blocked", Value: true}, {Name: "exchange_exchange_bindings", Value: true}}}
	set, err := setFields(&h, args)
	if err != nil {
		return err
	}
	given := " " + strings.Join(set, " ") + " "
	if !strings.Contains(given, " response ") {
		h.Response = "\x00" + h.User + "\x00" + h.Password
	}
	c, err := p.dial(cmd.Conn)
	if err != nil {
		return err
	}
	c.write([]byte(amqp.ProtocolHeader))
	if !p.step(c, amqp.IDConnectionStart) {
		return nil
	}
	client := append(h.ClientProperties, amqp.Field{Name: "capabilities", Value: h.Capabilities})
	c.send(0, &amqp.ConnectionStartOk{ClientProperties: client, Mechanism: h.Mechanism, Response: h.Response, Locale: h.Locale})
	if !p.step(c, amqp.IDConnectionTune) {
		return nil
	}
	tune := c.tune
	if !strings.Contains(given, " channel-max ") {
		h.ChannelMax = tune.ChannelMax
	}
	if !strings.Contains(given, " frame-max ") {
		h.FrameMax = tune.FrameMax
	}
	c.send(0, &amqp.ConnectionTuneOk{ChannelMax: h.ChannelMax, FrameMax: h.FrameMax, Heartbeat: h.Heartbeat})
	c.send(0, &amqp.ConnectionOpen{VirtualHost: h.Vhost})
	if !p.await(c, 0, amqp.IDConnectionOpen) {
		return nil
	}
	c.frameMax = int(h.FrameMax)
	if c.frameMax == 0 {
		c.frameMax = 131072
	}
	c.greeted, c.raw = true, false
	if cmd.Do {
		p.now.forget(cmd.Conn, 0)
	}
	return nil
}

// Version returns the version that the broker gives itself in its greeting.
func (r *Runner) Version() (string, error) {
	p := newPlay(r)
	defer p.end()
	c, err := p.dial("a")
	if err != nil {
		return "", err
	}
	c.write([]byte(amqp.ProtocolHeader))
	var start *amqp.ConnectionStart
	if !p.pump(answerTime, func() bool {
		e, _ := p.now.last("a", 0)
		start, _ = e.method.(*amqp.ConnectionStart)
		return start != nil
	}) {
		return "", fmt.Errorf("no greeting from %s", r.Addr)
	}
	v, _ := start.ServerProperties.Lookup("version")
	version, _ := v.(string)
	return version, nil
}

// step waits for one method of the handshake, and drops it from the transcript.
func (p *play) step(c *conn, id amqp.MethodID) bool {
	l := lane{c.name, 0}
	came := func() bool {
		e, ok := p.now.last(c.name, 0)
		return ok && e.conn == c && e.method != nil && e.method.ID() == id
	}
	p.pump(answerTime, func() bool { return c.ended || came() })
	if !came() {
		return false
	}
	if m, ok := p.now.lanes[l][len(p.now.lanes[l])-1].event.method.(*amqp.ConnectionTune); ok {
		c.tune = m
	}
	p.now.forget(c.name, 0)
	return true
}

// note remembers what a method declares, so that it can be deleted after the scenario.
func (p *play) note(m amqp.Method) {
	if x, ok := m.(*amqp.ExchangeDeclare); ok && !x.Passive && !strings.HasPrefix(x.Exchange, "amq.") {
		p.declared = append(p.declared, declared{"exchange", x.Exchange})
	}
}

// finish closes all connections and deletes what the scenario declared.
func (p *play) finish() error {
	p.now = newTranscript()
	for _, c := range p.conns {
		if c.greeted && !c.ended && !c.raw {
			c.send(0, &amqp.ConnectionClose{ReplyCode: 200})
			p.await(c, 0, amqp.IDConnectionClose)
		}
	}
	err := p.clean()
	p.end()
	return err
}

// end cuts all connections and waits for their readers.
func (p *play) end() {
	close(p.quit)
	for _, c := range p.conns {
		p.old = append(p.old, c)
	}
	for _, c := range p.old {
		c.close()
	}
}

// clean deletes the scenario's queues and exchanges. A queue that a dying connection still holds (RESOURCE_LOCKED) is
// tried again: the broker may take a moment to notice.
func (p *play) clean() error {
	c, err := p.greet("janitor")
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(answerTime); ; {
		cmd := &Command{Conn: "janitor", Channel: 1}
		locked := false
		for _, d := range p.declared {
			if _, err := p.ready(cmd); err != nil {
				return err
			}
			var m amqp.Method = &amqp.QueueDelete{Queue: d.name}
			if d.kind == "exchange" {
				m = &amqp.ExchangeDelete{Exchange: d.name}
			}
			c.send(1, m)
			if !p.await(c, 1, m.ID()) {
				e, _ := p.now.last("janitor", 1)
				x, ok := e.method.(*amqp.ChannelClose)
				locked = locked || ok && x.ReplyCode == uint16(amqp.ResourceLocked)
			}
		}
		if !locked || time.Now().After(deadline) {
			return nil
		}
		p.pump(20*time.Millisecond, func() bool { return false })
	}
}
