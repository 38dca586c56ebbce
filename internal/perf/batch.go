package perf

import (
	"encoding/binary"

	"github.com/warrenmq/warren/amqp"
)

// writeSize is what a producer hands to the kernel at once if nothing holds it back, bytes. Twice as much makes the
// generator no cheaper, and costs RabbitMQ a third more for messages of 1 KiB, which would flatter whom it is compared to.
const writeSize = 64 << 10

// A batch is publishes laid out back to back as they go over the wire, one for each of the producer's routes in turn,
// and all of that repeated until it is worth a write. Slots are written in order, over and over, so that message n is
// slot n modulo their number.
type batch struct {
	buf   []byte
	end   []int // end of slot i in buf
	body  []int // where the body of slot i begins
	worth []int // deliveries that the slots before i make, together; one longer than the others

	stamps int // bytes of the stamp that bodies begin with: 0, 8 or 16
	most   int // slots that make about writeSize bytes
}

// stampSize returns how much of a stamp fits a body.
func stampSize(bodySize int) int { return min(bodySize/8*8, 16) }

// newBatch encodes the publishes of one producer for channel 1.
func newBatch(c *Config, routes []route, frameMax int) *batch {
	b := &batch{worth: []int{0}, stamps: stampSize(c.BodySize)}
	header := contentHeader(c)
	content := make([]byte, c.BodySize)
	for i := range content {
		content[i] = 'a' + byte(i%26)
	}
	for len(b.buf) < writeSize {
		for _, r := range routes {
			b.buf = amqp.AppendMethod(b.buf, 1, &amqp.BasicPublish{Exchange: c.exchangeName(), RoutingKey: r.key})
			b.buf = amqp.AppendFrame(b.buf, amqp.FrameHeader, 1, header)
			b.body = append(b.body, len(b.buf)+frameHead)
			for rest := content; len(rest) > 0; {
				n := min(len(rest), frameMax-frameHead-frameTail)
				b.buf = amqp.AppendFrame(b.buf, amqp.FrameBody, 1, rest[:n])
				rest = rest[n:]
			}
			b.end = append(b.end, len(b.buf))
			b.worth = append(b.worth, b.worth[len(b.worth)-1]+len(r.queues))
		}
	}
	b.most = max(1, writeSize/(len(b.buf)/len(b.end)))
	return b
}

// contentHeader returns the payload of every message's header frame. Spec: 4.2.6.1.
func contentHeader(c *Config) []byte {
	const basicClass = 60
	h := binary.BigEndian.AppendUint16(nil, basicClass)
	h = binary.BigEndian.AppendUint16(h, 0)
	h = binary.BigEndian.AppendUint64(h, uint64(c.BodySize))
	if c.Persistent {
		h = binary.BigEndian.AppendUint16(h, amqp.FlagDeliveryMode)
		return append(h, 2)
	}
	return binary.BigEndian.AppendUint16(h, 0)
}

// slots returns how many slots there are.
func (b *batch) slots() int { return len(b.end) }

// stamp marks k slots from pos with the numbers from id on and one time.
func (b *batch) stamp(pos, k int, id uint64, at int64) {
	if b.stamps == 0 {
		return
	}
	for i, o := range b.body[pos : pos+k] {
		body := b.buf[o : o+b.stamps]
		binary.BigEndian.PutUint64(body, id+uint64(i))
		if len(body) == 16 {
			binary.BigEndian.PutUint64(body[8:], uint64(at))
		}
	}
}

// bytes returns k slots from pos as they go over the wire.
func (b *batch) bytes(pos, k int) []byte {
	from := 0
	if pos > 0 {
		from = b.end[pos-1]
	}
	return b.buf[from:b.end[pos+k-1]]
}

// deliveries returns how many k slots from pos make.
func (b *batch) deliveries(pos, k int) int64 { return int64(b.worth[pos+k] - b.worth[pos]) }
