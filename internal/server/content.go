package server

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/queue"
)

// content is a publish whose frames are arriving.
type content struct {
	expect    part
	msg       *amqp.Message
	mandatory bool
	held      int // references taken, as Message.Pin counts
	got       int // bytes of the body
}

// A part is what must come next.
type part uint8

const (
	none part = iota
	header
	body
)

// missing is what RabbitMQ says when something else comes.
func (p part) missing() string {
	if p == body {
		return "expected content body, got non content body frame instead"
	}
	return "expected content header for class 60, got non content header frame instead"
}

// publish begins a publish: its content follows.
func (ch *channel) publish(payload []byte) error {
	c := ch.conn
	if c.srv.opt.Broker.Alarms.Blocked() {
		payload = bytes.Clone(payload) // reading goes on meanwhile
		c.waitUnblocked()
		if c.phase != open || ch.closing { // while it waited
			return nil
		}
	}
	p, ok := amqp.ParsePublish(payload)
	if !ok {
		return &amqp.Error{Code: amqp.SyntaxError, Text: "payload ends early", Method: amqp.IDBasicPublish}
	}
	if p.Immediate {
		return &amqp.Error{Code: amqp.NotImplemented, Text: "immediate=true", Method: amqp.IDBasicPublish}
	}
	m := amqp.NewMessage(c.in.Buffer())
	m.Address = p.Address
	ch.content = content{expect: header, msg: m, mandatory: p.Mandatory}
	c.partial = append(c.partial, ch)
	return nil
}

func (ch *channel) header(payload []byte) error {
	ct := &ch.content
	class, size, ok := amqp.BodySize(payload)
	switch {
	case ct.expect == none:
		return amqp.Errorf(amqp.UnexpectedFrame, "expected method frame, got non method frame instead")
	case ct.expect != header:
		return &amqp.Error{Code: amqp.UnexpectedFrame, Method: amqp.IDBasicPublish, Text: body.missing()}
	case !ok:
		return &amqp.Error{Code: amqp.SyntaxError, Method: amqp.IDBasicPublish, Text: "content header is too short"}
	case class != 60:
		return &amqp.Error{Code: amqp.UnexpectedFrame, Method: amqp.IDBasicPublish,
			Text: fmt.Sprintf("expected content header for class 60, got one for class %d instead", class)}
	case payload[2] != 0 || payload[3] != 0: // the weight is always zero
		return &amqp.Error{Code: amqp.UnexpectedFrame, Method: amqp.IDBasicPublish, Text: header.missing()}
	}
	if limit := ch.conn.srv.opt.MaxMessageSize; size > uint64(limit) {
		return &amqp.Error{Code: amqp.PreconditionFailed, Method: amqp.IDBasicPublish,
			Text: amqp.Errorf(0, "message size %d is larger than configured max size %d", size, limit).Text}
	}
	ct.msg.SetHeader(payload, ch.conn.in.Buffer())
	ct.msg.Size = int(size)
	ct.expect = body
	if size == 0 {
		return ch.complete()
	}
	return nil
}

func (ch *channel) body(payload []byte) error {
	ct := &ch.content
	switch {
	case ct.expect == none:
		return amqp.Errorf(amqp.UnexpectedFrame, "expected method frame, got non method frame instead")
	case ct.expect != body:
		return &amqp.Error{Code: amqp.UnexpectedFrame, Method: amqp.IDBasicPublish, Text: header.missing()}
	}
	ct.got += len(payload)
	if ct.got > ct.msg.Size {
		return &amqp.Error{Code: amqp.UnexpectedFrame, Method: amqp.IDBasicPublish, Text: body.missing()}
	}
	ct.msg.AddBody(payload, ch.conn.in.Buffer())
	if ct.got == ct.msg.Size {
		return ch.complete()
	}
	return nil
}

// dropContent forgets content that will not be completed.
func (ch *channel) dropContent() {
	ct := &ch.content
	if ct.expect == none {
		return
	}
	ct.msg.Unpin(ct.held)
	*ct = content{}
	ch.left()
}

// left takes ch from the list of channels with partial content.
func (ch *channel) left() {
	p := ch.conn.partial
	for i := range p {
		if p[i] == ch {
			p[i] = p[len(p)-1]
			ch.conn.partial = p[:len(p)-1]
			return
		}
	}
}

// complete takes a publish all of which is there.
func (ch *channel) complete() error {
	ct := ch.content
	ch.content = content{}
	ch.left()
	if ct.held > 0 {
		ch.conn.unpin = append(ch.conn.unpin, pinned{ct.msg, ct.held})
	}
	f, err := amqp.ParseFacts(ct.msg.Header)
	if err != nil {
		return &amqp.Error{Code: amqp.SyntaxError, Text: err.(*amqp.Error).Text, Method: amqp.IDBasicPublish}
	}
	ct.msg.SetFacts(f)
	if !ch.conn.published.Load() {
		ch.conn.published.Store(true)
	}
	if err := ch.route(ct.msg, f, ct.mandatory); err != nil {
		err.Method = amqp.IDBasicPublish
		return err
	}
	return nil
}

// route checks a publish and passes it to its queues.
func (ch *channel) route(m *amqp.Message, f amqp.Facts, mandatory bool) *amqp.Error {
	c := ch.conn
	p := amqp.Publish{Address: m.Address}
	p.Exchange, p.RoutingKey = amqp.SplitAddress(m.Address)
	r, err := c.sender.Route(&p)
	if err != nil {
		if name := string(p.Exchange); !c.user.MayWrite(c.vhost.Name, name) {
			return auth.Refused(auth.Exchange, name, c.vhost.Name, c.user.UserName)
		}
		return err.(*amqp.Error)
	}
	if err := ch.mayPublish(r.Exchange, p.RoutingKey); err != nil {
		return err
	}
	if f.Flags&amqp.FlagDeliveryMode != 0 && f.Mode != 1 && f.Mode != 2 {
		return amqp.Errorf(amqp.PreconditionFailed, "invalid message: {delivery_mode_unknown,%d}", f.Mode)
	}
	msg := &c.msg
	*msg = exchange.Msg{Key: view(p.RoutingKey), Headers: f.Headers, Timestamp: f.Timestamp,
		HasTimestamp: f.Flags&amqp.FlagTimestamp != 0}
	if f.Flags&^(amqp.FlagContentType|amqp.FlagDeliveryMode|amqp.FlagPriority) != 0 {
		if m, err = ch.examine(m, f, msg); err != nil {
			return err.(*amqp.Error)
		}
	}
	found := c.sender.Targets(r, msg, m)
	if ch.mode == transactional {
		ch.tx.publish(m, found, mandatory)
		return nil
	}
	reply := len(found) == 0 && r.Exchange.Name == "" && ch.replyTo(m, msg.Key)
	if len(found) == 0 && mandatory && !reply {
		ch.returned(m)
	}
	if ch.mode != confirming {
		for _, q := range found {
			c.sender.Publish(q, m, nil, 0)
		}
		return nil
	}
	ch.publishes++
	if len(ch.registers) == 0 {
		c.confirms = append(c.confirms, ch)
	}
	ch.registers = append(ch.registers, uint32(len(found)))
	for _, q := range found {
		c.sender.Publish(q, m, ch, ch.publishes)
	}
	return nil
}

// mayPublish checks the permission to publish to x with key.
func (ch *channel) mayPublish(x *exchange.Exchange, key []byte) *amqp.Error {
	c := ch.conn
	if !c.user.MayWrite(c.vhost.Name, x.Name) {
		return auth.Refused(auth.Exchange, x.Name, c.vhost.Name, c.user.UserName)
	}
	if x.Internal {
		return amqp.Errorf(amqp.AccessRefused, "cannot publish to internal exchange '%s' in vhost '%s'", x.Name, c.vhost.Name)
	}
	if x.Type == "topic" && c.user.LimitsTopics(c.vhost.Name) && !c.user.MayTopic(auth.Write, c.vhost.Name, x.Name, string(key)) {
		return auth.RefusedTopic(string(key), x.Name, c.vhost.Name, c.user.UserName)
	}
	return nil
}

// examine looks at the less common properties. It returns m, or the message that takes its place.
func (ch *channel) examine(m *amqp.Message, f amqp.Facts, msg *exchange.Msg) (*amqp.Message, error) {
	c := ch.conn
	if f.UserID != nil && string(f.UserID) != c.user.UserName && !c.user.HasTag("impersonator") {
		return nil, amqp.Errorf(amqp.PreconditionFailed, "user_id property set to '%s' but authenticated user was '%s'", f.UserID,
			c.user.UserName)
	}
	if f.Expiration != nil && m.Expiration < 0 {
		return nil, amqp.Errorf(amqp.PreconditionFailed, "invalid expiration '%s': %s", f.Expiration, expirationFault(string(f.Expiration)))
	}
	msg.CorrelationID, msg.MessageID = view(f.Correlation), view(f.MessageID)
	if string(f.ReplyTo) == broker.ReplyQueue {
		replaced, err := ch.addReplyName(m)
		if err != nil {
			return nil, err
		}
		m = replaced
	}
	if f.Headers != nil {
		return ch.examineHeaders(m, f.Headers, msg)
	}
	return m, nil
}

// expirationFault words what is wrong with an expiration as RabbitMQ does.
func expirationFault(s string) string {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && n > amqp.MaxExpiration:
		return fmt.Sprintf("{value_too_large,%s}", s)
	case err == nil && n < 0:
		return fmt.Sprintf("{value_negative,%d}", n)
	case err == nil:
		return "{leftover_string,[]}"
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits == 0 {
		return "no_integer"
	}
	return fmt.Sprintf("{leftover_string,%q}", s[digits:])
}

// examineHeaders finds the further routing keys in CC and BCC, and takes BCC out.
func (ch *channel) examineHeaders(m *amqp.Message, h amqp.RawTable, msg *exchange.Msg) (*amqp.Message, error) {
	var bcc []string
	for _, name := range [2]string{"CC", "BCC"} {
		v, ok := h.Value(name)
		if !ok {
			continue
		}
		keys, bad := longstrs(v)
		if bad != "" {
			return nil, amqp.Errorf(amqp.PreconditionFailed, "invalid message: {unacceptable_type_in_header,%q,%s}", name, bad)
		}
		msg.ExtraKeys = append(msg.ExtraKeys, keys...)
		if name == "BCC" {
			bcc = keys
			if bcc == nil {
				bcc = []string{}
			}
		}
	}
	if bcc == nil {
		return m, nil
	}
	m, err := ch.rewrite(m, func(p *amqp.Properties) { p.Headers = p.Headers.Without("BCC") })
	if err == nil {
		m.Hide(bcc)
	}
	return m, err
}

// longstrs returns the strings of an array, without what else is in it; bad names what v is if not an array.
func longstrs(v any) (keys []string, bad string) {
	a, ok := v.(amqp.Array)
	if !ok {
		return nil, amqp.TypeName(v)
	}
	for _, e := range a {
		if s, ok := e.(string); ok {
			keys = append(keys, s)
		}
	}
	return keys, ""
}

// rewrite returns a copy of m with other properties, which lives until the next flush.
func (ch *channel) rewrite(m *amqp.Message, change func(*amqp.Properties)) (*amqp.Message, error) {
	p, err := amqp.ParseProperties(m.Header)
	if err != nil {
		return nil, err
	}
	change(&p)
	out, err := m.Derive(m.Address, amqp.AppendHeader(nil, &p, uint64(m.Size)))
	if err != nil {
		return nil, err
	}
	out.Hide(m.HiddenKeys())
	ch.conn.unpin = append(ch.conn.unpin, pinned{out, -1})
	return out, nil
}

// returned sends back a mandatory message that no queue takes.
func (ch *channel) returned(m *amqp.Message) {
	out := &ch.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.dead {
		return
	}
	out.ready()
	out.buf = amqp.AppendReturn(out.buf, ch.id, amqp.NoRoute, "NO_ROUTE", m.Address)
	out.content(ch.conn, ch.id, m)
	out.wake(ch.conn)
}

// Confirmed implements queue.Publisher.
func (ch *channel) Confirmed(seqs []uint64, ok bool) {
	out := &ch.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if ch.ended || out.dead {
		return
	}
	for _, seq := range seqs {
		ch.confirms.settle(seq, ok)
	}
	ch.confirmed()
}

// registerConfirms notes how many queues each publish went to, before these can answer.
func (ch *channel) registerConfirms() {
	out := &ch.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if !ch.ended {
		for _, n := range ch.registers {
			ch.confirms.register(n)
		}
		ch.confirmed()
	}
	ch.registers = ch.registers[:0]
}

// confirmed has the writer send what confirms have become due. conn.out.mu is held.
func (ch *channel) confirmed() {
	if ch.confirms.due() {
		out := &ch.conn.out
		if !ch.confirms.listed {
			ch.confirms.listed = true
			out.dirty = append(out.dirty, ch)
		}
		out.wake(ch.conn)
	}
}

// appendConfirms encodes the confirms that are due. conn.out.mu is held, by the writer.
func (ch *channel) appendConfirms() {
	ch.confirms.listed = false
	if ch.ended {
		return
	}
	out := &ch.conn.out
	out.ready()
	out.buf = ch.confirms.append(out.buf, ch.id)
}

var _ queue.Publisher = (*channel)(nil)
