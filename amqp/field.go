package amqp

import "encoding/binary"

// A reader walks the payload of one frame. The first fault sticks and every later read returns a zero, so parsing is
// straight-line code, checked once.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

// take returns the next n bytes, not copied, or nil after a fault.
func (r *reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.rest)) {
		r.err = errShort
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

var errShort = Errorf(SyntaxError, "payload ends early")

func (r *reader) octet() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) short() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) long() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) longlong() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// shortBytes returns a short string as a slice of the payload.
func (r *reader) shortBytes() []byte { return r.take(uint64(r.octet())) }

func (r *reader) shortstr() string { return string(r.shortBytes()) }

func (r *reader) longstr() string { return string(r.take(uint64(r.long()))) }

func appendShort(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }

func appendLong(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }

func appendLonglong(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// appendShortstr appends s with its length in an octet, cut to the 255 bytes that this can count.
func appendShortstr(b []byte, s string) []byte {
	if len(s) > 255 {
		s = s[:255]
	}
	return append(append(b, byte(len(s))), s...)
}

func appendLongstr(b []byte, s string) []byte {
	return append(appendLong(b, uint32(len(s))), s...)
}

func bit(v bool, at uint) byte {
	if v {
		return 1 << at
	}
	return 0
}
