package amqp

import "encoding/binary"

// A ChannelID numbers a channel of a connection; 0 is the connection itself.
type ChannelID uint16

// A DeliveryTag numbers a delivery on its channel, from 1.
type DeliveryTag uint64

// Frame types. Spec: 4.2.3.
const (
	FrameMethod    = 1
	FrameHeader    = 2
	FrameBody      = 3
	FrameHeartbeat = 8
)

const (
	// FrameMinSize is the frame size that every peer must accept, frame head and end included.
	FrameMinSize = 4096
	// FrameOverhead is what a frame adds to its payload: type, channel, size; end.
	FrameOverhead = frameHead + 1

	frameHead = 7
	frameEnd  = 0xCE
)

// ProtocolHeader is what a client sends first, and what a server answers to anything else. Spec: 4.2.2.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// A Frame is one frame as it lies in a Reader's buffer. Payload is valid until the Reader's next Space.
type Frame struct {
	Type    uint8
	Channel ChannelID
	Payload []byte
}

// AppendFrame appends a frame with the given payload.
func AppendFrame(b []byte, kind uint8, ch ChannelID, payload []byte) []byte {
	b = appendFrameHead(b, kind, ch, len(payload))
	b = append(b, payload...)
	return append(b, frameEnd)
}

func appendFrameHead(b []byte, kind uint8, ch ChannelID, size int) []byte {
	return append(b, kind, byte(ch>>8), byte(ch), byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// AppendMethod appends a method frame.
func AppendMethod(b []byte, ch ChannelID, m Method) []byte {
	at := len(b)
	b = appendFrameHead(b, FrameMethod, ch, 0)
	b = m.Append(b)
	binary.BigEndian.PutUint32(b[at+3:], uint32(len(b)-at-frameHead))
	return append(b, frameEnd)
}

// AppendHeartbeat appends a heartbeat frame.
func AppendHeartbeat(b []byte) []byte {
	return append(b, FrameHeartbeat, 0, 0, 0, 0, 0, 0, frameEnd)
}

// AppendBodyHead and AppendFrameEnd frame a body that is not copied: the caller sends payload between the two.
func AppendBodyHead(b []byte, ch ChannelID, size int) []byte {
	return appendFrameHead(b, FrameBody, ch, size)
}

// AppendFrameEnd appends the octet that closes a frame.
func AppendFrameEnd(b []byte) []byte { return append(b, frameEnd) }

// AppendAck appends a basic.ack frame.
func AppendAck(b []byte, ch ChannelID, tag uint64, multiple bool) []byte {
	return appendSettle(b, ch, IDBasicAck, tag, bit(multiple, 0))
}

// AppendNack appends a basic.nack frame as a server sends it.
func AppendNack(b []byte, ch ChannelID, tag uint64, multiple bool) []byte {
	return appendSettle(b, ch, IDBasicNack, tag, bit(multiple, 0))
}

func appendSettle(b []byte, ch ChannelID, id MethodID, tag uint64, bits byte) []byte {
	b = appendFrameHead(b, FrameMethod, ch, 13)
	b = appendLong(b, uint32(id))
	b = appendLonglong(b, tag)
	return append(b, bits, frameEnd)
}

// A DeliverHead is the part of a consumer's basic.deliver frames that does not change: all up to the delivery tag.
type DeliverHead []byte

// NewDeliverHead makes the head for one consumer.
func NewDeliverHead(ch ChannelID, tag string) DeliverHead {
	b := appendFrameHead(nil, FrameMethod, ch, 0)
	b = appendLong(b, uint32(IDBasicDeliver))
	return appendShortstr(b, tag)
}

// AppendDeliver appends a basic.deliver frame; address is a Message's.
func AppendDeliver(b []byte, head DeliverHead, tag DeliveryTag, redelivered bool, address []byte) []byte {
	at := len(b)
	b = append(b, head...)
	t := uint64(tag)
	b = append(b, byte(t>>56), byte(t>>48), byte(t>>40), byte(t>>32), byte(t>>24), byte(t>>16), byte(t>>8), byte(t),
		bit(redelivered, 0))
	b = append(b, address...)
	size := len(b) - at - frameHead
	b[at+3], b[at+4], b[at+5], b[at+6] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	return append(b, frameEnd)
}

// AppendGetOK appends a basic.get-ok frame; address is a Message's.
func AppendGetOK(b []byte, ch ChannelID, tag DeliveryTag, redelivered bool, address []byte, ready uint32) []byte {
	b = appendFrameHead(b, FrameMethod, ch, 4+8+1+len(address)+4)
	b = appendLong(b, uint32(IDBasicGetOk))
	b = appendLonglong(b, uint64(tag))
	b = append(b, bit(redelivered, 0))
	b = append(b, address...)
	b = appendLong(b, ready)
	return append(b, frameEnd)
}

// AppendReturn appends a basic.return frame; address is a Message's. text is cut to 255 bytes.
func AppendReturn(b []byte, ch ChannelID, code Code, text string, address []byte) []byte {
	b = appendFrameHead(b, FrameMethod, ch, 4+2+1+min(len(text), 255)+len(address))
	b = appendLong(b, uint32(IDBasicReturn))
	b = appendShort(b, uint16(code))
	b = appendShortstr(b, text)
	b = append(b, address...)
	return append(b, frameEnd)
}

// AppendContent appends the header and body frames of m for channel ch, the body copied and cut so that no frame exceeds
// frameMax bytes (0: no limit).
func AppendContent(b []byte, ch ChannelID, m *Message, frameMax int) []byte {
	b = AppendFrame(b, FrameHeader, ch, m.Header)
	if m.Whole() && (frameMax == 0 || len(m.Body) <= frameMax-FrameOverhead) {
		if len(m.Body) == 0 {
			return b
		}
		return AppendFrame(b, FrameBody, ch, m.Body)
	}
	m.EachBodyFrame(frameMax, func(parts [][]byte, size int) {
		b = AppendBodyHead(b, ch, size)
		for _, p := range parts {
			b = append(b, p...)
		}
		b = AppendFrameEnd(b)
	})
	return b
}
