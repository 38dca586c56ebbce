package amqp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// build returns a message of which the body lies in parts in buffers of their own, but for the first if own is set. The
// caller holds one reference.
func build(t testing.TB, p Properties, own bool, parts ...[]byte) *Message {
	t.Helper()
	size := 0
	for _, part := range parts {
		size += len(part)
	}
	address := AppendAddress(nil, "exchange", "routing.key")
	header := AppendHeader(nil, &p, uint64(size))
	b := NewBuffer(len(address) + len(header) + size)
	place := b.Bytes()
	put := func(src []byte) []byte {
		n := copy(place, src)
		at := place[:n:n]
		place = place[n:]
		return at
	}
	m := NewMessage(b)
	m.Address, m.Header, m.Size = put(address), put(header), size
	f, err := ParseFacts(m.Header)
	if err != nil {
		t.Fatal(err)
	}
	m.SetFacts(f)
	for i, part := range parts {
		if i == 0 && own {
			m.AddBody(put(part), b)
			continue
		}
		pb := NewBuffer(len(part))
		n := copy(pb.Bytes(), part)
		m.AddBody(pb.Bytes()[:n], pb)
		if len(part) == 0 {
			pb.Release(1)
		}
	}
	return m
}

// references returns the counts of the buffers that m lies in.
func references(m *Message) string {
	counts := []int32{m.buf.refs.Load()}
	if m.spread != nil {
		for _, b := range m.spread.bufs {
			counts = append(counts, b.refs.Load())
		}
	}
	return fmt.Sprint(counts)
}

// same fails the test unless m says what want says, each with its own address and header.
func same(t *testing.T, what string, m *Message, address, header, body []byte) {
	t.Helper()
	if !bytes.Equal(m.Address, address) || !bytes.Equal(m.Header, header) || m.Size != len(body) {
		t.Errorf("%s: address %q, header %x, size %d; want %q, %x, %d", what, m.Address, m.Header, m.Size, address, header, len(body))
	}
	if got := m.AppendBody([]byte("before")); !bytes.Equal(got, append([]byte("before"), body...)) {
		t.Errorf("%s: the body differs", what)
	}
	f, err := ParseFacts(m.Header)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	var facts Message
	facts.SetFacts(f)
	if m.Flags != facts.Flags || m.Expiration != facts.Expiration || m.Persistent != facts.Persistent || m.Priority != facts.Priority {
		t.Errorf("%s: %+v does not say what its header says: %+v", what, m, f)
	}
}

func TestMessageAddress(t *testing.T) {
	m := build(t, Properties{}, true)
	if string(m.Exchange()) != "exchange" || string(m.RoutingKey()) != "routing.key" {
		t.Errorf("published to %q with %q", m.Exchange(), m.RoutingKey())
	}
	if want := len(m.Address) + len(m.Header); m.Footprint() != want {
		t.Errorf("Footprint() = %d, want %d", m.Footprint(), want)
	}
	m.Release(1)
}

func TestMessageReferences(t *testing.T) {
	parts := [][]byte{pattern(100, 1), pattern(1<<20, 2), pattern(100, 3)}
	for _, tt := range []struct {
		own  bool
		want string
	}{{true, "[6 6 6]"}, {false, "[6 6 6 6]"}} {
		m := build(t, Properties{}, tt.own, parts...)
		if m.Whole() {
			t.Error("a message of three parts calls itself whole")
		}
		m.Retain(5)
		if got := references(m); got != tt.want {
			t.Errorf("after Retain(5): %s, want %s", got, tt.want)
		}
		m.Release(5)
		same(t, "held once", m, m.Address, m.Header, bytes.Join(parts, nil))
		bufs := append([]*Buffer{m.buf}, m.spread.bufs...)
		m.Release(1)
		for i, b := range bufs {
			if n := b.refs.Load(); n != 0 && b.class < 0 {
				t.Errorf("after the last Release buffer %d has %d references", i, n)
			}
		}
	}
}

func TestMessageAddBody(t *testing.T) {
	a, b := NewBuffer(10), NewBuffer(10)
	copy(a.data, "0123456789")
	copy(b.data, "abcdefghij")
	m := NewMessage(a)
	m.Size = 6
	m.AddBody(nil, b)
	if m.spread != nil || m.Body != nil {
		t.Errorf("an empty part was kept: %+v", m)
	}
	for i, part := range [][]byte{a.data[:2], b.data[:1], b.data[1:2], a.data[2:3], b.data[2:3]} {
		m.AddBody(part, []*Buffer{a, b, b, a, b}[i])
	}
	if got := m.AppendBody(nil); string(got) != "01ab2c" {
		t.Errorf("the body is %q", got)
	}
	m.Retain(1)
	if a.refs.Load() != 2 {
		t.Errorf("references: %s", references(m))
	}
	m.Release(1)
	if a.refs.Load() != 1 || b.refs.Load() != 1 {
		t.Errorf("Release does not undo Retain: %s", references(m))
	}
	b.Release(1)
	a.Release(1)
}

// TestMessagePin lets a message arrive in four buffers and be given up after each: what was pinned, and only that, is
// given back.
func TestMessagePin(t *testing.T) {
	for stop := range 5 {
		var bufs []*Buffer
		for range 4 {
			bufs = append(bufs, NewBuffer(10))
		}
		m := NewMessage(bufs[0])
		m.Size = 2
		held := 0
		for i, arrive := range []func(){
			func() {},
			func() { m.SetHeader(bufs[1].data, bufs[1]) },
			func() { m.AddBody(bufs[2].data[:1], bufs[2]) },
			func() { m.AddBody(bufs[2].data[1:2], bufs[2]); m.AddBody(bufs[3].data, bufs[3]) },
		}[:stop] {
			arrive()
			held = m.Pin(held)
			if again := m.Pin(held); again != held {
				t.Errorf("Pin took references twice: %d, then %d", held, again)
			}
			for k, b := range bufs {
				if want := 1 + int32(min(max(i-k+1, 0), 1)); b.refs.Load() != want {
					t.Errorf("after step %d buffer %d has %d references, want %d", i, k, b.refs.Load(), want)
				}
			}
		}
		m.Unpin(held)
		for k, b := range bufs {
			if b.refs.Load() != 1 {
				t.Errorf("given up after %d steps: buffer %d has %d references, want 1", stop, k, b.refs.Load())
			}
			b.Release(1)
		}
	}
}

func TestMessageHidden(t *testing.T) {
	m := build(t, Properties{}, true, pattern(10, 1))
	m.Hide([]string{"a", "b"})
	b := NewBuffer(m.Footprint())
	c := m.CopyTo(b, b.data)
	m.Release(1)
	if got := c.HiddenKeys(); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("a copy's hidden keys are %v", got)
	}
	c.Release(1)
}

func TestMessageCopyTo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		p := randomProperties(rnd)
		parts := [][]byte{pattern(rnd.IntN(50), 1), pattern(rnd.IntN(50), 2), pattern(rnd.IntN(50), 3)}[:rnd.IntN(4)]
		m := build(t, p, rnd.IntN(2) == 0, parts...)
		address, header, body := bytes.Clone(m.Address), bytes.Clone(m.Header), bytes.Join(parts, nil)
		b := NewBuffer(m.Footprint() + 10)
		c := m.CopyTo(b, b.data[5:5+m.Footprint()])
		overwrite(m)
		m.Release(1)
		same(t, "a copy", c, address, header, body)
		if !c.Whole() || c.spread != nil {
			t.Errorf("a copy of %d parts is not whole: %+v", len(parts), c)
		}
		c.Release(1)
	}
}

// overwrite changes all the memory of m, so that whoever shares it is found out.
func overwrite(m *Message) {
	for _, part := range append([][]byte{m.Address, m.Header, m.Body}, m.More()...) {
		for i := range part {
			part[i] ^= 0x55
		}
	}
}

func TestMessageDerive(t *testing.T) {
	for _, parts := range [][][]byte{
		{}, {pattern(100, 1)}, {pattern(100, 1), pattern(200, 2)}, {pattern(16<<10-1, 1)},
		{pattern(16<<10, 1)}, {pattern(10, 1), pattern(300<<10, 2), pattern(10, 3)},
	} {
		for _, own := range []bool{true, false} {
			m := build(t, everyProperty, own, parts...)
			body := bytes.Join(parts, nil)
			shared := len(body) >= 16<<10
			what := fmt.Sprintf("%d bytes in %d parts, own %v", len(body), len(parts), own)
			p := everyProperty
			p.Headers = everyType.With("x-death", Array{Table{{"count", int64(1)}}}).Without("a")
			p.Expiration, p.Priority, p.DeliveryMode = "77", 3, 1
			address, header := AppendAddress(nil, "dlx", "other"), AppendHeader(nil, &p, uint64(len(body)))
			before := references(m)
			c, err := m.Derive(address, header)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			same(t, what, c, address, header, body)
			if c.Expiration != 77 || c.Priority != 3 || c.Persistent {
				t.Errorf("%s: the new properties are not there: %+v", what, c)
			}
			if held := references(m) != before; held != shared {
				t.Errorf("%s: the source went from %s to %s references, want shared %v", what, before, references(m), shared)
			}
			clear(address)
			clear(header)
			if !shared {
				overwrite(m)
			}
			m.Release(1)
			same(t, what+", on its own", c, AppendAddress(nil, "dlx", "other"), AppendHeader(nil, &p, uint64(len(body))), body)
			// A copy of a copy, as a dead letter may be, outlives both.
			d, err := c.Derive(c.Address, c.Header)
			if err != nil {
				t.Fatal(err)
			}
			c.Retain(2)
			c.Release(3)
			same(t, what+", twice", d, AppendAddress(nil, "dlx", "other"), AppendHeader(nil, &p, uint64(len(body))), body)
			d.Release(1)
		}
	}
}

func TestMessageDeriveDamaged(t *testing.T) {
	m := build(t, Properties{}, true, pattern(20<<10, 1))
	before := references(m)
	if c, err := m.Derive(m.Address, m.Header[:13]); c != nil || err == nil {
		t.Errorf("Derive with a damaged header: %v, %v", c, err)
	}
	if got := references(m); got != before {
		t.Errorf("a refused Derive leaves %s references, want %s", got, before)
	}
	m.Release(1)
}

func TestMessageSetFacts(t *testing.T) {
	for _, tt := range []struct {
		p    Properties
		want Message
	}{
		{Properties{}, Message{Expiration: -1}},
		{Properties{Flags: FlagExpiration, Expiration: "0"}, Message{Flags: FlagExpiration}},
		{Properties{Flags: FlagExpiration, Expiration: "soon"}, Message{Flags: FlagExpiration, Expiration: -1}},
		{Properties{Flags: FlagDeliveryMode | FlagPriority, DeliveryMode: 2, Priority: 255},
			Message{Flags: FlagDeliveryMode | FlagPriority, Expiration: -1, Persistent: true, Priority: 255}},
		{Properties{Flags: FlagDeliveryMode, DeliveryMode: 1}, Message{Flags: FlagDeliveryMode, Expiration: -1}},
	} {
		f, err := ParseFacts(AppendHeader(nil, &tt.p, 0))
		if err != nil {
			t.Fatal(err)
		}
		got := Message{Expiration: 5, Persistent: true, Priority: 9}
		got.SetFacts(f)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%+v: %+v, want %+v", tt.p, got, tt.want)
		}
	}
}

func TestEachBodyFrame(t *testing.T) {
	bodies := [][][]byte{
		{}, {pattern(1, 1)}, {pattern(4088, 1)}, {pattern(4089, 1)}, {pattern(8176, 1)}, {pattern(100000, 1)},
		{pattern(10, 1), pattern(20, 2), pattern(5000, 3)}, {pattern(4080, 1), pattern(8, 2), pattern(4088, 3)},
		{pattern(131064, 1), pattern(131064, 2), pattern(1, 3)},
	}
	for _, parts := range bodies {
		for _, frameMax := range []int{0, 9, 100, FrameMinSize, 131072} {
			body := bytes.Join(parts, nil)
			if frameMax == 9 && len(body) > 10000 {
				continue
			}
			m := build(t, Properties{}, true, parts...)
			what := fmt.Sprintf("%d bytes in %d parts, frameMax %d", len(body), len(parts), frameMax)
			var got []byte
			frames, last := 0, frameMax-FrameOverhead
			m.EachBodyFrame(frameMax, func(cut [][]byte, size int) {
				n := 0
				for _, p := range cut {
					if len(p) == 0 {
						t.Errorf("%s: an empty part", what)
					}
					got = append(got, p...)
					n += len(p)
				}
				if n != size || size == 0 || frameMax > 0 && (size > frameMax-FrameOverhead || last != frameMax-FrameOverhead) {
					t.Errorf("%s: frame %d has %d bytes and says %d; the one before had %d", what, frames, n, size, last)
				}
				frames, last = frames+1, size
			})
			if !bytes.Equal(got, body) {
				t.Errorf("%s: the frames do not add up to the body", what)
			}
			if frameMax == 0 && frames != min(len(body), 1) {
				t.Errorf("%s: %d frames", what, frames)
			}
			checkContent(t, what, m, frameMax, body)
			m.Release(1)
		}
	}
}

// checkContent reads back what AppendContent writes.
func checkContent(t *testing.T, what string, m *Message, frameMax int, body []byte) {
	t.Helper()
	b := AppendContent([]byte("before"), 7, m, frameMax)
	if !strings.HasPrefix(string(b), "before") {
		t.Errorf("%s: AppendContent does not append", what)
	}
	b = b[len("before"):]
	var r Reader
	var frames []kept
	for len(b) > 0 {
		b = arrive(t, &r, b, len(b))
		frames = append(frames, drain(t, &r)...)
	}
	if r.Buffered() != 0 || len(frames) == 0 || frames[0] != (kept{FrameHeader, 7, string(m.Header)}) {
		t.Fatalf("%s: AppendContent begins with %.100v", what, frames)
	}
	r.Close()
	var got []byte
	for _, f := range frames[1:] {
		if f.Type != FrameBody || f.Channel != 7 || f.Payload == "" || frameMax > 0 && len(f.Payload)+FrameOverhead > frameMax {
			t.Errorf("%s: a frame of type %d, channel %d, %d bytes", what, f.Type, f.Channel, len(f.Payload))
		}
		got = append(got, f.Payload...)
	}
	if !bytes.Equal(got, body) {
		t.Errorf("%s: AppendContent's frames do not add up to the body", what)
	}
}

// TestAppendFrames checks the frames that have a function of their own against the general one.
func TestAppendFrames(t *testing.T) {
	long := strings.Repeat("l", 300)
	for _, text := range []string{"", "t", long[:255], long} {
		short := text[:min(255, len(text))]
		address := AppendAddress(nil, text, "key")
		for _, on := range []bool{false, true} {
			for _, tt := range []struct {
				got  []byte
				want Method
			}{
				{AppendAck(nil, 300, 1<<60, on), &BasicAck{1 << 60, on}},
				{AppendNack(nil, 300, 1<<60, on), &BasicNack{1 << 60, on, false}},
				{AppendDeliver(nil, NewDeliverHead(300, text), 1<<60, on, address), &BasicDeliver{short, 1 << 60, on, short, "key"}},
				{AppendGetOK(nil, 300, 1<<60, on, address, 1<<31), &BasicGetOk{1 << 60, on, short, "key", 1 << 31}},
				{AppendReturn(nil, 300, NoRoute, text, address), &BasicReturn{312, short, short, "key"}},
			} {
				if want := AppendMethod(nil, 300, tt.want); !bytes.Equal(tt.got, want) {
					t.Errorf("%s with a string of %d bytes:\n got %.60x\nwant %.60x", tt.want.ID(), len(text), tt.got, want)
				}
			}
		}
	}
}

// TestErrorsAreErrors keeps a nil *Error from being returned as an error that is not nil.
func TestErrorsAreErrors(t *testing.T) {
	_, err := ParseFacts(AppendHeader(nil, &everyProperty, 0))
	if err != nil || errors.Is(err, errShort) || RawTable(nil).Check() != nil {
		t.Errorf("success is reported as %v", err)
	}
}
