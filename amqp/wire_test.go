package amqp

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A said is one line of a recorded session and the bytes under it: see testdata/wire/README.md.
type said struct {
	at    string // file and line
	title string // "client channel=1 basic.publish"
	bytes []byte
}

// recordings returns the sessions of testdata/wire by name.
func recordings(t testing.TB) map[string][]said {
	t.Helper()
	paths, err := filepath.Glob("../testdata/wire/*.wire")
	if err != nil || len(paths) < 3 {
		t.Fatalf("recordings: %v, %v", paths, err)
	}
	all := make(map[string][]said)
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), ".wire")] = readRecording(t, path)
	}
	return all
}

func readRecording(t testing.TB, path string) []said {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []said
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '\t':
			b, err := hex.DecodeString(line[1:])
			if err != nil || len(out) == 0 {
				t.Fatalf("%s: %q: %v", path, line, err)
			}
			s := &out[len(out)-1]
			s.bytes = append(s.bytes, b...)
		default:
			out = append(out, said{at: filepath.Base(path) + ": " + line, title: line})
		}
	}
	return out
}

// stream returns all that one side said, without the protocol header.
func stream(session []said, side string) []byte {
	var b []byte
	for _, s := range session {
		if strings.HasPrefix(s.title, side+" channel=") {
			b = append(b, s.bytes...)
		}
	}
	return b
}

// TestRecordedSessions decodes what real clients and RabbitMQ said and writes it again: the same bytes must come out.
func TestRecordedSessions(t *testing.T) {
	for name, session := range recordings(t) {
		if session[0].title != "client protocol-header" || string(session[0].bytes) != ProtocolHeader {
			t.Errorf("%s begins with %s %x", name, session[0].title, session[0].bytes)
		}
		for _, s := range session[1:] {
			var r Reader
			copy(r.Space()[:len(s.bytes)], s.bytes)
			r.Filled(len(s.bytes))
			f, ok, err := r.Next()
			if !ok || err != nil || r.Buffered() != 0 {
				t.Errorf("%s: Next: %v, %v, %d bytes left", s.at, ok, err, r.Buffered())
				continue
			}
			title, again := rewrite(t, s, f)
			if !strings.HasSuffix(s.title, title) {
				t.Errorf("%s is read as %s", s.at, title)
			}
			if want := withoutReserved(s); !bytes.Equal(again, want) {
				t.Errorf("%s:\n got %x\nwant %x", s.at, again, want)
			}
			r.Close()
		}
	}
}

// withoutReserved returns what the frame is when reserved fields are zero. Pika sets the last of connection.open, AMQP 0-8's
// insist; all else that was recorded leaves them so.
func withoutReserved(s said) []byte {
	if s.at != "pika.wire: client channel=0 connection.open" {
		return s.bytes
	}
	b := bytes.Clone(s.bytes)
	b[len(b)-2] = 0
	return b
}

// rewrite decodes a frame, and returns what it is and the frame that its decoded form makes.
func rewrite(t *testing.T, s said, f Frame) (title string, frame []byte) {
	t.Helper()
	switch f.Type {
	case FrameMethod:
		m, err := ParseMethod(f.Payload)
		if err != nil {
			t.Fatalf("%s: %v", s.at, err)
		}
		if fast := rewriteFast(t, s, f, m); fast != nil && !bytes.Equal(fast, s.bytes) {
			t.Errorf("%s, by its fast form:\n got %x\nwant %x", s.at, fast, s.bytes)
		}
		return m.ID().String(), AppendMethod(nil, f.Channel, m)
	case FrameHeader:
		p, err := ParseProperties(f.Payload)
		if err != nil {
			t.Fatalf("%s: %v", s.at, err)
		}
		class, size, ok := BodySize(f.Payload)
		if !ok || class != 60 {
			t.Errorf("%s: BodySize: class %d, %v", s.at, class, ok)
		}
		facts, err := ParseFacts(f.Payload)
		if err != nil {
			t.Errorf("%s: ParseFacts: %v", s.at, err)
		}
		compareFacts(t, facts, p)
		return "header", AppendFrame(nil, FrameHeader, f.Channel, AppendHeader(nil, &p, size))
	case FrameBody:
		return "body", AppendFrameEnd(append(AppendBodyHead(nil, f.Channel, len(f.Payload)), f.Payload...))
	}
	return "heartbeat", AppendHeartbeat(nil)
}

// rewriteFast writes m with the function of its own that it has on the message path, nil if it has none.
func rewriteFast(t *testing.T, s said, f Frame, m Method) []byte {
	t.Helper()
	switch m := m.(type) {
	case *BasicPublish:
		p, ok := ParsePublish(f.Payload)
		if !ok || string(p.Exchange) != m.Exchange || string(p.RoutingKey) != m.RoutingKey || p.Mandatory != m.Mandatory {
			t.Errorf("%s: ParsePublish: %+v, %v, want %+v", s.at, p, ok, m)
		}
	case *BasicAck:
		tag, multiple, _, ok := ParseSettle(f.Payload)
		if !ok {
			t.Errorf("%s: ParseSettle refuses it", s.at)
		}
		return AppendAck(nil, f.Channel, tag, multiple)
	case *BasicNack:
		tag, multiple, requeue, ok := ParseSettle(f.Payload)
		if !ok || requeue != m.Requeue {
			t.Errorf("%s: ParseSettle: requeue %v, %v, want %+v", s.at, requeue, ok, m)
		}
		if !requeue {
			return AppendNack(nil, f.Channel, tag, multiple)
		}
	case *BasicReject:
		tag, _, requeue, ok := ParseSettle(f.Payload)
		if !ok || tag != m.DeliveryTag || requeue != m.Requeue {
			t.Errorf("%s: ParseSettle: %d, %v, %v, want %+v", s.at, tag, requeue, ok, m)
		}
	case *BasicDeliver:
		head := NewDeliverHead(f.Channel, m.ConsumerTag)
		address := AppendAddress(nil, m.Exchange, m.RoutingKey)
		return AppendDeliver(nil, head, DeliveryTag(m.DeliveryTag), m.Redelivered, address)
	case *BasicGetOk:
		address := AppendAddress(nil, m.Exchange, m.RoutingKey)
		return AppendGetOK(nil, f.Channel, DeliveryTag(m.DeliveryTag), m.Redelivered, address, m.MessageCount)
	case *BasicReturn:
		address := AppendAddress(nil, m.Exchange, m.RoutingKey)
		return AppendReturn(nil, f.Channel, Code(m.ReplyCode), m.ReplyText, address)
	}
	return nil
}

// TestRecordedMeaning checks that the recorded bytes mean what the clients were told to say.
func TestRecordedMeaning(t *testing.T) {
	table := Table{{"x", Table{{"y", "deep"}}}}
	want := map[string]map[string]any{
		"pika": {
			"bool": true, "int": int32(42), "negative": int32(-7), "big": int64(1 << 40), "string": "grün", "bytes": []byte{0, 255},
			"none": nil, "decimal": Decimal{2, 314}, "time": Timestamp(1700000000), "table": table, "empty": Table{},
			"empty-list": Array{},
		},
		"amqp091-go": {
			"bool": true, "byte": uint8(200), "int8": int8(-5), "int16": int16(-300), "int32": int32(70000), "int64": int64(1 << 40),
			"float32": float32(0.25), "float64": 1.5, "string": "grün", "bytes": []byte{0, 255}, "none": nil,
			"decimal": Decimal{2, 314}, "time": Timestamp(1700000000), "table": table, "empty": Table{},
		},
		"amqplib": {
			"colour": "red", "bool": false, "byte": int8(5), "short": int16(-300), "int": int32(70000), "long": int64(1 << 40),
			"double": 1.5, "nothing": nil, "table": table, "buffer": []byte{0, 255}, "empty": Table{}, "float": float32(0.25),
			"decimal": Decimal{2, 314}, "when": Timestamp(1700000000),
		},
	}
	for name, session := range recordings(t) {
		var properties Properties
		for _, s := range session {
			if strings.HasSuffix(s.title, " header") {
				var err error
				if properties, err = ParseProperties(s.bytes[frameHead : len(s.bytes)-1]); err != nil {
					t.Fatalf("%s: %v", s.at, err)
				}
				break
			}
		}
		for field, v := range want[name] {
			if got, ok := properties.Headers.Lookup(field); !ok || !reflect.DeepEqual(got, v) {
				t.Errorf("%s: header %s = %#v, %v, want %#v", name, field, got, ok, v)
			}
		}
		list, _ := properties.Headers.Lookup("list")
		if a, _ := list.(Array); len(a) != 4 || a[1] != "two" || reflect.TypeOf(a[3]) != reflect.TypeFor[Table]() {
			t.Errorf("%s: header list = %#v", name, list)
		}
		p := properties
		if p.ContentType != "text/plain" || p.ContentEncoding != "utf-8" || p.DeliveryMode != 2 || p.Priority != 3 ||
			p.CorrelationID != "corr-1" || p.ReplyTo != "reply-here" || p.Expiration != "60000" || p.MessageID != "msg-1" ||
			p.Timestamp != 1700000000 || p.Type != "kind" || p.UserID != "guest" || p.AppID != "wire" {
			t.Errorf("%s: properties %+v", name, p)
		}
	}
}
