package amqp

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// everyProperty has a value for each property.
var everyProperty = Properties{
	Flags:       0xfffc,
	ContentType: "text/plain", ContentEncoding: "gzip", Headers: everyType, DeliveryMode: 2, Priority: 9, CorrelationID: "corr",
	ReplyTo: "reply", Expiration: "60000", MessageID: "id", Timestamp: 1700000000, Type: "kind", UserID: "guest", AppID: "app",
	ClusterID: "cluster",
}

// withFlags returns p with only the properties that flags names.
func withFlags(p Properties, flags uint16) Properties {
	out := Properties{Flags: flags}
	from, to := reflect.ValueOf(p), reflect.ValueOf(&out).Elem()
	for i := 1; i < from.NumField(); i++ { // the fields follow the flags, from the highest
		if flags&(1<<(16-i)) != 0 {
			to.Field(i).Set(from.Field(i))
		}
	}
	return out
}

// compareFacts fails the test unless f says of the same header what p says.
func compareFacts(t *testing.T, f Facts, p Properties) {
	t.Helper()
	if f.Flags != p.Flags || (f.Mode == 2) != (p.DeliveryMode == 2) || f.Priority != p.Priority || f.Timestamp != uint64(p.Timestamp) {
		t.Errorf("facts %+v of properties %+v", f, p)
	}
	for _, tt := range []struct {
		name string
		flag uint16
		got  []byte
		want string
	}{
		{"expiration", FlagExpiration, f.Expiration, p.Expiration},
		{"user-id", FlagUserID, f.UserID, p.UserID},
		{"reply-to", FlagReplyTo, f.ReplyTo, p.ReplyTo},
		{"correlation-id", FlagCorrelationID, f.Correlation, p.CorrelationID},
		{"message-id", FlagMessageID, f.MessageID, p.MessageID},
	} {
		if string(tt.got) != tt.want || (tt.got != nil) != (p.Flags&tt.flag != 0) {
			t.Errorf("%s: %q (nil: %v) in the facts, %q in the properties", tt.name, tt.got, tt.got == nil, tt.want)
		}
	}
	if (f.Headers != nil) != (p.Flags&FlagHeaders != 0) {
		t.Errorf("headers: nil is %v with flags %#x", f.Headers == nil, p.Flags)
	}
	if got := AppendTable(nil, f.Headers.Table()); !bytes.Equal(got, AppendTable(nil, p.Headers)) {
		t.Errorf("headers: %x in the facts, %#v in the properties", got, p.Headers)
	}
}

// TestPropertiesFlags tries every set of properties.
func TestPropertiesFlags(t *testing.T) {
	for flags := 0; flags < 1<<16; flags += 4 {
		p := withFlags(everyProperty, uint16(flags))
		header := AppendHeader(nil, &p, 1<<40)
		got, err := ParseProperties(header)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("flags %#x: %+v, %v, want %+v", flags, got, err, p)
		}
		if again := AppendHeader(nil, &got, 1<<40); !bytes.Equal(again, header) {
			t.Fatalf("flags %#x: written again\n got %x\nwant %x", flags, again, header)
		}
		if flags%252 == 0 { // comparing is slow; 252 walks through all mixtures of bits
			f, err := ParseFacts(header)
			if err != nil {
				t.Fatalf("flags %#x: %v", flags, err)
			}
			compareFacts(t, f, p)
		}
	}
}

// randomProperties returns properties with lengths that are often 0 or 255.
func randomProperties(rnd *rand.Rand) Properties {
	str := func() string {
		return strings.Repeat("s", []int{0, 1, 5, 255}[rnd.IntN(4)])
	}
	p := Properties{
		ContentType: str(), ContentEncoding: str(), DeliveryMode: uint8(rnd.IntN(4)), Priority: uint8(rnd.Uint32()),
		CorrelationID: str(), ReplyTo: str(), Expiration: str(), MessageID: str(), Timestamp: Timestamp(rnd.Uint64()), Type: str(),
		UserID: str(), AppID: str(), ClusterID: str(),
	}
	for range rnd.IntN(5) {
		p.Headers = append(p.Headers, everyType[rnd.IntN(len(everyType))])
	}
	return withFlags(p, uint16(rnd.Uint32())&^3)
}

func TestFactsAgree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		p := randomProperties(rnd)
		header := AppendHeader(nil, &p, rnd.Uint64())
		f, err := ParseFacts(header[:len(header):len(header)])
		if err != nil {
			t.Fatalf("%x: %v", header, err)
		}
		compareFacts(t, f, p)
		// Damage: both see it, or neither.
		bad := bytes.Clone(header)
		switch rnd.IntN(3) {
		case 0:
			bad = bad[:rnd.IntN(len(bad))]
		case 1:
			bad = append(bad, 0)
		case 2:
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
		}
		_, factsErr := ParseFacts(bad)
		_, propertiesErr := ParseProperties(bad)
		if (factsErr == nil) != (propertiesErr == nil) {
			t.Fatalf("%x: ParseFacts: %v, ParseProperties: %v", bad, factsErr, propertiesErr)
		}
	}
}

func TestPropertiesDamage(t *testing.T) {
	whole := AppendHeader(nil, &everyProperty, 5)
	for cut := range whole {
		if _, err := ParseFacts(whole[:cut]); err == nil {
			t.Errorf("ParseFacts takes %d of %d bytes", cut, len(whole))
		}
		if _, err := ParseProperties(whole[:cut]); err == nil {
			t.Errorf("ParseProperties takes %d of %d bytes", cut, len(whole))
		}
	}
	head := string(whole[:headFixed])
	for _, tt := range []struct{ name, header, want string }{
		{"a byte after the properties", string(whole) + "\x00", "1 bytes after the properties"},
		{"the flag that announces more flags", head + "\x00\x01\x00\x00", "unknown property flags 0x1"},
		{"the flag without a meaning", head + "\x00\x02", "unknown property flags 0x2"},
		{"a damaged headers table", head + "\x20\x00\x00\x00\x00\x03\x01fZ", "unknown field type 90"},
		{"a headers table beyond the end", head + "\x20\x00\xff\xff\xff\xff", "payload ends early"},
	} {
		for _, parse := range []func([]byte) error{
			func(b []byte) error { _, err := ParseFacts(b); return err },
			func(b []byte) error { _, err := ParseProperties(b); return err },
		} {
			e, _ := parse([]byte(tt.header)).(*Error)
			if e == nil || e.Code != SyntaxError || e.Text != tt.want {
				t.Errorf("%s: %v, want %s", tt.name, e, tt.want)
			}
		}
	}
}

func TestBodySize(t *testing.T) {
	header := AppendHeader(nil, &Properties{}, 1<<40+7)
	if class, size, ok := BodySize(header); class != 60 || size != 1<<40+7 || !ok {
		t.Errorf("BodySize(%x) = %d, %d, %v", header, class, size, ok)
	}
	if _, _, ok := BodySize(header[:13]); ok {
		t.Error("BodySize takes a header without flags")
	}
}

func TestParseExpiration(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"60000", 60000, true}, {"007", 7, true}, {strconv.Itoa(MaxExpiration), MaxExpiration, true},
		{strconv.Itoa(MaxExpiration + 1), 0, false}, {"", 0, false}, {"-1", 0, false}, {"1.5", 0, false}, {"1s", 0, false},
		{" 1", 0, false}, {strings.Repeat("9", 255), 0, false},
	} {
		if got, ok := ParseExpiration([]byte(tt.in)); ok != tt.ok || ok && got != tt.want {
			t.Errorf("ParseExpiration(%q) = %d, %v, want %d, %v", tt.in, got, ok, tt.want, tt.ok)
		}
	}
}
