package amqp

import "encoding/binary"

// A Message is what was published: where to, the content header and the body, as slices of reference-counted Buffers.
// Nobody changes it once it is complete. It is valid while one of its holders' references lasts: see Retain.
type Message struct {
	Address []byte // exchange and routing key, two short strings with their lengths
	Header  []byte // the content header's payload, as it came
	Body    []byte // the body; its first part if it came in several frames
	Size    int    // of the whole body, bytes

	Expiration int64  // the expiration property in milliseconds, -1 if absent
	Flags      uint16 // the property flags: which properties are present
	Persistent bool   // delivery-mode 2
	Priority   uint8  // 0 if absent

	buf    *Buffer // where Address, Header and, but for spread, Body lie
	spread *spread // nil for all but large bodies
	hidden []string
}

// A spread is the rest of a body that came in several frames, or in other buffers than the message's own.
type spread struct {
	more [][]byte  // the parts behind Body
	bufs []*Buffer // where Body and more lie, if not in the message's buffer
}

// Retain adds n references to all the memory that m lies in.
func (m *Message) Retain(n int32) {
	m.buf.Retain(n)
	if m.spread != nil {
		for _, b := range m.spread.bufs {
			b.Retain(n)
		}
	}
}

// Release gives n references back. m must not be used after the last of the caller's.
func (m *Message) Release(n int32) {
	s := m.spread // m itself lies in its buffer
	m.buf.Release(n)
	if s != nil {
		for _, b := range s.bufs {
			b.Release(n)
		}
	}
}

// Footprint returns how many bytes m's own data take: address, header and body.
func (m *Message) Footprint() int { return len(m.Address) + len(m.Header) + m.Size }

// NewMessage starts a message in b, of which the caller is the maker; Address, Header and Body are the caller's to fill.
func NewMessage(b *Buffer) *Message { return b.newMessage() }

// SetHeader sets the content header, which lies in b.
func (m *Message) SetHeader(payload []byte, b *Buffer) {
	m.Header = payload
	m.reaches(b)
}

// reaches notes that a part of m lies in b.
func (m *Message) reaches(b *Buffer) {
	if b == m.buf {
		return
	}
	if m.spread == nil {
		m.spread = new(spread)
	}
	if n := len(m.spread.bufs); n == 0 || m.spread.bufs[n-1] != b {
		m.spread.bufs = append(m.spread.bufs, b)
	}
}

// Pin takes one reference to each buffer that m has come to lie in since Pin returned held, 0 at first, and returns the
// new count: for a message whose parts are still arriving. Unpin gives them back.
func (m *Message) Pin(held int) int {
	if held == 0 {
		m.buf.Retain(1)
		held = 1
	}
	if m.spread != nil {
		for ; held-1 < len(m.spread.bufs); held++ {
			m.spread.bufs[held-1].Retain(1)
		}
	}
	return held
}

// Unpin gives back the references that Pin took.
func (m *Message) Unpin(held int) {
	if held == 0 {
		return
	}
	if s := m.spread; s != nil {
		for _, b := range s.bufs[:held-1] {
			b.Release(1)
		}
	}
	m.buf.Release(1)
}

// Restore returns a message whose parts lie in b, as they were read back from disk. The caller's reference to b becomes the
// message's. The caller is b's maker now. An error says that header is no content header.
func Restore(b *Buffer, address, header, body []byte) (*Message, error) {
	f, err := ParseFacts(header)
	if err != nil {
		return nil, err
	}
	m := b.newMessage()
	m.Address, m.Header, m.Body, m.Size = address, header, body, len(body)
	m.SetFacts(f)
	return m, nil
}

// AddBody appends one part of the body, which lies in b.
func (m *Message) AddBody(part []byte, b *Buffer) {
	if len(part) == 0 {
		return
	}
	m.reaches(b)
	switch {
	case m.Body == nil:
		m.Body = part
	default:
		if m.spread == nil {
			m.spread = new(spread)
		}
		m.spread.more = append(m.spread.more, part)
	}
}

// Hide keeps the routing keys of a BCC header, which the message was published with and its receivers do not see. Only
// m's maker may call it.
func (m *Message) Hide(keys []string) { m.hidden = keys }

// HiddenKeys returns what Hide kept.
func (m *Message) HiddenKeys() []string { return m.hidden }

// Whole reports whether Body is all of the body.
func (m *Message) Whole() bool { return len(m.Body) == m.Size }

// More returns the parts of the body behind Body, nil if there are none.
func (m *Message) More() [][]byte {
	if m.spread == nil {
		return nil
	}
	return m.spread.more
}

// CopyTo copies m into the memory dst, a part of b, and returns the copy, which lives as long as b. dst has Footprint
// bytes; only b's maker may call it.
func (m *Message) CopyTo(b *Buffer, dst []byte) *Message {
	c := b.newMessage()
	n := copy(dst, m.Address)
	c.Address, dst = dst[:n:n], dst[n:]
	n = copy(dst, m.Header)
	c.Header, dst = dst[:n:n], dst[n:]
	n = copy(dst, m.Body)
	for _, p := range m.More() {
		n += copy(dst[n:], p)
	}
	c.Body = dst[:n:n]
	c.Size = m.Size
	c.Expiration, c.Flags, c.Persistent, c.Priority = m.Expiration, m.Flags, m.Persistent, m.Priority
	c.hidden = m.hidden
	return c
}

// Derive returns a new message with m's body, and the address and content header given, in a buffer of its own. The body
// is copied when it is small and shared when not: then the new message holds references to m's memory until its own last
// Release. The caller holds the one reference to the result.
func (m *Message) Derive(address, header []byte) (*Message, error) {
	const shareFrom = 16 << 10
	f, err := ParseFacts(header)
	if err != nil {
		return nil, err
	}
	src := Message{Address: address, Header: header, Size: m.Size}
	src.SetFacts(f)
	if m.Size < shareFrom {
		src.Body, src.spread = m.Body, m.spread
		b := NewBuffer(src.Footprint())
		return src.CopyTo(b, b.data), nil
	}
	b := NewBuffer(len(address) + len(header))
	c := b.newMessage()
	n := copy(b.data, address)
	*c = src
	c.buf = b
	c.Address = b.data[:n:n]
	c.Header = b.data[n : n+copy(b.data[n:], header)]
	c.Body = m.Body
	c.spread = &spread{more: m.More(), bufs: []*Buffer{m.buf}}
	if m.spread != nil {
		c.spread.bufs = append(c.spread.bufs, m.spread.bufs...)
	}
	for _, held := range c.spread.bufs {
		held.Retain(1)
	}
	return c, nil
}

// SetFacts keeps what of f travels with the message. An expiration that is no number counts as absent.
func (m *Message) SetFacts(f Facts) {
	m.Flags, m.Persistent, m.Priority = f.Flags, f.Mode == 2, f.Priority
	m.Expiration = -1
	if f.Expiration != nil {
		if ms, ok := ParseExpiration(f.Expiration); ok {
			m.Expiration = ms
		}
	}
}

// EachBodyFrame cuts the body into payloads of frames of at most frameMax bytes (0: no limit) and calls f for each with
// the parts that make it up and their total size.
func (m *Message) EachBodyFrame(frameMax int, f func(parts [][]byte, size int)) {
	limit := m.Size
	if frameMax > 0 {
		limit = min(limit, frameMax-FrameOverhead)
	}
	var parts [][]byte
	size := 0
	add := func(p []byte) {
		for len(p) > 0 {
			n := min(len(p), limit-size)
			parts = append(parts, p[:n])
			size += n
			p = p[n:]
			if size == limit {
				f(parts, size)
				parts, size = parts[:0], 0
			}
		}
	}
	add(m.Body)
	for _, p := range m.More() {
		add(p)
	}
	if size > 0 {
		f(parts, size)
	}
}

// AppendBody appends the whole body.
func (m *Message) AppendBody(b []byte) []byte {
	b = append(b, m.Body...)
	for _, p := range m.More() {
		b = append(b, p...)
	}
	return b
}

// Exchange returns the name of the exchange that m was published to, as a slice of Address.
func (m *Message) Exchange() []byte {
	x, _ := SplitAddress(m.Address)
	return x
}

// RoutingKey returns the key that m was published with, as a slice of Address.
func (m *Message) RoutingKey() []byte {
	_, k := SplitAddress(m.Address)
	return k
}

// BodySize returns the body's size that a content header's payload announces, and the class it is for. ok is false if the
// payload is too short.
func BodySize(header []byte) (class uint16, size uint64, ok bool) {
	if len(header) < 14 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(header), binary.BigEndian.Uint64(header[4:]), true
}
