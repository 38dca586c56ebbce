package amqp

import (
	"encoding/binary"
	"fmt"
)

// A MethodID is a class number in the upper 16 bits and a method number in the lower.
type MethodID uint32

// Class returns the class number, as connection.close and channel.close carry it.
func (id MethodID) Class() uint16 { return uint16(id >> 16) }

// Method returns the method number within its class.
func (id MethodID) Method() uint16 { return uint16(id) }

// String returns "class.method".
func (id MethodID) String() string {
	if s, ok := methodNames[id]; ok {
		return s
	}
	return fmt.Sprintf("method %d.%d", id.Class(), id.Method())
}

// A Method is one of the generated method structs.
type Method interface {
	ID() MethodID
	// Append appends the payload of the method's frame: its number and its fields.
	Append(b []byte) []byte
	parse(r *reader)
}

// PeekMethod returns the number of the method in a method frame's payload, 0 if it is too short to hold one.
func PeekMethod(payload []byte) MethodID {
	if len(payload) < 4 {
		return 0
	}
	return MethodID(binary.BigEndian.Uint32(payload))
}

// ParseMethod decodes the payload of a method frame. What it returns shares no memory with payload. An unknown method is
// COMMAND_INVALID, arguments that do not decode are SYNTAX_ERROR.
func ParseMethod(payload []byte) (Method, error) {
	if len(payload) < 4 {
		return nil, Errorf(SyntaxError, "method frame of %d bytes", len(payload))
	}
	id := PeekMethod(payload)
	m := newMethod(id)
	if m == nil {
		return nil, &Error{Code: CommandInvalid, Text: "unimplemented method", Method: id}
	}
	r := reader{rest: payload[4:]}
	m.parse(&r)
	if r.err == nil && len(r.rest) > 0 {
		r.err = Errorf(SyntaxError, "%d bytes after the arguments of %s", len(r.rest), id)
	}
	if r.err != nil {
		return nil, &Error{Code: SyntaxError, Text: r.err.(*Error).Text, Method: id}
	}
	return m, nil
}

// A Publish is basic.publish as it lies in its frame: slices of the payload, valid as long as that.
type Publish struct {
	Address    []byte // exchange and routing key, each a short string with its length, as basic.deliver repeats them
	Exchange   []byte
	RoutingKey []byte
	Mandatory  bool
	Immediate  bool
}

// ParsePublish decodes the payload of a basic.publish without copying or allocating. ok is false if it is damaged.
func ParsePublish(payload []byte) (p Publish, ok bool) {
	const head = 6 // number, reserved short
	if len(payload) < head+3 {
		return p, false
	}
	rest := payload[head:]
	n := int(rest[0])
	if len(rest) < 1+n+1 {
		return p, false
	}
	p.Exchange = rest[1 : 1+n]
	k := int(rest[1+n])
	end := 2 + n + k
	if len(rest) != end+1 {
		return p, false
	}
	p.RoutingKey = rest[2+n : end]
	p.Address = rest[:end:end]
	p.Mandatory, p.Immediate = rest[end]&1 != 0, rest[end]&2 != 0
	return p, true
}

// ParseSettle decodes basic.ack, basic.nack and basic.reject without allocating. requeue is false for basic.ack, multiple
// is false for basic.reject.
func ParseSettle(payload []byte) (tag uint64, multiple, requeue, ok bool) {
	if len(payload) != 13 {
		return 0, false, false, false
	}
	tag = binary.BigEndian.Uint64(payload[4:])
	bits := payload[12]
	switch PeekMethod(payload) {
	case IDBasicAck:
		return tag, bits&1 != 0, false, true
	case IDBasicNack:
		return tag, bits&1 != 0, bits&2 != 0, true
	case IDBasicReject:
		return tag, false, bits&1 != 0, true
	}
	return 0, false, false, false
}

// SplitAddress returns the exchange and the routing key of a Message's Address, as slices of it.
func SplitAddress(a []byte) (exchange, key []byte) {
	if len(a) < 2 || len(a) < 2+int(a[0]) {
		return nil, nil
	}
	n := int(a[0])
	return a[1 : 1+n], a[2+n:]
}

// AppendAddress appends exchange and routing key as a Message's Address holds them.
func AppendAddress(b []byte, exchange, key string) []byte {
	return appendShortstr(appendShortstr(b, exchange), key)
}
