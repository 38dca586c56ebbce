package amqp

import (
	"sync"
	"sync/atomic"
)

// bufferSizes are the sizes that are pooled, in bytes. The largest holds two frames of RabbitMQ's default frame_max, so
// that the frames of a large body follow each other in buffers without being moved.
var bufferSizes = [...]int{4 << 10, 32 << 10, 256 << 10}

var bufferPools [len(bufferSizes)]sync.Pool

// A Buffer is a block of memory with a count of its references, and the Messages that are slices of it. It is filled once
// and not changed while anybody but its maker holds a reference. When the count reaches zero it goes back to a pool;
// below zero is a bug of a holder, and panics.
type Buffer struct {
	data  []byte
	refs  atomic.Int32
	class int8 // index of bufferSizes, -1 if not pooled

	// owned by the maker
	pages [][]Message
	used  int // Messages handed out
}

// messagePage is how many Messages are allocated at a time.
const messagePage = 16

// NewBuffer returns a buffer of at least size bytes with one reference, the caller's.
func NewBuffer(size int) *Buffer {
	class := int8(-1)
	for i, s := range bufferSizes {
		if size <= s {
			class = int8(i)
			break
		}
	}
	if class >= 0 {
		if b, _ := bufferPools[class].Get().(*Buffer); b != nil {
			b.refs.Store(1)
			b.used = 0
			return b
		}
		size = bufferSizes[class]
	}
	b := &Buffer{data: make([]byte, size), class: class}
	b.refs.Store(1)
	return b
}

// Bytes returns the buffer's memory.
func (b *Buffer) Bytes() []byte { return b.data }

// Retain adds n references.
func (b *Buffer) Retain(n int32) {
	if b.refs.Add(n) <= n {
		panic("amqp: a buffer was retained after its release")
	}
}

// Release gives n references back.
func (b *Buffer) Release(n int32) {
	left := b.refs.Add(-n)
	if left > 0 {
		return
	}
	if left < 0 {
		panic("amqp: a buffer was released more often than retained")
	}
	if checked {
		for i := range b.data {
			b.data[i] = 0xDD
		}
	}
	if b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}

// sole reports whether the caller's reference is the only one.
func (b *Buffer) sole() bool { return b.refs.Load() == 1 }

// reset lets a sole holder fill b again.
func (b *Buffer) reset() { b.used = 0 }

// newMessage returns a Message that lives as long as b. Only b's maker may call it.
func (b *Buffer) newMessage() *Message {
	page, i := b.used/messagePage, b.used%messagePage
	if page == len(b.pages) {
		b.pages = append(b.pages, make([]Message, messagePage))
	}
	b.used++
	m := &b.pages[page][i]
	*m = Message{Expiration: -1, buf: b}
	return m
}
