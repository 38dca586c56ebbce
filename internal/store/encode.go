package store

import "hash/crc32"

// A piece is a part of the commit's buffer, or a large part of a message that is written from where it lies.
type piece struct {
	from, to int
	ext      []byte
}

// largePart is the size from which a part of a message is not copied into the commit's buffer, bytes.
const largePart = 32 << 10

// encode makes the commit's records for f.
func (c *commit) encode(f *file) {
	c.buf, c.pieces, c.size = c.buf[:0], c.pieces[:0], 0
	from := 0 // what of buf is not in a piece yet
	ext := func(b []byte) {
		if len(c.buf) > from {
			c.pieces = append(c.pieces, piece{from: from, to: len(c.buf)})
		}
		from = len(c.buf)
		c.pieces = append(c.pieces, piece{ext: b})
		c.size += len(b)
	}
	f.off = f.end
	start := f.end
	var e entry
	note := func(size int) {
		e.off, e.size = uint32(start), uint32(size)
		f.footer.add(&e)
		start += int64(padded(size))
	}
	for _, id := range c.drops {
		e = entry{typ: typeDrop, queue: id}
		c.buf = appendPairs(c.buf, f.salt, id, typeDrop, nil)
		note(recordHeader)
	}
	for i := range c.taken {
		t := &c.taken[i]
		q := t.q
		for k := range t.ops {
			o := &t.ops[k]
			if o.skip {
				continue
			}
			m := &o.m
			h := headerOf(q.id, m)
			e = entry{
				typ: typeMessage, queue: q.id, seq: m.Seq, head: uint32(h.prefix() + len(m.Address) + len(m.Props)),
				expires: m.Expires, priority: m.Priority, flags: m.Flags, deliveries: m.Deliveries,
			}
			o.off = uint32(start)
			c.message(&h, m, f.salt, ext)
			note(h.size())
		}
		c.pairs(t.q.id, typeNote, t.notes, f.salt, &e, note)
		c.pairs(t.q.id, typeSettle, t.settles, f.salt, &e, note)
	}
	if len(c.buf) > from {
		c.pieces = append(c.pieces, piece{from: from, to: len(c.buf)})
	}
	c.size += len(c.buf)
	f.off = start
}

// message encodes one message. Large parts of its body are passed to ext and stay where they are.
func (c *commit) message(h *header, m *Message, salt uint64, ext func([]byte)) {
	at := len(c.buf)
	c.buf = append(c.buf, zeros[:recordHeader]...)
	c.buf = m.appendPrefix(c.buf)
	c.buf = append(append(c.buf, m.Address...), m.Props...)
	crc := crc32.Checksum(c.buf[at+recordHeader:], castagnoli)
	large := len(m.Body) >= largePart
	for _, p := range m.More {
		large = large || len(p) >= largePart
	}
	if !large {
		n := len(c.buf)
		c.buf = append(c.buf, m.Body...)
		for _, p := range m.More {
			c.buf = append(c.buf, p...)
		}
		crc = crc32.Update(crc, castagnoli, c.buf[n:])
		h.bodyCRC = crc
		h.put(c.buf[at:], salt)
	} else {
		crc = crc32.Update(crc, castagnoli, m.Body)
		for _, p := range m.More {
			crc = crc32.Update(crc, castagnoli, p)
		}
		h.bodyCRC = crc
		h.put(c.buf[at:], salt)
		ext(m.Body)
		for _, p := range m.More {
			ext(p)
		}
	}
	c.buf = append(c.buf, zeros[:padded(h.size())-h.size()]...)
}

var zeros [recordHeader]byte

// pairs encodes settlements or notes.
func (c *commit) pairs(queue uint64, typ uint8, all []Range, salt uint64, e *entry, note func(int)) {
	for len(all) > 0 {
		n := min(len(all), pairsMax)
		*e = entry{typ: typ, queue: queue, pairs: all[:n]}
		c.buf = appendPairs(c.buf, salt, queue, typ, all[:n])
		note(recordHeader + 16*n)
		all = all[n:]
	}
}
