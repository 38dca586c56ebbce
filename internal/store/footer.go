package store

import (
	"encoding/binary"
	"errors"
)

// An entry is what a record says, without the message's bytes.
type entry struct {
	typ        uint8 // typeX without the bits
	queue, seq uint64
	off, size  uint32 // where the record lies in its file, size without padding
	head       uint32 // of a message: bytes before its content, without the header
	expires    int64
	priority   uint8
	flags      uint8
	deliveries uint32
	pairs      []Range // borrowed
}

// A footer says again, in a few bytes a record, what the records of a file say, in their order: a restart reads it in
// place of the records. Each entry is a byte of type and bits, then, as the bits tell, the queue, the sequence number,
// the record's size and the rest, as varints.
type footer struct {
	b     []byte
	queue uint64 // of the last entry
	seq   uint64 // of the last message
}

const (
	sameQueue  = 0x08 // the queue is that of the entry before
	nextSeq    = 0x10 // the message's number follows that of the message before
	withExpiry = 0x20
	withMeta   = 0x40 // priority and flags follow
	withCount  = 0x80 // deliveries follow
)

func (f *footer) reset() { f.b, f.queue, f.seq = f.b[:0], 0, 0 }

func (f *footer) add(e *entry) {
	at := len(f.b)
	tag := e.typ
	f.b = append(f.b, 0)
	if e.queue == f.queue {
		tag |= sameQueue
	} else {
		f.b = binary.AppendUvarint(f.b, e.queue)
		f.queue = e.queue
	}
	switch e.typ {
	case typeHole:
	case typeMessage:
		if tag&sameQueue != 0 && e.seq == f.seq+1 {
			tag |= nextSeq
		} else {
			f.b = binary.AppendUvarint(f.b, e.seq)
		}
		f.seq = e.seq
		f.b = binary.AppendUvarint(f.b, uint64(e.head))
		if e.expires != 0 {
			tag |= withExpiry
			f.b = binary.AppendUvarint(f.b, uint64(e.expires))
		}
		if e.priority != 0 || e.flags != 0 {
			tag |= withMeta
			f.b = append(f.b, e.priority, e.flags)
		}
		if e.deliveries != 0 {
			tag |= withCount
			f.b = binary.AppendUvarint(f.b, uint64(e.deliveries))
		}
	case typeSettle, typeNote:
		f.b = binary.AppendUvarint(f.b, uint64(len(e.pairs)))
		for _, p := range e.pairs {
			f.b = binary.AppendUvarint(f.b, p.From)
			if e.typ == typeSettle {
				p.To -= p.From
			}
			f.b = binary.AppendUvarint(f.b, p.To)
		}
	}
	f.b = binary.AppendUvarint(f.b, uint64(e.size))
	f.b[at] = tag
}

var errFooter = errors.New("store: the footer makes no sense")

// each calls yield for each entry of the footer b, whose records begin at off.
func eachFooter(b []byte, off uint32, yield func(*entry)) error {
	var e entry
	var ps []Range
	bad := false
	num := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	at := uint64(off)
	var seq uint64
	for len(b) > 0 {
		tag := b[0]
		b = b[1:]
		queue := e.queue
		e = entry{typ: tag & 0x07, queue: queue}
		if tag&sameQueue == 0 {
			e.queue = num()
		}
		switch e.typ {
		case typeHole, typeDrop:
		case typeMessage:
			if tag&nextSeq != 0 {
				seq++
			} else {
				seq = num()
			}
			e.seq = seq
			e.head = uint32(num())
			if tag&withExpiry != 0 {
				e.expires = int64(num())
			}
			if tag&withMeta != 0 {
				if len(b) < 2 {
					return errFooter
				}
				e.priority, e.flags, b = b[0], b[1], b[2:]
			}
			if tag&withCount != 0 {
				e.deliveries = uint32(num())
			}
		case typeSettle, typeNote:
			n := num()
			if n > pairsMax {
				return errFooter
			}
			ps = ps[:0]
			for range n {
				p := Range{From: num(), To: num()}
				if e.typ == typeSettle {
					p.To += p.From
				}
				ps = append(ps, p)
			}
			e.pairs = ps
		default:
			return errFooter
		}
		size := num()
		if bad || at+size > 1<<32-1 {
			return errFooter
		}
		e.off, e.size = uint32(at), uint32(size)
		at += uint64(padded(int(size)))
		yield(&e)
	}
	return nil
}
