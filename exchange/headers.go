package exchange

import (
	"encoding/binary"
	"slices"
	"strings"
	"unsafe"

	"github.com/warrenmq/warren/amqp"
)

const (
	matchArg  = "x-match"
	matchAll  = "all"
	matchAny  = "any"
	matchAllX = "all-with-x" // as all and any, but also looking at fields whose name begins with xPrefix
	matchAnyX = "any-with-x"
	xPrefix   = "x-"
)

// A headersMatcher leads a message to the bindings whose arguments are, all or any of them, among its headers. An argument
// without a value asks for the header's presence only. Spec: 3.1.3.4, with RabbitMQ's values of x-match.
//
// Instead of comparing a message with each binding, it looks bindings up. An all-binding is kept in the shape of its
// field names, under its values in canonical form; an any-binding under each of its fields alone. So a message costs a
// look-up for each shape, of which there are few, however many bindings there are.
type headersMatcher struct{ shapes hamt[*headerShape] }

// A headerShape holds the bindings that ask for the same fields.
type headerShape struct {
	fields  []headerField
	byValue hamt[*destinations]
}

type headerField struct {
	name     string
	presence bool // any value will do
}

func checkHeadersBinding(b *Binding) error {
	v, ok := b.Args.Lookup(matchArg)
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return amqp.Errorf(amqp.PreconditionFailed, "Invalid x-match field type %s (value %s); expected longstr",
			amqp.TypeName(v), erlangTerm(v))
	}
	switch s {
	case matchAll, matchAny, matchAllX, matchAnyX:
		return nil
	}
	return amqp.Errorf(amqp.PreconditionFailed, "Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x",
		erlangTerm(s))
}

func (h headersMatcher) with(b *Binding, to destination, n int64) matcher {
	match, _ := b.Args.Lookup(matchArg)
	withX := match == matchAllX || match == matchAnyX
	var fields amqp.Table
	for _, f := range b.Args {
		if f.Name != matchArg && (withX || !strings.HasPrefix(f.Name, xPrefix)) {
			fields = append(fields, f)
		}
	}
	if match == matchAny || match == matchAnyX {
		for i := range fields {
			h = h.withFields(fields[i:i+1], to, n)
		}
		return h
	}
	slices.SortStableFunc(fields, func(a, b amqp.Field) int { return strings.Compare(a.Name, b.Name) })
	return h.withFields(fields, to, n)
}

// withFields changes what a message with all of these fields goes to.
func (h headersMatcher) withFields(fields amqp.Table, to destination, n int64) headersMatcher {
	var names, values []byte
	var shape headerShape
	for _, f := range fields {
		presence := f.Value == nil
		shape.fields = append(shape.fields, headerField{f.Name, presence})
		names = appendPart(names, func(b []byte) []byte { return append(b, f.Name...) })
		if presence {
			names = append(names, '*')
			continue
		}
		names = append(names, '=')
		values = appendPart(values, func(b []byte) []byte { return appendCanonical(b, f.Value) })
	}
	if old, ok := h.shapes.at(string(names)); ok {
		shape = *old
	}
	var next destinations
	if old, ok := shape.byValue.at(string(values)); ok {
		next = *old
	}
	if next = next.with(to, n); !next.empty() {
		shape.byValue = shape.byValue.set(string(values), &next)
	} else {
		shape.byValue = shape.byValue.without(string(values))
	}
	if shape.byValue.size == 0 {
		return headersMatcher{h.shapes.without(string(names))}
	}
	return headersMatcher{h.shapes.set(string(names), &shape)}
}

func (h headersMatcher) match(r *Router, _ *Exchange, m *Msg) bool {
	matched := false
	h.shapes.each(func(s *headerShape) bool {
		values, ok := r.headers.values(m.Headers, s.fields)
		if !ok {
			return true
		}
		key := unsafe.String(unsafe.SliceData(values), len(values)) // only for the look-up: saves a copy
		if to, ok := s.byValue.at(key); ok {
			matched = r.sendAll(to) || matched
		}
		return true
	})
	return matched
}

// A headerScratch is the present message's headers, split once and only if an exchange asks.
type headerScratch struct {
	split  bool
	fields []messageField
	buf    []byte // the canonical forms made so far, each with its length in front
	key    []byte
}

type messageField struct {
	name     []byte
	kind     byte
	raw      []byte
	from, to int // its place in buf; to is 0 before it is made
}

func (s *headerScratch) reset() {
	clear(s.fields)
	s.split, s.fields, s.buf = false, s.fields[:0], s.buf[:0]
}

// values returns the canonical values of the fields in t, as withFields makes them, or false if t lacks one. They are
// valid until the next call.
func (s *headerScratch) values(t amqp.RawTable, fields []headerField) ([]byte, bool) {
	if !s.split {
		s.splitFields(t)
	}
	s.key = s.key[:0]
	for i := range fields {
		f := s.find(fields[i].name)
		if f == nil {
			return nil, false
		}
		if fields[i].presence {
			continue
		}
		s.key = append(s.key, s.canonical(t, f)...)
	}
	return s.key, true
}

// value returns the canonical value of the field of t called name.
func (s *headerScratch) value(t amqp.RawTable, name string) ([]byte, bool) {
	if !s.split {
		s.splitFields(t)
	}
	if f := s.find(name); f != nil {
		return s.canonical(t, f), true
	}
	return nil, false
}

// canonical returns the canonical value of f with its length in front.
func (s *headerScratch) canonical(t amqp.RawTable, f *messageField) []byte {
	if f.to == 0 {
		f.from = len(s.buf)
		s.buf = append(s.buf, 0, 0, 0, 0)
		s.buf = appendCanonicalField(s.buf, t, f.name, f.kind, f.raw)
		f.to = len(s.buf)
		binary.BigEndian.PutUint32(s.buf[f.from:], uint32(f.to-f.from-4))
	}
	return s.buf[f.from:f.to]
}

func (s *headerScratch) splitFields(t amqp.RawTable) {
	s.split = true
	for rest := []byte(t); ; {
		f := messageField{}
		var ok bool
		f.name, f.kind, f.raw, rest, ok = nextField(rest)
		if !ok {
			return
		}
		s.fields = append(s.fields, f)
	}
}

// find returns the first field called name, as RabbitMQ finds it where a name is there twice.
func (s *headerScratch) find(name string) *messageField {
	for i := range s.fields {
		if string(s.fields[i].name) == name {
			return &s.fields[i]
		}
	}
	return nil
}
