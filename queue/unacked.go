package queue

// unacked holds the deliveries that wait for an acknowledgement, in slots that are used again: a Handle is a slot's number
// and a generation that tells its uses apart. Those of one session form a list, so that they can be found when it ends.
type unacked struct {
	slots []delivery
	free  uint32 // 1 + the first unused slot, 0 if there is none
	gen   uint32 // of the newest delivery
	n     int
	bytes int64
}

type delivery struct {
	item
	consumer   *Consumer // nil for basic.get
	member     *member
	gen        uint32
	prev, next uint32 // 1 + a slot, in the member's list; next also links unused slots
	used       bool
}

// A member is a session that consumes from the queue or holds deliveries of it.
type member struct {
	session   Session
	consumers int
	first     uint32 // 1 + a slot
	last      uint32
	unacked   int
}

func (u *unacked) add(it item, m *member, c *Consumer) Handle {
	if u.free == 0 {
		u.slots = append(u.slots, delivery{})
		u.free = uint32(len(u.slots))
	}
	slot := u.free
	d := &u.slots[slot-1]
	u.free = d.next
	u.gen++
	gen := u.gen
	*d = delivery{item: it, consumer: c, member: m, gen: gen, prev: m.last, used: true}
	if m.last != 0 {
		u.slots[m.last-1].next = slot
	} else {
		m.first = slot
	}
	m.last = slot
	m.unacked++
	u.n++
	u.bytes += int64(it.msg.Size)
	return Handle{slot, gen}
}

// rest gives memory back when nothing is held and nobody uses the queue.
func (u *unacked) rest() {
	if len(u.slots) > 8 {
		u.slots, u.free = nil, 0
	}
}

// take removes the delivery that h names; ok is false if it is settled already.
func (u *unacked) take(h Handle) (d delivery, ok bool) {
	if h.slot == 0 || int(h.slot) > len(u.slots) {
		return d, false
	}
	p := &u.slots[h.slot-1]
	if !p.used || p.gen != h.gen {
		return d, false
	}
	d = *p
	if p.prev != 0 {
		u.slots[p.prev-1].next = p.next
	} else {
		p.member.first = p.next
	}
	if p.next != 0 {
		u.slots[p.next-1].prev = p.prev
	} else {
		p.member.last = p.prev
	}
	p.member.unacked--
	*p = delivery{next: u.free}
	u.free = h.slot
	u.n--
	u.bytes -= int64(d.msg.Size)
	if u.n == 0 && len(u.slots) > 1024 {
		u.slots, u.free = nil, 0
	}
	return d, true
}

// handles returns the handles of all of m's deliveries, oldest first.
func (u *unacked) handles(m *member) []Handle {
	out := make([]Handle, 0, m.unacked)
	for slot := m.first; slot != 0; slot = u.slots[slot-1].next {
		out = append(out, Handle{slot, u.slots[slot-1].gen})
	}
	return out
}
