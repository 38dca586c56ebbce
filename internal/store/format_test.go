package store

import (
	"reflect"
	"slices"
	"testing"
)

// What a footer and a manifest say is what was put in.
func TestFooter(t *testing.T) {
	entries := []entry{
		{typ: typeMessage, queue: 7, seq: 1, size: 100, head: 20},
		{typ: typeMessage, queue: 7, seq: 2, size: 101, head: 20, expires: 1_700_000_000_000},
		{typ: typeHole, queue: 9, size: 48},
		{typ: typeSettle, queue: 7, size: 72, pairs: []Range{{1, 1}, {5, 900}}},
		{typ: typeMessage, queue: 7, seq: 4, size: 41, priority: 9, flags: 3, deliveries: 12},
		{typ: typeNote, queue: 1 << 40, size: 56, pairs: []Range{{4, 2}}},
		{typ: typeDrop, queue: 1 << 40, size: 40},
	}
	var f footer
	off := uint32(dataStart)
	for i := range entries {
		entries[i].off = off
		f.add(&entries[i])
		off += uint32(padded(int(entries[i].size)))
	}
	var got []entry
	err := eachFooter(f.b, dataStart, func(e *entry) {
		c := *e
		c.pairs = slices.Clone(e.pairs)
		got = append(got, c)
	})
	if err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, entries)
	}
}

func TestManifest(t *testing.T) {
	want := manifest{gen: 4, lastID: 9, logStart: 8, extents: []uint64{3, 5}, queues: []manifestQueue{
		{id: 1, live: []Range{{1, 1}, {3, 90}}},
		{id: 1 << 50, live: []Range{{1 << 40, 1<<40 + 5}}, counts: []Range{{1 << 40, 2}}},
	}}
	var got manifest
	b := want.encode(nil)
	if err := got.decode(append(b, 1, 2, 3)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for i := range b {
		b[i] ^= 4
		var m manifest
		if m.decode(b) == nil {
			t.Errorf("a flip in byte %d goes unnoticed", i)
		}
		b[i] ^= 4
	}
}

// No bytes make the decoders panic or run away.
func FuzzDecode(f *testing.F) {
	m := manifest{extents: []uint64{1}, queues: []manifestQueue{{id: 1, live: []Range{{1, 2}}}}}
	f.Add(m.encode(nil))
	f.Add([]byte{typeSettle, 1, 2, 1, 1, 40})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m manifest
		_ = m.decode(b)
		_ = eachFooter(b, dataStart, func(*entry) {})
		var h fileHead
		h.parse(b)
		var r header
		if r.parse(b, 0) && r.typ&typeMask == typeMessage && len(b) >= r.size() {
			var msg Message
			r.message(b[recordHeader:r.size()], &msg)
		}
	})
}
