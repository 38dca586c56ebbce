package perf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/warrenmq/warren/amqp"
)

// What a frame has around its payload. Spec: 4.2.3.
const (
	frameHead = 7
	frameTail = 1
	frameEnd  = 0xCE
)

// A subscription is one queue consumed on one channel of a connection.
type subscription struct {
	queue int
	seen  seen

	tag     uint64 // of the message that is arriving
	left    int    // bytes of its body still to come
	begun   bool   // its first body frame has come
	unacked int    // messages that came since the last ack
	running bool   // basic.consume-ok has come
	ended   bool   // basic.cancel-ok has come
}

// A scanner walks the frames of a consumer's connection where they lie, and keeps the books. Subscription i has channel
// i+1, so that the channel alone tells where a delivery belongs.
type scanner struct {
	subs     []subscription
	stamps   int // bytes of the stamp that bodies begin with: 0, 8 or 16
	ackEvery int // 0: automatic acknowledgement

	now     int64 // nanoseconds, set before each scan
	measure bool  // add to latency

	acks      []byte // basic.ack frames to be sent; the owner empties it
	delivered int64
	latency   Histogram
}

var errDamaged = errors.New("perf: a frame is damaged")

// scan takes all whole frames at the start of b and returns how many bytes that was. A method that is neither a delivery
// nor the start or end of a subscription is an error.
func (s *scanner) scan(b []byte) (used int, err error) {
	for {
		f := b[used:]
		if len(f) < frameHead+frameTail {
			return used, nil
		}
		size := int(binary.BigEndian.Uint32(f[3:]))
		if len(f)-frameHead-frameTail < size {
			return used, nil
		}
		if f[frameHead+size] != frameEnd {
			return used, errDamaged
		}
		used += frameHead + size + frameTail
		kind, ch, payload := f[0], int(f[1])<<8|int(f[2]), f[frameHead:frameHead+size]
		if ch == 0 || ch > len(s.subs) {
			if kind == amqp.FrameHeartbeat {
				continue
			}
			return used, unexpected(kind, payload)
		}
		sub := &s.subs[ch-1]
		switch kind {
		case amqp.FrameMethod:
			if amqp.PeekMethod(payload) != amqp.IDBasicDeliver {
				if err := s.control(sub, payload); err != nil {
					return used, err
				}
				continue
			}
			if len(payload) < 5 || len(payload) < 5+int(payload[4])+8 {
				return used, errDamaged
			}
			sub.tag = binary.BigEndian.Uint64(payload[5+int(payload[4]):])
		case amqp.FrameHeader:
			if len(payload) < 12 {
				return used, errDamaged
			}
			sub.left, sub.begun = int(binary.BigEndian.Uint64(payload[4:])), false
			if sub.left == 0 {
				s.done(sub, ch)
			}
		case amqp.FrameBody:
			if !sub.begun {
				sub.begun = true
				s.stamp(sub, payload)
			}
			if sub.left -= size; sub.left <= 0 {
				s.done(sub, ch)
			}
		}
	}
}

// stamp reads what a producer wrote at the start of a body.
func (s *scanner) stamp(sub *subscription, body []byte) {
	if s.stamps == 0 {
		return
	}
	if len(body) < s.stamps {
		sub.seen.strays++
		return
	}
	sub.seen.mark(binary.BigEndian.Uint64(body))
	if s.stamps == 16 && s.measure {
		s.latency.Add(s.now - int64(binary.BigEndian.Uint64(body[8:])))
	}
}

// done counts a whole message.
func (s *scanner) done(sub *subscription, ch int) {
	s.delivered++
	if s.ackEvery == 0 {
		return
	}
	if sub.unacked++; sub.unacked == s.ackEvery {
		s.ack(sub, ch)
	}
}

func (s *scanner) ack(sub *subscription, ch int) {
	s.acks = amqp.AppendAck(s.acks, amqp.ChannelID(ch), sub.tag, true)
	sub.unacked = 0
}

// ackRest acknowledges what has come since the last ack of each subscription.
func (s *scanner) ackRest() {
	for i := range s.subs {
		if s.subs[i].unacked > 0 {
			s.ack(&s.subs[i], i+1)
		}
	}
}

// control handles the few other methods that come to a consumer's channel.
func (s *scanner) control(sub *subscription, payload []byte) error {
	switch amqp.PeekMethod(payload) {
	case amqp.IDBasicConsumeOk:
		sub.running = true
	case amqp.IDBasicCancelOk:
		sub.ended = true
	default:
		return unexpected(amqp.FrameMethod, payload)
	}
	return nil
}

// started says that the broker has confirmed each subscription.
func (s *scanner) started() bool {
	for i := range s.subs {
		if !s.subs[i].running {
			return false
		}
	}
	return true
}

// ended says that the broker has confirmed the end of each subscription.
func (s *scanner) ended() bool {
	for i := range s.subs {
		if !s.subs[i].ended {
			return false
		}
	}
	return true
}

// unexpected words a frame that should not have come: the broker's reason, if it closes.
func unexpected(kind byte, payload []byte) error {
	if kind != amqp.FrameMethod {
		return fmt.Errorf("perf: an unexpected frame of type %d", kind)
	}
	m, err := amqp.ParseMethod(payload)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *amqp.ConnectionClose:
		return fmt.Errorf("the broker closed the connection: %d %s", m.ReplyCode, m.ReplyText)
	case *amqp.ChannelClose:
		return fmt.Errorf("the broker closed the channel: %d %s", m.ReplyCode, m.ReplyText)
	}
	return fmt.Errorf("perf: an unexpected %s", m.ID())
}
