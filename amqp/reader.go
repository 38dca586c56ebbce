package amqp

import (
	"fmt"
	"strconv"
	"strings"
)

// A Reader cuts what arrives on a connection into frames. The owner asks for Space, reads from its socket into that,
// tells Filled how much came, and takes frames with Next until there is none. The Reader is used by one goroutine.
//
// It reads into Buffers from the pool: small ones while little arrives, large ones under load, and none at all while the
// connection is idle, so that an idle connection costs no read buffer.
type Reader struct {
	buf  *Buffer
	r, w int // buf.data[r:w] has been read from the socket and not yet taken
	size int // of the next buffer, bytes

	// MaxFrame is the largest frame that Next accepts, head and end included, in bytes. RabbitMQ lets a payload be as
	// large as the whole frame may be, eight bytes over the strict limit, and so does Next.
	MaxFrame int
}

// Space returns memory to read into; it is never empty. Frames and Messages taken before are valid afterwards only if
// their Buffer was retained.
func (r *Reader) Space() []byte {
	if r.buf == nil {
		r.size = max(r.size, bufferSizes[0])
		r.buf = NewBuffer(r.size)
		r.r, r.w = 0, 0
	}
	data := r.buf.Bytes()
	switch {
	case r.r == r.w && r.buf.sole():
		r.r, r.w = 0, 0
		r.buf.reset()
	case len(data)-r.w < minSpace || r.r > 0 && r.needs() > len(data)-r.r:
		r.move()
	}
	return r.buf.Bytes()[r.w:]
}

// minSpace is the least space worth a read of its own, bytes.
const minSpace = 512

// needs returns the size of the frame that has begun to arrive, 0 if that is not known yet.
func (r *Reader) needs() int {
	if r.w-r.r < frameHead {
		return 0
	}
	p := r.buf.Bytes()[r.r:]
	size := int(p[3])<<24 | int(p[4])<<16 | int(p[5])<<8 | int(p[6])
	return size + FrameOverhead
}

// move takes the beginning of a frame over to a new buffer. A frame that is larger than any pooled buffer gets room as
// it arrives, doubling, so that each of its bytes is moved a few times at most: an announcement alone allocates nothing.
// The room for the last of it leaves minSpace, or the end of the frame would be moved once more.
func (r *Reader) move() {
	partial := r.buf.Bytes()[r.r:r.w]
	size := max(r.size, len(partial)+minSpace)
	if needs := r.needs() + minSpace; needs > size {
		size = min(needs, max(2*len(partial), bufferSizes[len(bufferSizes)-1]))
	}
	next := NewBuffer(size)
	r.w = copy(next.Bytes(), partial)
	r.r = 0
	r.buf.Release(1)
	r.buf = next
}

// Filled says that n bytes were read into the Space.
func (r *Reader) Filled(n int) {
	room := len(r.buf.Bytes()) - r.w
	r.w += n
	switch {
	case n == room && r.size < bufferSizes[len(bufferSizes)-1]:
		r.size = min(4*r.size, bufferSizes[len(bufferSizes)-1])
	case n < bufferSizes[0]/2 && r.size > bufferSizes[0]:
		r.size /= 2
	}
}

// Buffer returns the buffer that the last frame's payload lies in.
func (r *Reader) Buffer() *Buffer { return r.buf }

// Buffered returns how many bytes have been read and not yet taken.
func (r *Reader) Buffered() int { return r.w - r.r }

// Peek returns the next n bytes, or nil if fewer have arrived.
func (r *Reader) Peek(n int) []byte {
	if r.w-r.r < n {
		return nil
	}
	return r.buf.Bytes()[r.r : r.r+n]
}

// Skip takes n bytes that Peek has shown.
func (r *Reader) Skip(n int) { r.r += n }

// Rest gives the buffer back to the pool if nothing in it waits to be taken: call it before waiting for the socket.
func (r *Reader) Rest() {
	if r.buf != nil && r.r == r.w {
		r.buf.Release(1)
		r.buf = nil
	}
}

// Close gives the buffer back.
func (r *Reader) Close() {
	if r.buf != nil {
		r.buf.Release(1)
		r.buf = nil
	}
	r.r, r.w = 0, 0
}

// Next takes one frame; ok is false if no whole one has arrived. An error is a FRAME_ERROR, after which nothing can be
// taken any more. An oversize frame is refused as soon as its head is there.
func (r *Reader) Next() (f Frame, ok bool, err error) {
	if r.w-r.r < frameHead {
		return f, false, nil
	}
	p := r.buf.Bytes()[r.r:r.w]
	size := int(p[3])<<24 | int(p[4])<<16 | int(p[5])<<8 | int(p[6])
	if size > r.MaxFrame && r.MaxFrame > 0 {
		return f, false, r.frameError(p[0], nil, fmt.Sprintf("{frame_too_large,%d,%d}", size, r.MaxFrame-FrameOverhead))
	}
	if len(p) < size+FrameOverhead {
		return f, false, nil
	}
	if p[frameHead+size] != frameEnd {
		return f, false, r.frameError(p[0], p[frameHead:frameHead+size], fmt.Sprintf("{invalid_frame_end_marker,%d}", p[frameHead+size]))
	}
	r.r += size + FrameOverhead
	return Frame{p[0], ChannelID(p[1])<<8 | ChannelID(p[2]), p[frameHead : frameHead+size : frameHead+size]}, true, nil
}

// Scan calls f with each whole frame that waits to be taken, until f returns false, and takes none.
func (r *Reader) Scan(f func(Frame) bool) {
	ahead := *r
	for {
		frame, ok, err := ahead.Next()
		if !ok || err != nil || !f(frame) {
			return
		}
	}
}

// Full reports whether there is no room to read more without frames being taken.
func (r *Reader) Full() bool {
	return r.buf != nil && r.w-r.r > len(r.buf.Bytes())-minSpace && r.w-r.r >= bufferSizes[len(bufferSizes)-1]-minSpace
}

// frameError words a fault as RabbitMQ does: with the frame's type and the first octets of its payload.
func (r *Reader) frameError(kind uint8, payload []byte, reason string) *Error {
	which := "all"
	if len(payload) > 16 {
		payload, which = payload[:16], "first 16"
	}
	return Errorf(FrameError, "type %d, %s octets = <<%s>>: %s", kind, which, erlangBinary(payload), reason)
}

// Fault returns an error that describes f as RabbitMQ does: its type and the first octets of its payload, then reason.
func (f Frame) Fault(code Code, reason string) *Error {
	e := new(Reader).frameError(f.Type, f.Payload, reason)
	e.Code = code
	if reason == "" {
		e.Text = strings.TrimSuffix(e.Text, ": ")
	}
	return e
}

// erlangBinary writes b as Erlang prints the inside of a binary: quoted if it is text, as numbers if not.
func erlangBinary(b []byte) string {
	const escaped, letters = "\"\\\b\t\n\v\f\r\x1b", `"\btnvfre`
	var text, numbers strings.Builder
	isText := len(b) > 0
	for i, c := range b {
		if at := strings.IndexByte(escaped, c); at >= 0 {
			text.WriteByte('\\')
			text.WriteByte(letters[at])
		} else {
			isText = isText && ' ' <= c && c <= '~'
			text.WriteByte(c)
		}
		if i > 0 {
			numbers.WriteByte(',')
		}
		numbers.WriteString(strconv.Itoa(int(c)))
	}
	if isText {
		return `"` + text.String() + `"`
	}
	return numbers.String()
}
