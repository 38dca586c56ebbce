package amqp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// A kept frame is a copy of one that a Reader gave.
type kept struct {
	Type    uint8
	Channel ChannelID
	Payload string
}

// drain takes all frames that have arrived.
func drain(t testing.TB, r *Reader) []kept {
	t.Helper()
	var out []kept
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return out
		}
		out = append(out, kept{f.Type, f.Channel, string(f.Payload)})
	}
}

// arrive gives r what fits of b, at most n bytes, and returns the rest.
func arrive(t testing.TB, r *Reader, b []byte, n int) []byte {
	t.Helper()
	space := r.Space()
	if len(space) == 0 {
		t.Fatal("Space is empty")
	}
	n = copy(space, b[:min(n, len(b))])
	r.Filled(n)
	return b[n:]
}

func equalFrames(t *testing.T, what string, got, want []kept) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d frames, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: frame %d is type %d, channel %d, %d bytes %.40q; want type %d, channel %d, %d bytes %.40q", what, i,
				got[i].Type, got[i].Channel, len(got[i].Payload), got[i].Payload,
				want[i].Type, want[i].Channel, len(want[i].Payload), want[i].Payload)
		}
	}
}

// pattern returns n bytes that differ from those at any near offset.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8) ^ seed
	}
	return b
}

func TestReaderCutAnywhere(t *testing.T) {
	var all []byte
	all = AppendMethod(all, 1, &BasicPublish{Exchange: "x", RoutingKey: "k"})
	all = AppendFrame(all, FrameHeader, 65535, AppendHeader(nil, &everyProperty, 3))
	all = AppendFrame(all, FrameBody, 1, []byte{frameEnd, frameEnd, 3})
	all = AppendHeartbeat(all)
	all = AppendFrame(all, FrameBody, 1, nil)
	var whole Reader
	if rest := arrive(t, &whole, all, len(all)); len(rest) > 0 {
		t.Fatal("the sample does not fit into one read")
	}
	want := drain(t, &whole)
	if len(want) != 5 {
		t.Fatalf("%d frames, want 5", len(want))
	}
	for cut := range all {
		var r Reader
		arrive(t, &r, all[:cut], cut)
		got := drain(t, &r)
		r.Rest()
		arrive(t, &r, all[cut:], len(all))
		equalFrames(t, fmt.Sprintf("cut at %d", cut), append(got, drain(t, &r)...), want)
		if r.Buffered() != 0 {
			t.Errorf("cut at %d: %d bytes are left", cut, r.Buffered())
		}
		r.Close()
	}
}

// sample returns a stream of n frames, small ones and such as are larger than the pooled buffers, and the frames.
func sample(rnd *rand.Rand, n int) (stream []byte, frames []kept) {
	for i := range n {
		size := rnd.IntN([]int{20, 20, 300, 5000, 40000, 300000}[rnd.IntN(6)])
		payload := pattern(size, byte(i))
		ch := ChannelID(rnd.Uint32())
		stream = AppendFrame(stream, FrameBody, ch, payload)
		frames = append(frames, kept{FrameBody, ch, string(payload)})
	}
	return stream, frames
}

func TestReaderRandomPieces(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		stream, want := sample(rnd, 40)
		var r Reader
		var got []kept
		most := []int{10, 1000, 100000, 1 << 20}[seed%4]
		if most == 10 {
			stream = stream[:0]
			want = nil
			for range 50 {
				s, f := sample(rnd, 1)
				if len(s) < 5000 {
					stream, want = append(stream, s...), append(want, f...)
				}
			}
		}
		for len(stream) > 0 {
			stream = arrive(t, &r, stream, 1+rnd.IntN(most))
			got = append(got, drain(t, &r)...)
			if rnd.IntN(3) == 0 {
				r.Rest()
			}
		}
		equalFrames(t, fmt.Sprintf("seed %d", seed), got, want)
		r.Close()
	}
}

// TestReaderRetained checks that what was retained stays as it was while the Reader goes on, whatever becomes of its
// buffers. Built with the tag checked, released memory is overwritten, which this would see.
func TestReaderRetained(t *testing.T) {
	type held struct {
		buf     *Buffer
		payload []byte
		want    string
	}
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		stream, frames := sample(rnd, 60)
		var ends []int // of the frames, as bytes that are left behind them
		for left := len(stream); len(frames) > 0; frames = frames[1:] {
			left -= len(frames[0].Payload) + FrameOverhead
			ends = append(ends, left)
		}
		var r Reader
		var all []held
		release := func(i int) {
			if string(all[i].payload) != all[i].want {
				t.Fatalf("seed %d: a retained payload changed", seed)
			}
			all[i].buf.Release(1)
			all = append(all[:i], all[i+1:]...)
		}
		for len(stream) > 0 {
			for ends[0] >= len(stream) {
				ends = ends[1:]
			}
			n := len(stream) - ends[0] // just the frame: nothing is left to take while something is held
			if rnd.IntN(2) == 0 {
				n = 1 + rnd.IntN(50000)
			}
			stream = arrive(t, &r, stream, n)
			for {
				f, ok, err := r.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if rnd.IntN(2) == 0 {
					r.Buffer().Retain(1)
					all = append(all, held{r.Buffer(), f.Payload, string(f.Payload)})
				}
			}
			for len(all) > 0 && rnd.IntN(3) > 0 {
				release(rnd.IntN(len(all)))
			}
			if rnd.IntN(4) == 0 {
				r.Rest()
			}
		}
		r.Close()
		for len(all) > 0 {
			release(0)
		}
	}
}

func TestReaderFaults(t *testing.T) {
	long := "abcdefghijklmnopqrstuvwxyz"
	for _, tt := range []struct {
		name     string
		maxFrame int
		bytes    string
		want     string // "" if there is no fault
	}{
		{"a payload as large as the whole frame may be", 26, "\x01\x00\x01\x00\x00\x00\x1a" + long + "\xce", ""},
		{"a byte more", 25, "\x01\x00\x01\x00\x00\x00\x1a" + long + "\xce",
			"FRAME_ERROR - type 1, all octets = <<>>: {frame_too_large,26,17}"},
		{"oversize, as soon as announced", 131072, "\x03\x00\x01\x00\x03\x0d\x40",
			"FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064}"},
		{"oversize, with some of the payload", 131072, "\x03\x00\x01\x00\x03\x0d\x40abc",
			"FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064}"},
		{"the largest announcement", 131072, "\x03\x00\x01\xff\xff\xff\xff",
			"FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4294967295,131064}"},
		{"no limit", 0, "\x03\x00\x01\xff\xff\xff\xff", ""},
		{"a wrong end", 0, "\x01\x00\x01\x00\x00\x00\x06\x00\x01\x02abc\x07",
			"FRAME_ERROR - type 1, all octets = <<0,1,2,97,98,99>>: {invalid_frame_end_marker,7}"},
		{"a wrong end of an empty frame", 0, "\x01\x00\x01\x00\x00\x00\x00\x07",
			"FRAME_ERROR - type 1, all octets = <<>>: {invalid_frame_end_marker,7}"},
		{"a wrong end after text", 0, "\x01\x00\x01\x00\x00\x00\x03abc\x00",
			`FRAME_ERROR - type 1, all octets = <<"abc">>: {invalid_frame_end_marker,0}`},
		{"a wrong end after a long text", 0, "\x01\x00\x01\x00\x00\x00\x1a" + long + "\x07",
			`FRAME_ERROR - type 1, first 16 octets = <<"abcdefghijklmnop">>: {invalid_frame_end_marker,7}`},
		{"a wrong end after text with escapes", 0, "\x01\x00\x01\x00\x00\x00\x06a\"\\\n\tb\x07",
			`FRAME_ERROR - type 1, all octets = <<"a\"\\\n\tb">>: {invalid_frame_end_marker,7}`},
	} {
		r := Reader{MaxFrame: tt.maxFrame}
		arrive(t, &r, []byte(tt.bytes), len(tt.bytes))
		_, _, err := r.Next()
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s:\n got %v\nwant %s", tt.name, err, tt.want)
		}
		if _, ok, again := r.Next(); err != nil && (ok || again == nil) {
			t.Errorf("%s: the fault is forgotten", tt.name)
		}
		r.Close()
	}
}

// TestReaderAnnouncement checks that a frame gets memory as it comes, not as it is announced.
func TestReaderAnnouncement(t *testing.T) {
	head := appendFrameHead(nil, FrameBody, 1, 1<<31)
	var r Reader
	arrive(t, &r, head, len(head))
	drain(t, &r)
	piece := pattern(4096, 1)
	for came := len(head); came < 4<<20; came += len(piece) {
		if size := len(r.Space()) + r.Buffered(); size > max(2*came, bufferSizes[len(bufferSizes)-1])+minSpace {
			t.Fatalf("after %d bytes of an announced 2 GiB the buffer has %d", came, size)
		}
		if rest := arrive(t, &r, piece, len(piece)); len(rest) > 0 {
			arrive(t, &r, rest, len(rest))
		}
		drain(t, &r)
	}
	r.Close()
}

// TestReaderMoves counts how often what has come of a large frame is copied: as often as memory is doubled, however
// small the reads are and wherever the frame ends.
func TestReaderMoves(t *testing.T) {
	for _, size := range []int{3000, 4096 - FrameOverhead, 200 << 10, 256<<10 - FrameOverhead, 256<<10 - 100, 4<<20 + 1} {
		payload := pattern(size, 9)
		stream := AppendFrame(nil, FrameBody, 1, payload)
		var r Reader
		var got []kept
		moves, last := 0, (*Buffer)(nil)
		for len(stream) > 0 {
			stream = arrive(t, &r, stream, 1000)
			if b := r.Buffer(); b != last && last != nil {
				moves++
			}
			last = r.Buffer()
			got = append(got, drain(t, &r)...)
		}
		equalFrames(t, fmt.Sprint(size), got, []kept{{FrameBody, 1, string(payload)}})
		if moves > 8 {
			t.Errorf("a frame of %d bytes was moved %d times", size, moves)
		}
		r.Close()
	}
}

// TestReaderSizes checks that load never makes the Reader ask for buffers that are not pooled.
func TestReaderSizes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	var r Reader
	frame := AppendFrame(nil, FrameBody, 1, pattern(1000, 1))
	stream := bytes.Repeat(frame, 1200)
	seen := make(map[int]bool)
	for range 2000 {
		n := len(stream)
		if rnd.IntN(3) == 0 {
			n = 1 + rnd.IntN(100)
		}
		arrive(t, &r, stream, n)
		r.r = r.w // taken, whatever it was
		seen[len(r.Buffer().Bytes())] = true
		r.Rest()
	}
	r.Close()
	for _, size := range bufferSizes {
		if !seen[size] {
			t.Errorf("buffers of %d bytes were never used", size)
		}
		delete(seen, size)
	}
	if len(seen) > 0 {
		t.Errorf("buffers of other than the pooled sizes: %v", seen)
	}
}

func TestReaderRest(t *testing.T) {
	var r Reader
	r.Rest()
	frame := AppendHeartbeat(nil)
	arrive(t, &r, append(frame, 8), 9)
	b := r.Buffer()
	drain(t, &r)
	if r.Rest(); r.Buffer() != b {
		t.Error("Rest gave back a buffer with the beginning of a frame")
	}
	arrive(t, &r, frame[1:], len(frame))
	if got := drain(t, &r); len(got) != 1 {
		t.Errorf("%d frames after Rest, want 1", len(got))
	}
	b.Retain(1)
	if r.Rest(); r.Buffer() != nil {
		t.Error("Rest keeps an empty buffer")
	}
	if n := b.refs.Load(); n != 1 {
		t.Errorf("after Rest the buffer has %d references, want the one retained", n)
	}
	b.Release(1)
	arrive(t, &r, frame, len(frame))
	b = r.Buffer()
	b.Retain(1)
	r.Close()
	r.Close()
	if n := b.refs.Load(); n != 1 || r.Buffer() != nil || r.Buffered() != 0 {
		t.Errorf("after Close: %d references, %d bytes buffered", n, r.Buffered())
	}
	b.Release(1)
}

// TestReaderScan looks at frames that are not taken: nothing is lost, and Full says when to stop reading.
func TestReaderScan(t *testing.T) {
	var r Reader
	if r.Full() {
		t.Error("a new Reader is full")
	}
	r.Scan(func(Frame) bool { t.Error("Scan finds a frame before any has come"); return false })
	frame := AppendFrame(nil, FrameBody, 1, pattern(1000, 1))
	came := 0
	for rest := []byte(nil); !r.Full(); came += len(frame) {
		for rest = frame; len(rest) > 0; {
			rest = arrive(t, &r, rest, 700)
		}
		if came > bufferSizes[len(bufferSizes)-1] {
			t.Fatalf("not full with %d bytes waiting", r.Buffered())
		}
	}
	n, first := 0, 0
	r.Scan(func(f Frame) bool { n++; return true })
	r.Scan(func(f Frame) bool { first++; return false })
	if got := len(drain(t, &r)); n != came/len(frame) || first != 1 || got != n {
		t.Errorf("Scan shows %d frames, %d until told to stop; %d came and %d were taken", n, first, came/len(frame), got)
	}
	if r.Full() || r.Buffered() != 0 {
		t.Errorf("with all taken, %d bytes wait, full: %v", r.Buffered(), r.Full())
	}
	r.Close()
}

func TestReaderPeek(t *testing.T) {
	var r Reader
	if r.Peek(1) != nil {
		t.Error("Peek shows a byte before any has come")
	}
	stream := AppendHeartbeat([]byte(ProtocolHeader))
	arrive(t, &r, stream, 3)
	if b := r.Peek(8); b != nil {
		t.Errorf("Peek(8) = %q with 3 bytes there", b)
	}
	arrive(t, &r, stream[3:], len(stream))
	if b := r.Peek(8); string(b) != ProtocolHeader {
		t.Errorf("Peek(8) = %q", b)
	}
	r.Skip(8)
	if got := drain(t, &r); len(got) != 1 || got[0].Type != FrameHeartbeat {
		t.Errorf("after Skip: %v", got)
	}
	r.Close()
}
