package amqp

import (
	"bytes"
	"testing"
)

// panics reports whether f does.
func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestBufferSizes(t *testing.T) {
	for _, tt := range []struct {
		size, want int
		pooled     bool
	}{
		{0, 4 << 10, true}, {4096, 4 << 10, true}, {4097, 32 << 10, true}, {32 << 10, 32 << 10, true},
		{256 << 10, 256 << 10, true}, {256<<10 + 1, 256<<10 + 1, false},
	} {
		b := NewBuffer(tt.size)
		if len(b.Bytes()) != tt.want || (b.class >= 0) != tt.pooled {
			t.Errorf("NewBuffer(%d) has %d bytes, class %d", tt.size, len(b.Bytes()), b.class)
		}
		b.Release(1)
	}
}

func TestBufferCount(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		b := NewBuffer(size)
		if !b.sole() {
			t.Error("a new buffer has other holders")
		}
		b.Retain(3)
		b.Release(2)
		if b.sole() || b.refs.Load() != 2 {
			t.Errorf("%d references, want 2", b.refs.Load())
		}
		b.Release(2)
	}
	// Pooled buffers may be somebody else's after the last Release; these are not pooled, and show the misuse.
	b := NewBuffer(1 << 20)
	b.Release(1)
	if !panics(func() { b.Release(1) }) {
		t.Error("a second Release did not panic")
	}
	b = NewBuffer(1 << 20)
	b.Retain(1)
	if !panics(func() { b.Release(3) }) {
		t.Error("a Release of more than is held did not panic")
	}
	b = NewBuffer(1 << 20)
	b.Release(1)
	if !panics(func() { b.Retain(2) }) {
		t.Error("a Retain after the last Release did not panic")
	}
}

func TestBufferChecked(t *testing.T) {
	b := NewBuffer(1 << 20)
	data := b.Bytes()
	copy(data, "still here")
	b.Retain(1)
	b.Release(1)
	if string(data[:10]) != "still here" {
		t.Error("memory was overwritten while it was held")
	}
	b.Release(1)
	if overwritten := bytes.Count(data, []byte{0xDD}) == len(data); overwritten != checked {
		t.Errorf("released memory overwritten: %v, with checked = %v", overwritten, checked)
	}
}

func TestBufferMessages(t *testing.T) {
	b := NewBuffer(10)
	seen := make(map[*Message]bool)
	for i := range 5 * messagePage {
		m := NewMessage(b)
		if seen[m] {
			t.Fatalf("message %d is one that was handed out before", i)
		}
		seen[m] = true
		if m.buf != b || m.Expiration != -1 || m.Body != nil || m.Size != 0 || m.spread != nil {
			t.Fatalf("message %d is not empty: %+v", i, m)
		}
		*m = Message{buf: b, Size: i, Flags: 1, Body: b.data, spread: new(spread)}
	}
	b.reset()
	if m := NewMessage(b); m.Size != 0 || m.Flags != 0 || m.spread != nil || m.Expiration != -1 {
		t.Errorf("after reset a message is not empty: %+v", m)
	}
	b.Release(1)
	if b = NewBuffer(10); b.used != 0 {
		t.Errorf("a buffer from the pool starts with %d messages", b.used)
	}
	b.Release(1)
}
