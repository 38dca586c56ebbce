package store

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// A scanner walks the records of a file that has no footer, or not one to be believed. What no checksum vouches for it
// reports and steps over: by the record's length if its header is sound, else by looking for the next header.
type scanner struct {
	f     File
	salt  uint64
	limit int64 // records end here at the latest
	end   int64 // behind the last record, once run has returned
	err   error // the first read error

	buf []byte // of the file, from at
	at  int64
}

// damage is a part of a file that a checksum refutes.
type damage struct {
	queue, seq uint64 // whose it was, if known
	known      bool   // the header was sound: it was one record
	typ        uint8
	off, size  int64
}

const scanWindow = 1 << 20

// view returns n bytes at off, fewer at the end of the file. They are valid until the next call.
func (sc *scanner) view(off int64, n int) []byte {
	if off < sc.at || off+int64(n) > sc.at+int64(len(sc.buf)) {
		size := max(n, scanWindow)
		if cap(sc.buf) < size {
			sc.buf = make([]byte, size)
		}
		got, err := sc.f.ReadAt(sc.buf[:size], off)
		if err != nil && err != io.EOF && sc.err == nil {
			sc.err = err
		}
		sc.at, sc.buf = off, sc.buf[:got]
	}
	b := sc.buf[off-sc.at:]
	return b[:min(n, len(b))]
}

// run calls yield for each sound record and bad for each damaged part that a sound record follows, in order; torn then
// tells of what was damaged behind the last sound record.
func (sc *scanner) run(yield func(*entry), bad func(damage)) (torn []damage) {
	var ps []Range
	for off := int64(dataStart); off+recordHeader <= sc.limit; {
		var h header
		if !h.parse(sc.view(off, recordHeader), sc.salt) || off+int64(h.size()) > sc.limit {
			next := sc.find(off + recordAlign)
			if next < 0 {
				if b := sc.view(off, 4); len(b) == 4 && binary.LittleEndian.Uint32(b) == uint32(sc.salt) {
					torn = append(torn, damage{off: off})
				}
				break
			}
			torn = append(torn, damage{off: off, size: next - off})
			off = next
			continue
		}
		size := h.size()
		rec := sc.view(off, size)
		if len(rec) < size || crc32.Checksum(rec[recordHeader:], castagnoli) != h.bodyCRC {
			torn = append(torn, damage{queue: h.queue, seq: h.seq, known: true, typ: h.typ & typeMask, off: off, size: int64(padded(size))})
			off += int64(padded(size))
			continue
		}
		for _, d := range torn {
			bad(d)
			yield(&entry{typ: typeHole, queue: d.queue, off: uint32(d.off), size: uint32(d.size)})
		}
		torn = torn[:0]
		e := entry{typ: h.typ & typeMask, queue: h.queue, seq: h.seq, off: uint32(off), size: uint32(size)}
		switch e.typ {
		case typeMessage:
			var m Message
			h.message(rec[recordHeader:], &m)
			e.head = uint32(h.prefix()) + uint32(len(m.Address)+len(m.Props))
			e.expires, e.priority, e.flags, e.deliveries = m.Expires, m.Priority, m.Flags, m.Deliveries
		case typeSettle, typeNote:
			ps = pairs(ps[:0], rec[recordHeader:])
			e.pairs = ps
		}
		yield(&e)
		off += int64(padded(size))
		sc.end = off
	}
	if sc.end == 0 {
		sc.end = dataStart
	}
	return torn
}

// find returns where the next sound header lies at or behind off, -1 if nowhere.
func (sc *scanner) find(off int64) int64 {
	var mark [4]byte
	binary.LittleEndian.PutUint32(mark[:], uint32(sc.salt))
	for off+recordHeader <= sc.limit {
		b := sc.view(off, int(min(scanWindow, sc.limit-off)))
		if len(b) < recordHeader {
			return -1
		}
		for i := 0; ; {
			n := bytes.Index(b[i:len(b)-recordHeader+4], mark[:])
			if n < 0 {
				break
			}
			i += n
			var h header
			if (off+int64(i))%recordAlign == 0 && h.parse(b[i:], sc.salt) && off+int64(i+h.size()) <= sc.limit {
				return off + int64(i)
			}
			i++
		}
		off += int64(len(b)-recordHeader+recordAlign) &^ (recordAlign - 1)
	}
	return -1
}
