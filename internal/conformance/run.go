package conformance

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/warrenmq/warren/amqp"
)

const (
	answerTime = 12 * time.Second       // a command's answer may take; RabbitMQ keeps failed logins waiting for 3 s
	patience   = 3 * time.Second        // what a block makes other channels be sent may take
	quiet      = 150 * time.Millisecond // without a word counts as silence when answers are recorded
	settled    = 100 * time.Millisecond // without a word counts as silence for "settle"
)

// A Runner plays scenarios to the broker at one address.
type Runner struct {
	Addr string
	// Record takes down what the broker answers instead of waiting for the expected answer.
	Record bool
}

// A play is one scenario being run. Its goroutine owns everything but the connections' read sides.
type play struct {
	*Runner
	conns    map[string]*conn
	old      []*conn // replaced by a later connection of the same name
	events   chan event
	quit     chan struct{}
	vars     map[string]string
	now      *transcript // of the block at hand
	declared []declared
}

// declared is something to delete when the scenario is over.
type declared struct{ kind, name string }

func newPlay(r *Runner) *play {
	return &play{Runner: r, conns: map[string]*conn{}, events: make(chan event, 1024), quit: make(chan struct{}),
		vars: map[string]string{}, now: newTranscript()}
}

// Run plays one scenario and returns what the broker answered to each block. An error says that the script itself cannot
// be run, or that the broker is gone.
func (r *Runner) Run(sc *Scenario) ([][]string, error) {
	p := newPlay(r)
	var answers [][]string
	var failed error
	for _, b := range sc.Blocks {
		answer, err := p.block(b)
		if err != nil {
			failed = fmt.Errorf("line %d: %w", b.Line, err)
			break
		}
		answers = append(answers, answer)
	}
	if err := p.finish(); failed == nil && err != nil {
		failed = fmt.Errorf("after %q: %w", sc.Title, err)
	}
	return answers, failed
}

// block runs the commands of b and returns everything that came until the broker had nothing more to say.
func (p *play) block(b *Block) ([]string, error) {
	p.now = newTranscript()
	for _, c := range b.Commands {
		if err := p.run(c); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Line, err)
		}
	}
	if p.Record {
		p.silence(quiet)
	} else {
		p.pump(patience, func() bool { return p.mute() || slices.Equal(p.now.lines(p.vars), b.Want) })
	}
	// What is still on its way comes before the answer to a round trip.
	for _, c := range p.conns {
		if c.raw {
			continue
		}
		for ch, s := range c.channels {
			if s.open {
				p.trip(c, ch)
			}
		}
	}
	return p.now.lines(p.vars), nil
}

// run executes one command.
func (p *play) run(c *Command) error {
	args := c.Args
	if len(p.vars) > 0 {
		args = slices.Clone(args)
		for i, a := range args {
			args[i] = p.expand(a)
		}
	}
	switch c.Verb {
	case "settle", "sleep":
		d := settled
		if len(args) > 0 {
			var err error
			if d, err = time.ParseDuration(args[0]); err != nil {
				return err
			}
		}
		if c.Verb == "settle" {
			p.silence(d)
			return nil
		}
		p.pump(d, func() bool { return false })
		return nil
	case "until":
		return p.until(c)
	case "dial":
		_, err := p.dial(c.Conn)
		return err
	case "open":
		return p.open(c, args)
	}
	switch c.Verb {
	case "send", "raw", "frame", "header", "body", "manual", "drop", "wait":
		cn := p.conns[c.Conn]
		if cn == nil {
			var err error
			if cn, err = p.greet(c.Conn); err != nil {
				return err
			}
		}
		return p.low(c, cn, args)
	}
	cn, err := p.ready(c)
	if err != nil || cn.ended {
		return err
	}
	if c.Verb == "publish" {
		return p.publish(c, cn, args)
	}
	m, _ := newMethod(c.Verb)
	if _, err := setFields(m, args); err != nil {
		return err
	}
	cn.send(amqp.ChannelID(c.Channel), m)
	p.note(m)
	if !hasAnswer(m) {
		p.trip(cn, amqp.ChannelID(c.Channel))
	} else if p.await(cn, amqp.ChannelID(c.Channel), m.ID()) && c.Do {
		p.now.forget(c.Conn, amqp.ChannelID(c.Channel))
	}
	return p.save(c)
}

// low executes the verbs that write bytes as they are told to.
func (p *play) low(c *Command, cn *conn, args []string) error {
	ch := amqp.ChannelID(c.Channel)
	switch c.Verb {
	case "manual":
		cn.manual = true
	case "drop":
		cn.ended = true
		cn.close()
	case "wait":
		text := unquote(args[0])
		p.pump(answerTime, func() bool {
			for _, e := range p.now.lanes[lane{c.Conn, ch}] {
				if strings.Contains(e.text(), text) {
					return true
				}
			}
			return false
		})
	case "send":
		m, _ := newMethod(c.Method)
		if _, err := setFields(m, args); err != nil {
			return err
		}
		cn.send(ch, m)
		p.note(m)
	case "raw":
		b, err := rawBytes(args)
		if err != nil {
			return err
		}
		cn.raw = true
		cn.write(b)
	case "frame":
		b, err := frameBytes(ch, args)
		if err != nil {
			return err
		}
		cn.raw = true
		cn.write(b)
	case "header":
		b, err := headerBytes(args)
		if err != nil {
			return err
		}
		cn.raw = true
		cn.write(amqp.AppendFrame(nil, amqp.FrameHeader, ch, b))
	case "body":
		cn.raw = true
		cn.write(amqp.AppendFrame(nil, amqp.FrameBody, ch, []byte(unquote(args[0]))))
	}
	return nil
}

// publish sends a message and makes a round trip, so that the broker has taken it when the next command comes.
func (p *play) publish(c *Command, cn *conn, args []string) error {
	var m amqp.BasicPublish
	var props amqp.Properties
	var body string
	var fields []string
	var err error
	for _, a := range args {
		switch {
		case strings.HasPrefix(a, "body="):
			body = unquote(a[len("body="):])
		case strings.HasPrefix(a, "props="):
			if props, err = parseProperties(a[len("props="):]); err != nil {
				return err
			}
		case strings.HasPrefix(a, "key="):
			fields = append(fields, "routing-"+a)
		default:
			fields = append(fields, a)
		}
	}
	if _, err := setFields(&m, fields); err != nil {
		return err
	}
	ch := amqp.ChannelID(c.Channel)
	b := amqp.AppendMethod(nil, ch, &m)
	b = amqp.AppendFrame(b, amqp.FrameHeader, ch, amqp.AppendHeader(nil, &props, uint64(len(body))))
	for rest := []byte(body); len(rest) > 0; {
		n := min(len(rest), cn.frameMax-amqp.FrameOverhead)
		b = amqp.AppendFrame(b, amqp.FrameBody, ch, rest[:n])
		rest = rest[n:]
	}
	cn.write(b)
	p.trip(cn, ch)
	return nil
}

// until repeats a command until its answer contains the text; the answers before are dropped.
func (p *play) until(c *Command) error {
	deadline := time.Now().Add(answerTime)
	for {
		if err := p.run(c.Repeat); err != nil {
			return err
		}
		e, ok := p.now.last(c.Repeat.Conn, amqp.ChannelID(c.Repeat.Channel))
		if ok && strings.Contains(e.text(), c.Until) || time.Now().After(deadline) {
			return nil
		}
		p.now.forget(c.Repeat.Conn, amqp.ChannelID(c.Repeat.Channel))
		p.pump(10*time.Millisecond, func() bool { return false })
	}
}

var variable = regexp.MustCompile(`\$[a-z0-9]+`)

func (p *play) expand(s string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := p.vars[name[1:]]; ok {
			return v
		}
		return name
	})
}

// save keeps a field of the command's answer.
func (p *play) save(c *Command) error {
	if c.Save == "" {
		return nil
	}
	e, ok := p.now.last(c.Conn, amqp.ChannelID(c.Channel))
	if !ok || e.method == nil {
		return fmt.Errorf("nothing to keep")
	}
	v, ok := lookupField(e.method, c.Field)
	if !ok && e.props != nil {
		v, ok = lookupField(e.props, c.Field)
	}
	if !ok {
		return fmt.Errorf("%s has no field %q", e.method.ID(), c.Field)
	}
	p.vars[c.Save] = v
	return nil
}

// rawBytes reads hex words and quoted strings.
func rawBytes(words []string) ([]byte, error) {
	var out []byte
	for _, w := range words {
		if strings.HasPrefix(w, `"`) || strings.HasPrefix(w, "rep(") {
			out = append(out, unquote(w)...)
			continue
		}
		b, err := hex.DecodeString(w)
		if err != nil {
			return nil, fmt.Errorf("%q is neither hex nor quoted", w)
		}
		out = append(out, b...)
	}
	return out, nil
}

// frameBytes builds a frame that may be wrong.
func frameBytes(ch amqp.ChannelID, args []string) ([]byte, error) {
	f := struct {
		Type    uint8
		Payload string
		Size    uint32
		End     uint8
	}{End: 0xCE}
	set, err := setFields(&f, args)
	if err != nil {
		return nil, err
	}
	payload := []byte(f.Payload)
	if hexed, ok := bytes.CutPrefix(payload, []byte("x:")); ok {
		if payload, err = hex.DecodeString(string(hexed)); err != nil {
			return nil, err
		}
	}
	b := amqp.AppendFrame(nil, f.Type, ch, payload)
	if slices.Contains(set, "size") {
		b[3], b[4], b[5], b[6] = byte(f.Size>>24), byte(f.Size>>16), byte(f.Size>>8), byte(f.Size)
	}
	b[len(b)-1] = f.End
	return b, nil
}

// headerBytes builds the payload of a content header that may be wrong.
func headerBytes(args []string) ([]byte, error) {
	h := struct {
		Class  uint16
		Weight uint16
		Size   uint64
	}{Class: 60}
	var props amqp.Properties
	var fields []string
	var err error
	for _, a := range args {
		if text, ok := strings.CutPrefix(a, "props="); ok {
			if props, err = parseProperties(text); err != nil {
				return nil, err
			}
			continue
		}
		fields = append(fields, a)
	}
	if _, err := setFields(&h, fields); err != nil {
		return nil, err
	}
	b := amqp.AppendHeader(nil, &props, h.Size)
	b[0], b[1], b[2], b[3] = byte(h.Class>>8), byte(h.Class), byte(h.Weight>>8), byte(h.Weight)
	return b, nil
}
