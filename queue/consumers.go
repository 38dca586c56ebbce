package queue

import (
	"cmp"
	"slices"

	"github.com/warrenmq/warren/amqp"
)

// consumers are a queue's consumers and whose turn it is.
type consumers struct {
	all    []*Consumer // in order of registration
	groups []*group    // by priority, highest first
	active *Consumer   // of a queue with a single active consumer

	starved []*Consumer // whose sessions have to resume the queue, in the order in which they were refused
}

// A group is the consumers of one priority that can take a message, in the order of their turns.
type group struct {
	priority    int32
	first, last *Consumer
}

func (cs *consumers) group(priority int32) *group {
	i, found := slices.BinarySearchFunc(cs.groups, priority, func(g *group, p int32) int { return cmp.Compare(p, g.priority) })
	if !found {
		cs.groups = slices.Insert(cs.groups, i, &group{priority: priority})
	}
	return cs.groups[i]
}

// enter puts c at the end of its group's turns, if it can take a message and is not among them.
func (cs *consumers) enter(c *Consumer) {
	if c.ready || c.blocked {
		return
	}
	g := c.group
	c.ready, c.next = true, nil
	if g.last != nil {
		g.last.next = c
	} else {
		g.first = c
	}
	g.last = c
}

// leave takes c out of the turns.
func (cs *consumers) leave(c *Consumer) {
	if !c.ready {
		return
	}
	g := c.group
	var before *Consumer
	for p := g.first; p != c; p = p.next {
		before = p
	}
	if before != nil {
		before.next = c.next
	} else {
		g.first = c.next
	}
	if g.last == c {
		g.last = before
	}
	c.ready, c.next = false, nil
}

// turn returns the consumer whose turn it is and takes it out of the turns; nil if nobody can take a message.
func (cs *consumers) turn(single bool) *Consumer {
	if single {
		if c := cs.active; c != nil && c.ready {
			cs.leave(c)
			return c
		}
		return nil
	}
	for _, g := range cs.groups {
		if c := g.first; c != nil {
			g.first = c.next
			if g.first == nil {
				g.last = nil
			}
			c.ready, c.next = false, nil
			return c
		}
	}
	return nil
}

// starve keeps c, which is out of the turns, from taking any until its session resumes the queue.
func (cs *consumers) starve(c *Consumer) {
	c.blocked, c.starved = true, true
	cs.starved = append(cs.starved, c)
}

// remove takes c out for good: what it still settles does not bring it back.
func (cs *consumers) remove(c *Consumer) {
	cs.leave(c)
	c.gone = true
	if c.starved {
		cs.starved = slices.DeleteFunc(cs.starved, func(o *Consumer) bool { return o == c })
	}
	cs.all = slices.DeleteFunc(cs.all, func(o *Consumer) bool { return o == c })
	if !slices.ContainsFunc(cs.all, func(o *Consumer) bool { return o.Priority == c.Priority }) {
		cs.groups = slices.DeleteFunc(cs.groups, func(g *group) bool { return g == c.group })
	}
	if cs.active == c {
		cs.active = nil
		for _, o := range cs.all { // the next is the first of the highest priority
			if cs.active == nil || o.Priority > cs.active.Priority {
				cs.active = o
			}
		}
	}
}

// nextConsumer returns a consumer that can take a message of the given size now, with a place in its session's prefetch
// taken if it acknowledges; nil if there is none.
func (s *state) nextConsumer(out *effects) *Consumer {
	for {
		c := s.consumers.turn(s.cfg.SingleActive)
		if c == nil {
			return nil
		}
		if c.room <= 0 {
			flushConsumer(c)
			if c.room = c.Session.Room(c); c.room <= 0 {
				s.consumers.starve(c)
				continue
			}
		}
		if !c.NoAck && !c.Session.Acquire(c) {
			s.consumers.starve(c)
			continue
		}
		return c
	}
}

// unblock lets c take its turns again if its own prefetch allows it.
func (s *state) unblock(c *Consumer) {
	if c.blocked && !c.starved && !c.gone && (c.Prefetch == 0 || c.unacked < c.Prefetch) {
		c.blocked = false
		s.consumers.enter(c)
		s.dirty = true
	}
}

// resume lets the consumers for which their sessions had no room or no place try again, in the order in which they were
// refused.
func (s *state) resume() {
	starved := s.consumers.starved
	for i, c := range starved {
		c.starved = false
		s.unblock(c)
		starved[i] = nil
	}
	s.consumers.starved = starved[:0]
}

// consume adds a consumer.
func (s *state) consume(c *Consumer) error {
	if len(s.consumers.all) > 0 && (c.Exclusive || s.consumers.all[0].Exclusive) || c.Exclusive && s.cfg.SingleActive {
		return amqp.Errorf(amqp.AccessRefused, "%s in exclusive use", s.cfg)
	}
	c.member = s.member(c.Session)
	c.member.consumers++
	c.group = s.consumers.group(c.Priority)
	s.consumers.all = append(s.consumers.all, c)
	if s.consumers.active == nil {
		s.consumers.active = c
	}
	s.consumers.enter(c)
	s.dirty = true
	return nil
}

// cancel removes a consumer; what it has not acknowledged stays with its session. last says that none is left.
func (s *state) cancel(now int64, c *Consumer) (last bool) {
	if !slices.Contains(s.consumers.all, c) {
		return false
	}
	s.consumers.remove(c)
	c.member.consumers--
	s.forget(c.member)
	s.lastUsed = now
	s.dirty = true
	return len(s.consumers.all) == 0
}

// leave ends a session: its consumers go and what it has not settled is ready again. last says that it took away the
// last consumer.
func (s *state) leave(now int64, sess Session, out *effects) (last bool) {
	m := s.members[sess]
	if m == nil {
		return false
	}
	if m.consumers > 0 {
		for _, c := range slices.Clone(s.consumers.all) {
			if c.member == m {
				last = s.cancel(now, c)
			}
		}
	}
	for _, h := range s.unacked.handles(m) {
		s.settle(h, requeued, out)
	}
	delete(s.members, sess)
	return last
}

func (s *state) member(sess Session) *member {
	m := s.members[sess]
	if m == nil {
		if s.members == nil {
			s.members = make(map[Session]*member)
		}
		m = &member{session: sess}
		s.members[sess] = m
	}
	return m
}

// forget drops m when nothing ties its session to the queue.
func (s *state) forget(m *member) {
	if m.consumers == 0 && m.unacked == 0 {
		delete(s.members, m.session)
	}
}
