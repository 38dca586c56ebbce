package amqp

import "encoding/binary"

// A Message is what was published: where to, the content header and the body, as slices of reference-counted Buffers.
// Nobody changes it once it is complete. It is valid while one of its holders' references lasts: see Retain.
type Message struct {
	Address []byte   // exchange and routing key, two short strings with their lengths
	Header  []byte   // the content header's payload, as it came
	Body    []byte   // the body's first part; all of it when More is nil
	More    [][]byte // the parts that came in further frames
	Size    int      // of the whole body, bytes

	buf  *Buffer   // where Address and Header lie
	bufs []*Buffer // where Body and More lie, if not in buf

	// Facts are what the broker must know of the properties, read once.
	Facts
}

// Facts are those properties of a content header that a broker acts on.
type Facts struct {
	Flags       uint16   // the property flags: which properties are present
	Persistent  bool     // delivery-mode 2
	Priority    uint8    // 0 if absent
	Expiration  []byte   // nil if absent
	UserID      []byte   // nil if absent
	ReplyTo     []byte   // nil if absent
	Correlation []byte   // correlation-id, nil if absent
	MessageID   []byte   // nil if absent
	Timestamp   uint64   // seconds; meaningful if Flags has FlagTimestamp
	Headers     RawTable // contents of the headers table, nil if absent
}

// Retain adds n references to all the memory that m lies in.
func (m *Message) Retain(n int32) {
	m.buf.Retain(n)
	for _, b := range m.bufs {
		b.Retain(n)
	}
}

// Release gives n references back. m must not be used after the last of the caller's.
func (m *Message) Release(n int32) {
	bufs := m.bufs
	m.buf.Release(n)
	for _, b := range bufs {
		b.Release(n)
	}
}

// Footprint returns how many bytes m's own data take: address, header and body.
func (m *Message) Footprint() int { return len(m.Address) + len(m.Header) + m.Size }

// NewMessage starts a message in b, of which the caller is the maker; Address, Header and Body are the caller's to fill.
func NewMessage(b *Buffer) *Message { return b.newMessage() }

// AddBody appends one part of the body, which lies in b. Parts from other buffers than m's own are remembered, but only
// the references that Retain takes from now on count for them.
func (m *Message) AddBody(part []byte, b *Buffer) {
	switch {
	case len(part) == 0:
		return
	case m.Body == nil:
		m.Body = part
	default:
		m.More = append(m.More, part)
	}
	if b != m.buf && (len(m.bufs) == 0 || m.bufs[len(m.bufs)-1] != b) {
		m.bufs = append(m.bufs, b)
	}
}

// Complete reports whether the parts of the body add up to Size.
func (m *Message) Complete() bool {
	n := len(m.Body)
	for _, p := range m.More {
		n += len(p)
	}
	return n >= m.Size
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
	for _, p := range m.More {
		n += copy(dst[n:], p)
	}
	c.Body = dst[:n:n]
	c.Size = m.Size
	c.Facts = m.Facts
	c.Facts.relocate(m.Header, c.Header)
	return c
}

// Derive returns a new message with m's body, and the address and content header given, in a buffer of its own. The body
// is copied when it is small and shared when not: then the new message holds a reference to m's memory until its own last
// Release. The caller holds the one reference to the result.
func (m *Message) Derive(address, header []byte) *Message {
	const shareFrom = 16 << 10
	size := len(address) + len(header)
	share := m.Size >= shareFrom
	if !share {
		size += m.Size
	}
	b := NewBuffer(size)
	src := Message{Address: address, Header: header, Size: m.Size}
	if !share {
		src.Body, src.More = m.Body, m.More
		c := src.CopyTo(b, b.data[:size])
		c.Facts, _ = ParseFacts(c.Header)
		return c
	}
	c := b.newMessage()
	n := copy(b.data, address)
	c.Address = b.data[:n:n]
	c.Header = b.data[n : n+copy(b.data[n:], header)]
	c.Body, c.More, c.Size = m.Body, m.More, m.Size
	c.bufs = append(append(c.bufs, m.buf), m.bufs...)
	for _, held := range c.bufs {
		held.Retain(1)
	}
	c.Facts, _ = ParseFacts(c.Header)
	return c
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
	for _, p := range m.More {
		add(p)
	}
	if size > 0 {
		f(parts, size)
	}
}

// AppendBody appends the whole body.
func (m *Message) AppendBody(b []byte) []byte {
	b = append(b, m.Body...)
	for _, p := range m.More {
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
