package amqp

import (
	"bytes"
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"
)

// Fuzz one at a time, with little time for minimizing, which else takes all of it (what pools do differs from run to run):
//
//	go test ./amqp -run '^$' -fuzz '^FuzzFrameReader$' -fuzztime 30s -fuzzminimizetime 10x

// seedFrames adds the payload of each recorded frame of the given type.
func seedFrames(f *testing.F, kind byte) {
	for _, session := range recordings(f) {
		for _, s := range session {
			if strings.Contains(s.title, "channel=") && s.bytes[0] == kind {
				f.Add(s.bytes[frameHead : len(s.bytes)-1])
			}
		}
	}
}

// refusal fails the test unless err is an *Error with one of the codes.
func refusal(t *testing.T, err error, codes ...Code) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *Error", err)
	}
	for _, c := range codes {
		if e.Code == c {
			return
		}
	}
	t.Fatalf("%v, want one of %v", err, codes)
}

// FuzzFrameReader: however the bytes are cut on their way, the frames and the fault are the same, the frames written again
// are the bytes that were taken, and no buffer is larger than what has come calls for.
func FuzzFrameReader(f *testing.F) {
	for _, session := range recordings(f) {
		for _, side := range []string{"client", "server"} {
			said := stream(session, side)
			f.Add(said[:min(2000, len(said))], uint16(0), []byte{1, 200, 7})
		}
	}
	f.Add([]byte("\x03\x00\x01\x00\x03\x0d\x40abc"), uint16(4096), []byte{3})
	f.Add([]byte("\x01\x00\x01\x00\x00\x00\x03abc\x00"), uint16(0), []byte{0})
	f.Fuzz(func(t *testing.T, in []byte, maxFrame uint16, cuts []byte) {
		type outcome struct {
			again  []byte // the frames taken, written again
			frames int
			fault  string
		}
		read := func(piece func(i int) int) (o outcome) {
			r := Reader{MaxFrame: int(maxFrame)}
			defer r.Close()
			rest := in
			for i := 0; len(rest) > 0 && o.fault == ""; i++ {
				rest = arrive(t, &r, rest, piece(i))
				if came := len(in) - len(rest); len(r.Buffer().Bytes()) > max(bufferSizes[len(bufferSizes)-1], 2*came)+minSpace {
					t.Fatalf("a buffer of %d bytes after %d", len(r.Buffer().Bytes()), came)
				}
				for {
					frame, ok, err := r.Next()
					if err != nil {
						refusal(t, err, FrameError)
						o.fault = err.Error()
					}
					if !ok || err != nil {
						break
					}
					o.frames++
					o.again = AppendFrame(o.again, frame.Type, frame.Channel, frame.Payload)
				}
				if i%3 == 2 {
					r.Rest()
				}
			}
			return o
		}
		whole := read(func(int) int { return len(in) })
		pieces := read(func(i int) int {
			if len(cuts) == 0 {
				return 1
			}
			return 1 + int(cuts[i%len(cuts)])
		})
		if whole.frames != pieces.frames || whole.fault != pieces.fault || !bytes.Equal(whole.again, pieces.again) {
			t.Fatalf("whole: %d frames, %q; in pieces: %d frames, %q", whole.frames, whole.fault, pieces.frames, pieces.fault)
		}
		if !bytes.HasPrefix(in, whole.again) {
			t.Fatalf("frames written again\n got %x\nfrom %x", whole.again, in)
		}
	})
}

// FuzzParseMethod: a payload is refused with SYNTAX_ERROR or COMMAND_INVALID, or read as a method that, written and read
// again, is written as the same bytes.
func FuzzParseMethod(f *testing.F) {
	seedFrames(f, FrameMethod)
	for id := range methodNames {
		f.Add(filled(id, 0).Append(nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseMethod(in)
		if err != nil {
			refusal(t, err, SyntaxError, CommandInvalid)
			return
		}
		once := m.Append(nil)
		if len(once) > len(in) {
			t.Fatalf("%x is written as %x, which is longer", in, once)
		}
		again, err := ParseMethod(once)
		if err != nil {
			t.Fatalf("%x, written as %x: %v", in, once, err)
		}
		if twice := again.Append(nil); !bytes.Equal(twice, once) {
			t.Fatalf("%s: written once  %x\nwritten twice %x", m.ID(), once, twice)
		}
	})
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzTable: ParseTable and Check take and refuse the same tables; what is taken keeps its length and, written, is read as
// the same; fields are found in the raw form as in the decoded one; and memory is in proportion to the input.
func FuzzTable(f *testing.F) {
	f.Add(AppendTable(nil, everyType)[4:])
	for _, levels := range []int{2, MaxTableDepth, MaxTableDepth + 1} {
		f.Add(AppendTable(nil, nested(levels, true))[4:])
		f.Add(AppendTable(nil, nested(levels, false))[4:])
	}
	f.Add([]byte("\x01fx\xff\xff\xff\xffabc"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var table Table
		var err error
		// The costliest byte is a V in an array: an interface, and those of the arrays that append outgrew.
		if n := allocated(func() { table, err = ParseTable(in) }); n > 150*uint64(len(in))+64<<10 {
			t.Fatalf("%d bytes allocated for a table of %d", n, len(in))
		}
		check := RawTable(in).Check()
		if (check == nil) != (err == nil) {
			t.Fatalf("Check: %v, ParseTable: %v", check, err)
		}
		if err != nil {
			refusal(t, err, SyntaxError)
			refusal(t, check, SyntaxError)
		}
		for _, field := range table { // of a damaged table, those before the damage
			kind, _, ok := RawTable(in).Lookup(field.Name)
			v, valueOK := RawTable(in).Value(field.Name)
			first, _ := table.Lookup(field.Name)
			if !ok || !valueOK || TypeName(v) != TypeName(first) || (kind == 'V') != (v == nil) {
				t.Fatalf("%q is %c, %v, %#v, %v in the raw table, %#v in the parsed one", field.Name, kind, ok, v, valueOK, first)
			}
		}
		if err != nil {
			return
		}
		once := AppendTable(nil, table)[4:]
		if len(once) != len(in) {
			t.Fatalf("%x is written as %x", in, once)
		}
		again, err := ParseTable(once)
		if err != nil {
			t.Fatalf("%x, written as %x: %v", in, once, err)
		}
		if twice := AppendTable(nil, again)[4:]; !bytes.Equal(twice, once) {
			t.Fatalf("written once  %x\nwritten twice %x", once, twice)
		}
	})
}

// FuzzProperties: ParseFacts and ParseProperties take and refuse the same headers, and agree on what they say; properties
// written and read again are written as the same bytes.
func FuzzProperties(f *testing.F) {
	seedFrames(f, FrameHeader)
	f.Add(AppendHeader(nil, &everyProperty, math.MaxUint64))
	f.Fuzz(func(t *testing.T, in []byte) {
		facts, factsErr := ParseFacts(in)
		p, err := ParseProperties(in)
		if (factsErr == nil) != (err == nil) {
			t.Fatalf("ParseFacts: %v, ParseProperties: %v", factsErr, err)
		}
		if err != nil {
			refusal(t, err, SyntaxError)
			refusal(t, factsErr, SyntaxError)
			return
		}
		compareFacts(t, facts, p)
		_, size, ok := BodySize(in)
		if !ok {
			t.Fatalf("%x has no body size", in)
		}
		once := AppendHeader(nil, &p, size)
		again, err := ParseProperties(once)
		if err != nil || len(once) != len(in) {
			t.Fatalf("%x, written as %x: %v", in, once, err)
		}
		if twice := AppendHeader(nil, &again, size); !bytes.Equal(twice, once) {
			t.Fatalf("written once  %x\nwritten twice %x", once, twice)
		}
	})
}

// FuzzPublish: ParsePublish takes the payloads that ParseMethod reads as basic.publish, and says the same of them.
func FuzzPublish(f *testing.F) {
	seedFrames(f, FrameMethod)
	f.Add((&BasicPublish{Exchange: "x", RoutingKey: "k", Immediate: true}).Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) >= 4 {
			in = append(appendLong(nil, uint32(IDBasicPublish)), in[4:]...)
		}
		p, ok := ParsePublish(in)
		m, err := ParseMethod(in)
		if ok != (err == nil) {
			t.Fatalf("ParsePublish: %v, ParseMethod: %v", ok, err)
		}
		if !ok {
			return
		}
		want := m.(*BasicPublish)
		if string(p.Exchange) != want.Exchange || string(p.RoutingKey) != want.RoutingKey || p.Mandatory != want.Mandatory ||
			p.Immediate != want.Immediate || !bytes.Equal(p.Address, AppendAddress(nil, want.Exchange, want.RoutingKey)) {
			t.Fatalf("ParsePublish: %+v, ParseMethod: %+v", p, want)
		}
	})
}

// FuzzSettle: ParseSettle takes the payloads that ParseMethod reads as basic.ack, basic.nack or basic.reject, and says the
// same of them.
func FuzzSettle(f *testing.F) {
	seedFrames(f, FrameMethod)
	f.Add((&BasicReject{1, true}).Append(nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		tag, multiple, requeue, ok := ParseSettle(in)
		var want BasicNack
		m, _ := ParseMethod(in)
		switch m := m.(type) {
		case *BasicAck:
			want = BasicNack{m.DeliveryTag, m.Multiple, false}
		case *BasicNack:
			want = *m
		case *BasicReject:
			want = BasicNack{m.DeliveryTag, false, m.Requeue}
		default:
			if ok {
				t.Fatalf("ParseSettle takes %x, which ParseMethod reads as %v", in, m)
			}
			return
		}
		if got := (BasicNack{tag, multiple, requeue}); !ok || got != want {
			t.Fatalf("ParseSettle: %+v, %v, want %+v", got, ok, want)
		}
	})
}
