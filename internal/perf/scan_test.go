package perf

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

// deliver appends what a broker sends for one message; its body is cut into frames of at most frame bytes.
func deliver(b []byte, ch amqp.ChannelID, tag uint64, body []byte, frame int) []byte {
	b = amqp.AppendMethod(b, ch, &amqp.BasicDeliver{ConsumerTag: "c", DeliveryTag: tag, RoutingKey: "k"})
	header := binary.BigEndian.AppendUint64([]byte{0, 60, 0, 0}, uint64(len(body)))
	b = amqp.AppendFrame(b, amqp.FrameHeader, ch, append(header, 0, 0))
	for len(body) > 0 {
		n := min(len(body), frame)
		b = amqp.AppendFrame(b, amqp.FrameBody, ch, body[:n])
		body = body[n:]
	}
	return b
}

func stamped(seq, at uint64, size int) []byte {
	b := binary.BigEndian.AppendUint64(nil, seq)
	b = binary.BigEndian.AppendUint64(b, at)
	return append(b, make([]byte, size-16)...)
}

// However the bytes are cut into reads, the books and the acks are the same.
func TestScanAnyCut(t *testing.T) {
	var wire []byte
	for i := range uint64(5) {
		wire = deliver(wire, 1, i+1, stamped(i, 100, 50), 20)
	}
	wire = amqp.AppendHeartbeat(wire)
	wire = deliver(wire, 2, 1, stamped(7, 100, 16), 4096)
	wire = amqp.AppendMethod(wire, 1, &amqp.BasicCancelOk{ConsumerTag: "c"})
	wire = amqp.AppendMethod(wire, 2, &amqp.BasicCancelOk{ConsumerTag: "c"})
	var acks []byte
	acks = amqp.AppendAck(acks, 1, 2, true)
	acks = amqp.AppendAck(acks, 1, 4, true)
	acks = amqp.AppendAck(acks, 1, 5, true)
	acks = amqp.AppendAck(acks, 2, 1, true)
	for cut := 1; cut <= len(wire); cut++ {
		s := scanner{subs: make([]subscription, 2), stamps: 16, ackEvery: 2, now: 164, measure: true}
		var buf []byte
		for rest := wire; len(rest) > 0; {
			n := min(cut, len(rest))
			buf, rest = append(buf, rest[:n]...), rest[n:]
			used, err := s.scan(buf)
			if err != nil {
				t.Fatalf("cut by %d: %v", cut, err)
			}
			buf = buf[used:]
		}
		s.ackRest()
		if s.delivered != 6 || s.subs[0].seen.from[0].count != 5 || !s.subs[1].seen.from[0].has(7) || !s.ended() {
			t.Fatalf("cut by %d: %d delivered, %d and %d seen, ended %v", cut, s.delivered,
				s.subs[0].seen.from[0].count, s.subs[1].seen.from[0].count, s.ended())
		}
		if string(s.acks) != string(acks) {
			t.Fatalf("cut by %d: acks\n%x, want\n%x", cut, s.acks, acks)
		}
		if s.latency.Count() != 6 || s.latency.Quantile(0.5) != 64 {
			t.Fatalf("cut by %d: latency of %d, p50 %d", cut, s.latency.Count(), s.latency.Quantile(0.5))
		}
	}
}

func TestScanRefuses(t *testing.T) {
	damaged := amqp.AppendHeartbeat(nil)
	damaged[len(damaged)-1] = 0
	for _, tt := range []struct {
		name, want string
		wire       []byte
	}{
		{"a wrong end octet", errDamaged.Error(), damaged},
		{"a short delivery", errDamaged.Error(), amqp.AppendFrame(nil, amqp.FrameMethod, 1, []byte{0, 60, 0, 60, 200})},
		{"a short header", errDamaged.Error(), amqp.AppendFrame(nil, amqp.FrameHeader, 1, make([]byte, 11))},
		{"a channel of nobody", "unexpected frame", amqp.AppendFrame(nil, amqp.FrameBody, 9, nil)},
		{"a close", "404 NOT_FOUND", amqp.AppendMethod(nil, 1, &amqp.ChannelClose{ReplyCode: 404, ReplyText: "NOT_FOUND"})},
		{"a connection's close", "320 bye", amqp.AppendMethod(nil, 0, &amqp.ConnectionClose{ReplyCode: 320, ReplyText: "bye"})},
		{"a method with half its arguments", "", amqp.AppendFrame(nil, amqp.FrameMethod, 1, []byte{0, 20, 0, 40, 1})},
	} {
		s := scanner{subs: make([]subscription, 1), stamps: 16}
		if _, err := s.scan(tt.wire); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(deliver(nil, 1, 1, stamped(1, 1, 20), 10))
	f.Add(amqp.AppendMethod(nil, 1, &amqp.BasicConsumeOk{ConsumerTag: "c"}))
	f.Fuzz(func(t *testing.T, wire []byte) {
		s := scanner{subs: make([]subscription, 2), stamps: 16, ackEvery: 1}
		used, err := s.scan(wire)
		if used < 0 || used > len(wire) {
			t.Errorf("used %d of %d", used, len(wire))
		}
		if again, _ := s.scan(wire[used:]); err == nil && again != 0 {
			t.Errorf("a second scan took %d more bytes", again)
		}
		if errors.Is(err, errDamaged) && len(wire) < frameHead+frameTail {
			t.Errorf("damage found in %d bytes", len(wire))
		}
	})
}

func BenchmarkScan(b *testing.B) {
	var wire []byte
	const n = 1000
	for i := range uint64(n) {
		wire = deliver(wire, 1, i+1, stamped(i, 100, 16), 4096)
	}
	s := scanner{subs: make([]subscription, 1), stamps: 16, measure: true}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.scan(wire); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/message")
}
