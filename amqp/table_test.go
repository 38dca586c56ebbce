package amqp

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"
)

// everyType holds a value of each type letter, in an order that is neither sorted nor that of a map.
var everyType = Table{
	{"z", true}, {"bool", false}, {"int8", int8(-5)}, {"uint8", uint8(200)}, {"int16", int16(-300)}, {"uint16", uint16(60000)},
	{"int32", int32(-70000)}, {"uint32", uint32(1 << 31)}, {"int64", int64(math.MinInt64)}, {"float32", float32(0.25)},
	{"float64", -1.5}, {"decimal", Decimal{2, -314}}, {"string", "grün"}, {"bytes", []byte{0, 255}}, {"time", Timestamp(1700000000)},
	{"array", Array{int32(1), "two", Array{nil}, Table{{"x", Array{}}}}}, {"table", Table{{"deep", Table{{"er", "y"}}}}},
	{"void", nil}, {"", "an empty name"}, {"empty", Table{}}, {"no bytes", []byte{}}, {"a", ""}, {"z", "a second z"},
}

func TestTableLetters(t *testing.T) {
	for _, tt := range []struct {
		hex  string // the value with its letter
		want any
		name string // as reply texts print the type
	}{
		{"7400", false, "bool"},
		{"7401", true, "bool"},
		{"62fb", int8(-5), "byte"},
		{"42fb", uint8(251), "unsignedbyte"},
		{"73fed4", int16(-300), "short"},
		{"75fed4", uint16(65236), "unsignedshort"},
		{"49fffffffe", int32(-2), "signedint"},
		{"69fffffffe", uint32(4294967294), "unsignedint"},
		{"6cfffffffffffffffe", int64(-2), "long"},
		{"663e800000", float32(0.25), "float"},
		{"64bff8000000000000", -1.5, "double"},
		{"44020000013a", Decimal{2, 314}, "decimal"},
		{"5300000003616263", "abc", "longstr"},
		{"7800000002ff00", []byte{255, 0}, "binary"},
		{"54000000006553f100", Timestamp(1700000000), "timestamp"},
		{"4100000003740156", Array{true, nil}, "array"},
		{"4600000004016b7401", Table{{"k", true}}, "table"},
		{"56", nil, "void"},
	} {
		value, _ := hex.DecodeString(tt.hex)
		raw := append([]byte{1, 'f'}, value...)
		got, err := ParseTable(raw)
		if err != nil || !reflect.DeepEqual(got, Table{{"f", tt.want}}) {
			t.Errorf("ParseTable(%x) = %#v, %v, want %#v", raw, got, err, tt.want)
		}
		if b := AppendTable(nil, got); !bytes.Equal(b[4:], raw) || int(b[3]) != len(raw) {
			t.Errorf("AppendTable(%#v) = %x, want %x", got, b, raw)
		}
		if name := TypeName(tt.want); name != tt.name {
			t.Errorf("TypeName(%#v) = %s, want %s", tt.want, name, tt.name)
		}
		if err := RawTable(raw).Check(); err != nil {
			t.Errorf("Check(%x) = %v", raw, err)
		}
		for cut := 1; cut < len(raw); cut++ {
			if _, err := ParseTable(raw[:cut]); err == nil {
				t.Errorf("ParseTable(%x) takes a cut value", raw[:cut])
			}
			if err := RawTable(raw[:cut]).Check(); err == nil {
				t.Errorf("Check(%x) takes a cut value", raw[:cut])
			}
		}
	}
}

func TestTableLetterL(t *testing.T) {
	got, err := ParseTable([]byte("\x01fL\xff\xff\xff\xff\xff\xff\xff\xfe"))
	if err != nil || !reflect.DeepEqual(got, Table{{"f", int64(-2)}}) {
		t.Errorf("L is read as %#v, %v", got, err)
	}
}

func TestTableOrder(t *testing.T) {
	b := AppendTable(nil, everyType)
	got, err := ParseTable(b[4:])
	if err != nil || !reflect.DeepEqual(got, everyType) {
		t.Errorf("after a round trip:\n got %#v, %v\nwant %#v", got, err, everyType)
	}
	if again := AppendTable(nil, got); !bytes.Equal(again, b) {
		t.Errorf("written again:\n got %x\nwant %x", again, b)
	}
}

func TestTableOwnsItsMemory(t *testing.T) {
	b := AppendTable(nil, everyType)
	got, err := ParseTable(b[4:])
	if err != nil {
		t.Fatal(err)
	}
	clear(b)
	if !reflect.DeepEqual(got, everyType) {
		t.Errorf("a parsed table changes with its source: %#v", got)
	}
}

func TestTableDamage(t *testing.T) {
	for _, tt := range []struct{ name, table, want string }{
		{"a length beyond the end", "\x01fS\x00\x00\x00\x05abc", "payload ends early"},
		{"a length near 2^32", "\x01fx\xff\xff\xff\xffabc", "payload ends early"},
		{"an array's length beyond the end", "\x01fA\x00\x00\x00\x05V", "payload ends early"},
		{"a table's length beyond the end", "\x01fF\x00\x00\x00\x05", "payload ends early"},
		{"a name beyond the end", "\x09f", "payload ends early"},
		{"a value that leaves its array", "\x01fA\x00\x00\x00\x02I\x00\x00\x00\x01", "payload ends early"},
		{"a value that leaves its table", "\x01fF\x00\x00\x00\x03\x00I\x00\x00\x00\x01\x02", "payload ends early"},
		{"an unknown letter", "\x01fZ", "unknown field type 90"},
		{"an unknown letter in an array", "\x01fA\x00\x00\x00\x01Z", "unknown field type 90"},
	} {
		_, err := ParseTable([]byte(tt.table))
		e, ok := err.(*Error)
		if !ok || e.Code != SyntaxError || e.Text != tt.want {
			t.Errorf("%s: ParseTable: %v, want %s", tt.name, err, tt.want)
		}
		if c := RawTable(tt.table).Check(); c == nil || c.Error() != err.Error() {
			t.Errorf("%s: Check: %v, ParseTable: %v", tt.name, c, err)
		}
	}
}

// nested returns a table with levels tables or arrays inside it.
func nested(levels int, array bool) Table {
	var v any = Table{}
	if array {
		v = Array{}
	}
	for range levels - 1 {
		if array {
			v = Array{v}
		} else {
			v = Table{{"f", v}}
		}
	}
	return Table{{"f", v}}
}

func TestTableDepth(t *testing.T) {
	for _, array := range []bool{false, true} {
		for _, tt := range []struct {
			levels int
			ok     bool
		}{{1, true}, {MaxTableDepth, true}, {MaxTableDepth + 1, false}, {10000, false}} {
			b := AppendTable(nil, nested(tt.levels, array))[4:]
			_, err := ParseTable(b)
			if (err == nil) != tt.ok {
				t.Errorf("ParseTable at %d levels, arrays %v: %v", tt.levels, array, err)
			}
			if err := RawTable(b).Check(); (err == nil) != tt.ok {
				t.Errorf("Check at %d levels, arrays %v: %v", tt.levels, array, err)
			}
			if _, ok := RawTable(b).Value("f"); ok != tt.ok {
				t.Errorf("Value at %d levels, arrays %v: %v", tt.levels, array, ok)
			}
		}
	}
}

func TestRawTable(t *testing.T) {
	raw := RawTable(AppendTable(nil, everyType)[4:])
	for _, f := range everyType {
		want, _ := everyType.Lookup(f.Name)
		if got, ok := raw.Value(f.Name); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("Value(%q) = %#v, %v, want %#v", f.Name, got, ok, want)
		}
	}
	if got := raw.Table(); !reflect.DeepEqual(got, everyType) {
		t.Errorf("Table() = %#v, want %#v", got, everyType)
	}
	for _, tt := range []struct {
		name  string
		kind  byte
		value string
	}{
		{"z", 't', "\x01"}, // the first of two
		{"string", 'S', "grün"},
		{"bytes", 'x', "\x00\xff"},
		{"uint16", 'u', "\xea\x60"},
		{"decimal", 'D', "\x02\xff\xff\xfe\xc6"},
		{"void", 'V', ""},
		{"", 'S', "an empty name"},
		{"empty", 'F', ""},
		{"table", 'F', "\x04deepF\x00\x00\x00\x09\x02erS\x00\x00\x00\x01y"},
	} {
		kind, value, ok := raw.Lookup(tt.name)
		if !ok || kind != tt.kind || string(value) != tt.value {
			t.Errorf("Lookup(%q) = %c, %q, %v, want %c, %q", tt.name, kind, value, ok, tt.kind, tt.value)
		}
	}
	if _, _, ok := raw.Lookup("deep"); ok {
		t.Error("Lookup finds a field of a nested table")
	}
	if _, ok := raw.Value("absent"); ok {
		t.Error("Value finds an absent field")
	}
	if _, _, ok := RawTable(nil).Lookup(""); ok {
		t.Error("Lookup finds a field in an empty table")
	}
	damaged := RawTable("\x01at\x01\x01bZ\x01ct\x01")
	if v, ok := damaged.Value("a"); !ok || v != true {
		t.Errorf("before the damage: %v, %v", v, ok)
	}
	for _, name := range []string{"b", "c"} {
		if _, ok := damaged.Value(name); ok {
			t.Errorf("Value(%q) reads past the damage", name)
		}
		if _, _, ok := damaged.Lookup(name); ok {
			t.Errorf("Lookup(%q) reads past the damage", name)
		}
	}
	if got := damaged.Table(); !reflect.DeepEqual(got, Table{{"a", true}}) {
		t.Errorf("Table() of a damaged table = %#v", got)
	}
}

func TestTableWith(t *testing.T) {
	base := Table{{"a", 1}, {"b", 2}, {"a", 3}}
	keep := Table{{"a", 1}, {"b", 2}, {"a", 3}}
	for _, tt := range []struct {
		name      string
		got, want Table
	}{
		{"with a present name", base.With("b", "x"), Table{{"a", 1}, {"b", "x"}, {"a", 3}}},
		{"with a repeated name", base.With("a", "x"), Table{{"a", "x"}, {"b", 2}, {"a", 3}}},
		{"with a new name", base.With("c", "x"), Table{{"a", 1}, {"b", 2}, {"a", 3}, {"c", "x"}}},
		{"with, of nil", Table(nil).With("c", nil), Table{{"c", nil}}},
		{"without a repeated name", base.Without("a"), Table{{"b", 2}}},
		{"without an absent name", base.Without("c"), keep},
		{"without, of nil", Table(nil).Without("a"), Table{}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.got, tt.want)
		}
		if !reflect.DeepEqual(base, keep) {
			t.Fatalf("%s: the table itself changed: %v", tt.name, base)
		}
	}
	// Two extensions of one table do not write into each other.
	grown := base.With("c", 1)
	x, y := grown.With("d", "x"), grown.With("d", "y")
	if v, _ := x.Lookup("d"); v != "x" {
		t.Errorf("x was overwritten with %v by %v", v, y)
	}
}

func TestTableInt(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want int64
		ok   bool
	}{
		{int8(-1), -1, true}, {uint8(255), 255, true}, {int16(-1), -1, true}, {uint16(65535), 65535, true},
		{int32(-1), -1, true}, {uint32(1 << 31), 1 << 31, true}, {int64(-1 << 62), -1 << 62, true},
		{1.0, 0, false}, {"1", 0, false}, {nil, 0, false}, {true, 0, false}, {Timestamp(1), 0, false},
	} {
		if got, ok := Int(tt.v); got != tt.want || ok != tt.ok {
			t.Errorf("Int(%#v) = %d, %v", tt.v, got, ok)
		}
	}
}

func TestTableLongName(t *testing.T) {
	b := AppendTable(nil, Table{{strings.Repeat("n", 300), true}, {"next", true}})
	got, err := ParseTable(b[4:])
	if err != nil || len(got) != 2 || got[0].Name != strings.Repeat("n", 255) || got[1].Name != "next" {
		t.Errorf("a name of 300 bytes: %v, %v", got, err)
	}
}

func TestTableForeignType(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an int, which has no letter, was written")
		}
	}()
	AppendTable(nil, Table{{"n", 1}})
}
