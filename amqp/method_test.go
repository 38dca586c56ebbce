package amqp

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// filled returns an empty method with each field set to a value that differs from its neighbours'. turn varies the bits.
func filled(id MethodID, turn int) Method {
	m := newMethod(id)
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool((i+turn)%2 == 0)
		case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			f.SetUint((0x0123456789abcdef + uint64(i)) & (1<<f.Type().Bits() - 1))
		case reflect.String:
			f.SetString(v.Type().Field(i).Name + " of " + id.String())
		case reflect.Slice:
			f.Set(reflect.ValueOf(everyType))
		default:
			panic("a method has a field of an unexpected kind: " + f.Type().String())
		}
	}
	return m
}

func TestMethodRoundTrip(t *testing.T) {
	if len(methodNames) != 66 {
		t.Errorf("%d methods, want the 66 of the dialect", len(methodNames))
	}
	for id := range methodNames {
		for turn := range 2 {
			m := filled(id, turn)
			if m.ID() != id {
				t.Errorf("%s: ID() = %s", id, m.ID())
			}
			payload := m.Append(nil)
			if PeekMethod(payload) != id {
				t.Errorf("%s: PeekMethod = %s", id, PeekMethod(payload))
			}
			got, err := ParseMethod(payload)
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%s: got %+v, %v, want %+v", id, got, err, m)
			}
		}
		testMethodLengths(t, id)
	}
}

// testMethodLengths tries the method with every shorter payload, and a longer one.
func testMethodLengths(t *testing.T, id MethodID) {
	payload := filled(id, 0).Append(nil)
	refused := func(what string, p []byte) {
		m, err := ParseMethod(p)
		var e *Error
		if m != nil || !errors.As(err, &e) || e.Code != SyntaxError || e.Method != id {
			t.Errorf("%s, %s: %v, %#v, want SYNTAX_ERROR", id, what, m, err)
		}
	}
	for cut := 4; cut < len(payload); cut++ {
		refused("cut", payload[:cut])
	}
	refused("too long", append(payload, 0))
}

func TestMethodUnknown(t *testing.T) {
	for _, tt := range []struct {
		payload string
		code    Code
		id      MethodID
	}{
		{"", SyntaxError, 0},
		{"\x00\x3c\x00", SyntaxError, 0},
		{"\x00\x3c\x00\x63", CommandInvalid, 60<<16 | 99},
		{"\x00\x00\x00\x00", CommandInvalid, 0},
		{"\xff\xff\xff\xffrest", CommandInvalid, 0xffffffff},
		{"\x00\x28\x00\x33", 0, 0},                        // exchange.unbind-ok is 51
		{"\x00\x28\x00\x29", CommandInvalid, 40<<16 | 41}, // and 41 is nothing
	} {
		m, err := ParseMethod([]byte(tt.payload))
		e, _ := err.(*Error)
		switch {
		case tt.code == 0 && err != nil, tt.code != 0 && (m != nil || e == nil || e.Code != tt.code || e.Method != tt.id):
			t.Errorf("ParseMethod(%x) = %v, %#v, want %v", tt.payload, m, err, tt.code)
		}
	}
}

func TestMethodID(t *testing.T) {
	if id := IDBasicPublish; id.Class() != 60 || id.Method() != 40 || id.String() != "basic.publish" {
		t.Errorf("basic.publish is %d, %d, %s", id.Class(), id.Method(), id)
	}
	if s := MethodID(60<<16 | 99).String(); s != "method 60.99" {
		t.Errorf("60.99 is called %s", s)
	}
}

// TestMethodBits pins the places of the bits that share an octet, from the least significant. Spec: 4.2.5.2.
func TestMethodBits(t *testing.T) {
	for _, tt := range []struct {
		m    Method
		last byte // octet of the payload
	}{
		{&BasicPublish{Mandatory: true}, 1},
		{&BasicPublish{Immediate: true}, 2},
		{&BasicNack{Multiple: true}, 1},
		{&BasicNack{Requeue: true}, 2},
		{&QueueDelete{IfUnused: true}, 1},
		{&QueueDelete{IfEmpty: true}, 2},
		{&QueueDelete{NoWait: true}, 4},
		{&AccessRequest{Read: true}, 16},
	} {
		b := tt.m.Append(nil)
		if got := b[len(b)-1]; got != tt.last {
			t.Errorf("%#v ends with %#x, want %#x", tt.m, got, tt.last)
		}
	}
	// Bits that nobody has defined are not minded.
	m, err := ParseMethod(append(new(BasicPublish).Append(nil)[:8], 0xfd))
	if p, ok := m.(*BasicPublish); !ok || !p.Mandatory || p.Immediate {
		t.Errorf("bits fd: %+v, %v", m, err)
	}
}

func TestParsePublish(t *testing.T) {
	for _, m := range []*BasicPublish{
		{}, {Exchange: "x"}, {RoutingKey: "k"}, {Exchange: "ex", RoutingKey: "a.b", Mandatory: true},
		{Exchange: string(make([]byte, 255)), RoutingKey: string(make([]byte, 255)), Immediate: true},
	} {
		payload := m.Append(nil)
		p, ok := ParsePublish(payload)
		if !ok || string(p.Exchange) != m.Exchange || string(p.RoutingKey) != m.RoutingKey ||
			p.Mandatory != m.Mandatory || p.Immediate != m.Immediate {
			t.Errorf("ParsePublish(%x) = %+v, %v, want %+v", payload, p, ok, m)
		}
		if want := AppendAddress(nil, m.Exchange, m.RoutingKey); !bytes.Equal(p.Address, want) {
			t.Errorf("Address = %x, want %x", p.Address, want)
		}
		x, k := SplitAddress(p.Address)
		if string(x) != m.Exchange || string(k) != m.RoutingKey {
			t.Errorf("SplitAddress(%x) = %q, %q", p.Address, x, k)
		}
		for cut := range payload {
			if _, ok := ParsePublish(payload[:cut]); ok {
				t.Errorf("ParsePublish takes %d of %d bytes", cut, len(payload))
			}
		}
		if _, ok := ParsePublish(append(payload, 0)); ok {
			t.Errorf("ParsePublish(%x) takes a byte too many", payload)
		}
	}
	for _, a := range []string{"", "\x00", "\x05ab", "\x01x"} {
		if x, k := SplitAddress([]byte(a)); x != nil || k != nil {
			t.Errorf("SplitAddress(%q) = %q, %q of a damaged address", a, x, k)
		}
	}
}

func TestParseSettle(t *testing.T) {
	for _, tt := range []struct {
		m                 Method
		multiple, requeue bool
	}{
		{&BasicAck{DeliveryTag: 1<<63 + 7}, false, false},
		{&BasicAck{DeliveryTag: 1<<63 + 7, Multiple: true}, true, false},
		{&BasicNack{DeliveryTag: 1<<63 + 7, Multiple: true}, true, false},
		{&BasicNack{DeliveryTag: 1<<63 + 7, Requeue: true}, false, true},
		{&BasicReject{DeliveryTag: 1<<63 + 7, Requeue: true}, false, true},
		{&BasicReject{DeliveryTag: 1<<63 + 7}, false, false},
	} {
		payload := tt.m.Append(nil)
		tag, multiple, requeue, ok := ParseSettle(payload)
		if !ok || tag != 1<<63+7 || multiple != tt.multiple || requeue != tt.requeue {
			t.Errorf("%#v: %d, %v, %v, %v", tt.m, tag, multiple, requeue, ok)
		}
		for cut := range payload {
			if _, _, _, ok := ParseSettle(payload[:cut]); ok {
				t.Errorf("%#v: ParseSettle takes %d of %d bytes", tt.m, cut, len(payload))
			}
		}
		if _, _, _, ok := ParseSettle(append(payload, 0)); ok {
			t.Errorf("%#v: ParseSettle takes a byte too many", tt.m)
		}
	}
	other := appendSettle(nil, 1, IDBasicGetOk, 1, 0)
	if _, _, _, ok := ParseSettle(other[frameHead : len(other)-1]); ok {
		t.Error("ParseSettle takes another method of 13 bytes")
	}
}
