package exchange

import (
	"encoding/binary"
	"math"

	"github.com/warrenmq/warren/amqp"
)

// Header values are compared, and hashed, by a canonical form: bytes that are the same for values that RabbitMQ takes to
// be equal and for no others. Those are Erlang's rules: numbers are equal by value, whatever their width, integer,
// floating point or timestamp; strings and byte arrays by their bytes; a string is never a number. Inside tables and
// arrays the types must agree too.

// appendCanonical appends the canonical form of a decoded value.
func appendCanonical(b []byte, v any) []byte {
	if n, ok := amqp.Int(v); ok {
		return appendInt(b, n)
	}
	switch n := v.(type) {
	case nil:
		return append(b, 'V')
	case bool:
		if n {
			return append(b, 't', 1)
		}
		return append(b, 't', 0)
	case float32:
		return appendFloat(b, float64(n))
	case float64:
		return appendFloat(b, n)
	case amqp.Timestamp:
		return appendUint(b, uint64(n))
	case amqp.Decimal:
		return binary.BigEndian.AppendUint32(append(b, 'D', n.Scale), uint32(n.Value))
	case string:
		return append(append(b, 's'), n...)
	case []byte:
		return append(append(b, 's'), n...)
	case amqp.Array:
		b = append(b, 'A')
		for _, e := range n {
			b = appendTyped(b, e)
		}
		return b
	case amqp.Table:
		if len(n) == 0 {
			return append(b, 'A') // in Erlang both are the empty list
		}
		b = append(b, 'F')
		for _, f := range n {
			b = appendPart(b, func(b []byte) []byte { return append(b, f.Name...) })
			b = appendTyped(b, f.Value)
		}
		return b
	}
	panic("exchange: a header holds a value of a type that no table has: " + amqp.TypeName(v))
}

func appendTyped(b []byte, v any) []byte {
	b = append(append(b, amqp.TypeName(v)...), 0)
	return appendPart(b, func(b []byte) []byte { return appendCanonical(b, v) })
}

// appendPart appends what part appends, with its length in front.
func appendPart(b []byte, part func([]byte) []byte) []byte {
	at := len(b)
	b = part(append(b, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

func appendInt(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 'n'), uint64(n))
}

func appendUint(b []byte, n uint64) []byte {
	if n > math.MaxInt64 {
		return binary.BigEndian.AppendUint64(append(b, 'N'), n)
	}
	return appendInt(b, int64(n))
}

func appendFloat(b []byte, f float64) []byte {
	switch {
	case f != math.Trunc(f): // also NaN
	case f >= -(1<<63) && f < 1<<63:
		return appendInt(b, int64(f))
	case f >= 1<<63 && f < 1<<64:
		return appendUint(b, uint64(f))
	}
	return binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(f))
}

// appendCanonicalField does what appendCanonical does for the field of h called name, which has the type letter kind and
// the undecoded value raw. It allocates only for a table or an array.
func appendCanonicalField(b []byte, h amqp.RawTable, name []byte, kind byte, raw []byte) []byte {
	be := binary.BigEndian
	switch kind {
	case 't':
		return append(b, 't', min(raw[0], 1))
	case 'b':
		return appendInt(b, int64(int8(raw[0])))
	case 'B':
		return appendInt(b, int64(raw[0]))
	case 's':
		return appendInt(b, int64(int16(be.Uint16(raw))))
	case 'u':
		return appendInt(b, int64(be.Uint16(raw)))
	case 'I':
		return appendInt(b, int64(int32(be.Uint32(raw))))
	case 'i':
		return appendInt(b, int64(be.Uint32(raw)))
	case 'l', 'L':
		return appendInt(b, int64(be.Uint64(raw)))
	case 'T':
		return appendUint(b, be.Uint64(raw))
	case 'f':
		return appendFloat(b, float64(math.Float32frombits(be.Uint32(raw))))
	case 'd':
		return appendFloat(b, math.Float64frombits(be.Uint64(raw)))
	case 'D':
		return append(append(b, 'D'), raw...)
	case 'S', 'x':
		return append(append(b, 's'), raw...)
	}
	v, _ := h.Value(string(name))
	return appendCanonical(b, v)
}

// nextField cuts the first field off t; ok is false at the end and at damage.
func nextField(t []byte) (name []byte, kind byte, raw, rest []byte, ok bool) {
	if len(t) == 0 {
		return nil, 0, nil, nil, false
	}
	end := 1 + int(t[0])
	if len(t) <= end {
		return nil, 0, nil, nil, false
	}
	name, t = t[1:end], t[end:]
	kind, t = t[0], t[1:]
	size := 0
	switch kind {
	case 't', 'b', 'B':
		size = 1
	case 's', 'u':
		size = 2
	case 'I', 'i', 'f':
		size = 4
	case 'l', 'L', 'd', 'T':
		size = 8
	case 'D':
		size = 5
	case 'V':
	case 'S', 'x', 'A', 'F':
		if len(t) < 4 {
			return nil, 0, nil, nil, false
		}
		n := binary.BigEndian.Uint32(t)
		if t = t[4:]; uint64(n) > uint64(len(t)) {
			return nil, 0, nil, nil, false
		}
		size = int(n)
	default:
		return nil, 0, nil, nil, false
	}
	if size > len(t) {
		return nil, 0, nil, nil, false
	}
	return name, kind, t[:size], t[size:], true
}
