package amqp

import (
	"encoding/binary"
	"math"
)

// MaxTableDepth is how deep tables and arrays may nest. RabbitMQ has no limit of its own; a client that needs more than
// this is attacking the stack.
const MaxTableDepth = 64

// A Table is a field table in wire order. Names may repeat on the wire; Lookup finds the first, as RabbitMQ does.
//
// Values have one Go type for each of RabbitMQ's type letters:
//
//	t bool    b int8   B uint8   s int16   u uint16   I int32   i uint32   l int64 (L is read as l)
//	f float32   d float64   D Decimal   S string   x []byte   T Timestamp   A Array   F Table   V nil
//
// Spec: 4.2.5.5, with the letters that RabbitMQ and its clients use in place of the specification's.
type Table []Field

// A Field is one entry of a Table.
type Field struct {
	Name  string // at most 255 bytes
	Value any
}

// An Array is a field array: values of any of a Table's types.
type Array []any

// A Timestamp is seconds since the Unix epoch. Spec: 4.2.5.4.
type Timestamp uint64

// A Decimal is Value divided by ten to the power of Scale.
type Decimal struct {
	Scale uint8
	Value int32
}

// Lookup returns the value of the first field called name.
func (t Table) Lookup(name string) (any, bool) {
	for i := range t {
		if t[i].Name == name {
			return t[i].Value, true
		}
	}
	return nil, false
}

// With returns a table in which name has the value v: in its old place, or at the end. t itself is not changed.
func (t Table) With(name string, v any) Table {
	out := make(Table, len(t), len(t)+1)
	copy(out, t)
	for i := range out {
		if out[i].Name == name {
			out[i].Value = v
			return out
		}
	}
	return append(out, Field{name, v})
}

// Without returns a table that lacks name. t itself is not changed.
func (t Table) Without(name string) Table {
	out := make(Table, 0, len(t))
	for _, f := range t {
		if f.Name != name {
			out = append(out, f)
		}
	}
	return out
}

// Int returns v as an int64 if it is an integer of any width.
func Int(v any) (int64, bool) {
	switch n := v.(type) {
	case int8:
		return int64(n), true
	case uint8:
		return int64(n), true
	case int16:
		return int64(n), true
	case uint16:
		return int64(n), true
	case int32:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int64:
		return n, true
	}
	return 0, false
}

// TypeName returns RabbitMQ's name of v's type, as its reply texts print it.
func TypeName(v any) string {
	switch v.(type) {
	case bool:
		return "bool"
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case int64:
		return "long"
	case float32:
		return "float"
	case float64:
		return "double"
	case Decimal:
		return "decimal"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case Timestamp:
		return "timestamp"
	case Array:
		return "array"
	case Table:
		return "table"
	}
	return "void"
}

// AppendTable appends t with its length in front. Names longer than 255 bytes are cut.
func AppendTable(b []byte, t Table) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := range t {
		b = appendShortstr(b, t[i].Name)
		b = appendValue(b, t[i].Value)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendValue appends v's type letter and v. A Go type outside the list of Table is a bug of the caller.
func appendValue(b []byte, v any) []byte {
	be := binary.BigEndian
	switch n := v.(type) {
	case nil:
		return append(b, 'V')
	case bool:
		if n {
			return append(b, 't', 1)
		}
		return append(b, 't', 0)
	case int8:
		return append(b, 'b', byte(n))
	case uint8:
		return append(b, 'B', n)
	case int16:
		return be.AppendUint16(append(b, 's'), uint16(n))
	case uint16:
		return be.AppendUint16(append(b, 'u'), n)
	case int32:
		return be.AppendUint32(append(b, 'I'), uint32(n))
	case uint32:
		return be.AppendUint32(append(b, 'i'), n)
	case int64:
		return be.AppendUint64(append(b, 'l'), uint64(n))
	case float32:
		return be.AppendUint32(append(b, 'f'), math.Float32bits(n))
	case float64:
		return be.AppendUint64(append(b, 'd'), math.Float64bits(n))
	case Decimal:
		return be.AppendUint32(append(b, 'D', n.Scale), uint32(n.Value))
	case string:
		return append(be.AppendUint32(append(b, 'S'), uint32(len(n))), n...)
	case []byte:
		return append(be.AppendUint32(append(b, 'x'), uint32(len(n))), n...)
	case Timestamp:
		return be.AppendUint64(append(b, 'T'), uint64(n))
	case Array:
		b = append(b, 'A')
		at := len(b)
		b = append(b, 0, 0, 0, 0)
		for _, e := range n {
			b = appendValue(b, e)
		}
		be.PutUint32(b[at:], uint32(len(b)-at-4))
		return b
	case Table:
		return AppendTable(append(b, 'F'), n)
	}
	panic("amqp: a table holds a value of a type that has no letter: " + TypeName(v))
}

// ParseTable reads a table of which b holds the contents, without the length in front. Strings are copied out of b.
func ParseTable(b []byte) (Table, error) {
	r := reader{rest: b}
	t := r.tableBody(0)
	return t, r.err
}

func (r *reader) table() Table {
	n := r.long()
	sub := reader{rest: r.take(uint64(n)), err: r.err}
	t := sub.tableBody(0)
	r.fail(sub.err)
	return t
}

// tableBody reads fields until r is empty.
func (r *reader) tableBody(depth int) Table {
	if depth > MaxTableDepth {
		r.fail(Errorf(SyntaxError, "tables nest deeper than %d", MaxTableDepth))
		return nil
	}
	var t Table
	for r.err == nil && len(r.rest) > 0 {
		name := r.shortstr()
		v := r.value(depth)
		if r.err == nil {
			t = append(t, Field{name, v})
		}
	}
	return t
}

func (r *reader) value(depth int) any {
	kind := r.octet()
	switch kind {
	case 't':
		return r.octet() != 0
	case 'b':
		return int8(r.octet())
	case 'B':
		return r.octet()
	case 's':
		return int16(r.short())
	case 'u':
		return r.short()
	case 'I':
		return int32(r.long())
	case 'i':
		return r.long()
	case 'l', 'L':
		return int64(r.longlong())
	case 'f':
		return math.Float32frombits(r.long())
	case 'd':
		return math.Float64frombits(r.longlong())
	case 'D':
		return Decimal{Scale: r.octet(), Value: int32(r.long())}
	case 'S':
		return r.longstr()
	case 'x':
		return append([]byte{}, r.take(uint64(r.long()))...)
	case 'T':
		return Timestamp(r.longlong())
	case 'V':
		return nil
	case 'A':
		sub := reader{rest: r.take(uint64(r.long())), err: r.err}
		a := Array{}
		if depth >= MaxTableDepth {
			sub.fail(Errorf(SyntaxError, "tables nest deeper than %d", MaxTableDepth))
		}
		for sub.err == nil && len(sub.rest) > 0 {
			if v := sub.value(depth + 1); sub.err == nil {
				a = append(a, v)
			}
		}
		r.fail(sub.err)
		return a
	case 'F':
		sub := reader{rest: r.take(uint64(r.long())), err: r.err}
		t := sub.tableBody(depth + 1)
		if t == nil {
			t = Table{}
		}
		r.fail(sub.err)
		return t
	}
	if r.err == nil {
		r.fail(Errorf(SyntaxError, "unknown field type %d", kind))
	}
	return nil
}

// A RawTable is the contents of a field table as they came, without the length in front: for looking at one field of
// many messages without decoding, or allocating for, the rest. It is valid as long as the frame it is a slice of.
type RawTable []byte

// Lookup returns the type letter and the undecoded value of the first field called name; for S and x the value is the
// string itself, for A and F the contents, without their lengths. ok is false if there is none or t is damaged before it.
func (t RawTable) Lookup(name string) (kind byte, value []byte, ok bool) {
	r := reader{rest: t}
	for r.err == nil && len(r.rest) > 0 {
		field := r.shortBytes()
		kind, value = r.rawValue()
		if r.err == nil && string(field) == name {
			return kind, value, true
		}
	}
	return 0, nil, false
}

// Value decodes the first field called name, which must be a table's value as in Table.
func (t RawTable) Value(name string) (any, bool) {
	r := reader{rest: t}
	for r.err == nil && len(r.rest) > 0 {
		field := r.shortBytes()
		if r.err == nil && string(field) == name {
			v := r.value(0)
			return v, r.err == nil
		}
		r.rawValue()
	}
	return nil, false
}

// Table decodes all of t. A damaged table yields the fields before the damage.
func (t RawTable) Table() Table {
	out, _ := ParseTable(t)
	return out
}

// Check walks all of t, nested tables too, and allocates nothing.
func (t RawTable) Check() error { return t.check(0) }

func (t RawTable) check(depth int) error {
	if depth > MaxTableDepth {
		return Errorf(SyntaxError, "tables nest deeper than %d", MaxTableDepth)
	}
	r := reader{rest: t}
	for r.err == nil && len(r.rest) > 0 {
		r.shortBytes()
		r.checkValue(depth)
	}
	return r.err
}

func (r *reader) checkValue(depth int) {
	kind, value := r.rawValue()
	if r.err != nil {
		return
	}
	switch kind {
	case 'F':
		r.fail(RawTable(value).check(depth + 1))
	case 'A':
		if depth >= MaxTableDepth {
			r.fail(Errorf(SyntaxError, "tables nest deeper than %d", MaxTableDepth))
			return
		}
		sub := reader{rest: value}
		for sub.err == nil && len(sub.rest) > 0 {
			sub.checkValue(depth + 1)
		}
		r.fail(sub.err)
	}
}

// rawValue skips one value and returns its letter and bytes.
func (r *reader) rawValue() (kind byte, value []byte) {
	kind = r.octet()
	switch kind {
	case 't', 'b', 'B':
		return kind, r.take(1)
	case 's', 'u':
		return kind, r.take(2)
	case 'I', 'i', 'f':
		return kind, r.take(4)
	case 'l', 'L', 'd', 'T':
		return kind, r.take(8)
	case 'D':
		return kind, r.take(5)
	case 'S', 'x', 'A', 'F':
		return kind, r.take(uint64(r.long()))
	case 'V':
		return kind, nil
	}
	if r.err == nil {
		r.fail(Errorf(SyntaxError, "unknown field type %d", kind))
	}
	return kind, nil
}
