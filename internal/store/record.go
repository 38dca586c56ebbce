package store

import (
	"encoding/binary"
	"hash/crc32"
)

// A record is a header of 40 bytes and a body, padded to 8 bytes.
//
//	 0  mark     uint32  the low half of the segment's salt
//	 4  crc      uint32  CRC32C of bytes 8 to 39, begun with the high half of the salt
//	 8  body     uint32  bytes of body
//	12  bodyCRC  uint32  CRC32C of the body
//	16  queue    uint64
//	24  seq      uint64  of the message; of the first entry of a note
//	32  type     uint8   low half: what it is; high half: hasExpiry, hasDeliveries
//	33  priority uint8
//	34  address  uint16  bytes of the body's first part
//	36  props    uint32  low 24 bits: bytes of its second part; high 8: the queue's flags
//
// The header has a checksum of its own, so that a record with a damaged body still says whose it was, and where the next
// one begins. A message's body is its expiry (int64) and its deliveries (uint32) where the type says so, the address, the
// properties and the content. A settlement's is pairs of uint64, first and last; a note's pairs of seq and deliveries.
const (
	recordHeader = 40
	recordAlign  = 8

	typeHole    = 0 // in footers only: bytes that hold no record
	typeMessage = 1
	typeSettle  = 2
	typeNote    = 3
	typeDrop    = 4
	typeMask    = 0x0f

	hasExpiry     = 0x10
	hasDeliveries = 0x20

	maxAddress = 1<<16 - 1
	maxProps   = 1<<24 - 1
	pairsMax   = 4096 // of one record
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	body, bodyCRC uint32
	queue, seq    uint64
	typ, priority uint8
	flags         uint8
	address       uint16
	props         uint32
}

// size returns the record's bytes without padding.
func (h *header) size() int { return recordHeader + int(h.body) }

// padded returns how many bytes n take with their padding.
func padded(n int) int { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// prefix returns how many bytes of a message's body precede its address.
func (h *header) prefix() int {
	n := 0
	if h.typ&hasExpiry != 0 {
		n += 8
	}
	if h.typ&hasDeliveries != 0 {
		n += 4
	}
	return n
}

func (h *header) put(b []byte, salt uint64) {
	le := binary.LittleEndian
	le.PutUint32(b[8:], h.body)
	le.PutUint32(b[12:], h.bodyCRC)
	le.PutUint64(b[16:], h.queue)
	le.PutUint64(b[24:], h.seq)
	b[32], b[33] = h.typ, h.priority
	le.PutUint16(b[34:], h.address)
	le.PutUint32(b[36:], h.props|uint32(h.flags)<<24)
	stamp(b, salt)
}

// stamp makes an encoded header one of the segment with the given salt.
func stamp(b []byte, salt uint64) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(salt))
	le.PutUint32(b[4:], crc32.Update(uint32(salt>>32), castagnoli, b[8:recordHeader]))
}

// parse reads a header; ok is false if it is not one of the segment with the given salt, or makes no sense.
func (h *header) parse(b []byte, salt uint64) (ok bool) {
	le := binary.LittleEndian
	if len(b) < recordHeader || le.Uint32(b) != uint32(salt) ||
		le.Uint32(b[4:]) != crc32.Update(uint32(salt>>32), castagnoli, b[8:recordHeader]) {
		return false
	}
	h.body, h.bodyCRC = le.Uint32(b[8:]), le.Uint32(b[12:])
	h.queue, h.seq = le.Uint64(b[16:]), le.Uint64(b[24:])
	h.typ, h.priority = b[32], b[33]
	h.address = le.Uint16(b[34:])
	h.props, h.flags = le.Uint32(b[36:])&maxProps, b[39]
	switch h.typ & typeMask {
	case typeMessage:
		return uint64(h.prefix())+uint64(h.address)+uint64(h.props) <= uint64(h.body)
	case typeSettle, typeNote:
		return h.body%16 == 0
	case typeDrop:
		return h.body == 0
	}
	return false
}

// message takes a message's parts out of its record's body. They are slices of it.
func (h *header) message(body []byte, m *Message) {
	le := binary.LittleEndian
	*m = Message{Seq: h.seq, Priority: h.priority, Flags: h.flags}
	if h.typ&hasExpiry != 0 {
		m.Expires, body = int64(le.Uint64(body)), body[8:]
	}
	if h.typ&hasDeliveries != 0 {
		m.Deliveries, body = le.Uint32(body), body[4:]
	}
	m.Address, body = body[:h.address:h.address], body[h.address:]
	m.Props, m.Body = body[:h.props:h.props], body[h.props:]
}

// headerOf returns the header of m's record, without the checksum of its body.
func headerOf(queue uint64, m *Message) header {
	h := header{
		queue: queue, seq: m.Seq, typ: typeMessage, priority: m.Priority, flags: m.Flags,
		address: uint16(len(m.Address)), props: uint32(len(m.Props)),
	}
	if m.Expires != 0 {
		h.typ |= hasExpiry
	}
	if m.Deliveries != 0 {
		h.typ |= hasDeliveries
	}
	h.body = uint32(h.prefix() + m.payload())
	return h
}

// appendPrefix appends what precedes the address in the body of m's record.
func (m *Message) appendPrefix(b []byte) []byte {
	if m.Expires != 0 {
		b = binary.LittleEndian.AppendUint64(b, uint64(m.Expires))
	}
	if m.Deliveries != 0 {
		b = binary.LittleEndian.AppendUint32(b, m.Deliveries)
	}
	return b
}

// payload returns the bytes of m's parts.
func (m *Message) payload() int {
	n := len(m.Address) + len(m.Props) + len(m.Body)
	for _, p := range m.More {
		n += len(p)
	}
	return n
}

// recordSize returns the bytes of m's record without padding.
func recordSize(m *Message) int {
	h := headerOf(0, m)
	return h.size()
}

// appendPairs appends a record of pairs: ranges or notes.
func appendPairs(b []byte, salt, queue uint64, typ uint8, pairs []Range) []byte {
	at := len(b)
	b = append(b, make([]byte, recordHeader)...)
	for _, p := range pairs {
		b = binary.LittleEndian.AppendUint64(b, p.From)
		b = binary.LittleEndian.AppendUint64(b, p.To)
	}
	body := b[at+recordHeader:]
	h := header{
		queue: queue, typ: typ, body: uint32(len(body)), bodyCRC: crc32.Checksum(body, castagnoli),
	}
	if len(pairs) > 0 {
		h.seq = pairs[0].From
	}
	h.put(b[at:], salt)
	return b
}

// pairs reads the body of a record of pairs.
func pairs(dst []Range, body []byte) []Range {
	for ; len(body) >= 16; body = body[16:] {
		dst = append(dst, Range{binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:])})
	}
	return dst
}
