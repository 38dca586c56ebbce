package auth

import "slices"

// cacheMax is how many answers, and how many expanded topic expressions, a session remembers. When it is full it forgets
// all of them.
const cacheMax = 1024

// A Session is a user logged in on one connection. Its owner is the connection's reader: no other goroutine calls its
// methods. A change of permissions counts from the next call on. Names and keys that it is asked about are remembered, so
// they may not be views of a buffer that is used again.
type Session struct {
	// immutable after Login
	UserName string
	Tags     []string // as they were at login
	ClientID string   // what {client_id} stands for in topic permissions; "" in AMQP, which has none

	store     *Store
	mechanism string

	// The rest is what was found out about vhost in snap; see look.
	snap   *snapshot
	vhost  string
	grant  *grant // nil if there is none
	cache  map[question]bool
	topics map[topicQuestion]pattern // expanded for this session
}

type question struct {
	op   Operation
	name string // of the queue or exchange
	key  string // the routing or binding key, for a topic
	// topic tells the question about an exchange's empty key from that about the exchange.
	topic bool
}

type topicQuestion struct {
	op       Operation
	exchange string
}

// HasTag reports whether the user had tag when it logged in.
func (s *Session) HasTag(tag string) bool { return slices.Contains(s.Tags, tag) }

// MayOpen reports whether the user may use vhost at all. If not, RefusedVhost is the answer.
func (s *Session) MayOpen(vhost string) bool { return s.look(vhost).open }

// MayConfigure reports whether the user may declare or delete the queue or exchange called name. If not, Refused is the
// answer. The empty name is the default exchange's.
func (s *Session) MayConfigure(vhost, name string) bool { return s.may(Configure, vhost, name) }

// MayWrite reports whether the user may publish to the exchange called name, or bind the queue or exchange called name to
// a source. The empty name is the default exchange's.
func (s *Session) MayWrite(vhost, name string) bool { return s.may(Write, vhost, name) }

// MayRead reports whether the user may consume, get or purge the queue called name, or bind something to the exchange
// called name. The empty name is the default exchange's.
func (s *Session) MayRead(vhost, name string) bool { return s.may(Read, vhost, name) }

// MayTopic reports whether the user may publish to (op Write) or bind to (op Read) the topic exchange called exchange with
// key. It does not ask MayWrite or MayRead. Only exchanges of type topic have such permissions, which the caller knows. If
// not, RefusedTopic is the answer.
func (s *Session) MayTopic(op Operation, vhost, exchange, key string) bool {
	g := s.look(vhost)
	if len(g.topics) == 0 {
		return true
	}
	q := question{op: op, name: exchange, key: key, topic: true}
	if answer, ok := s.cache[q]; ok {
		return answer
	}
	t, limited := g.topics[exchange]
	if !limited {
		return s.remember(q, true)
	}
	p := s.topic(op, exchange, t.may[op])
	return s.remember(q, p.match(key))
}

func (s *Session) may(op Operation, vhost, name string) bool {
	g := s.look(vhost)
	if g.may[op].all {
		return true
	}
	q := question{op: op, name: name}
	if answer, ok := s.cache[q]; ok {
		return answer
	}
	if name == "" {
		name = defaultExchange
	}
	return s.remember(q, g.may[op].match(name))
}

func (s *Session) remember(q question, answer bool) bool {
	if len(s.cache) >= cacheMax {
		clear(s.cache)
	}
	s.cache[q] = answer
	return answer
}

var nothing grant

// look returns what the user may do in vhost, and makes sure that what is remembered is about vhost and not out of date.
func (s *Session) look(vhost string) *grant {
	if now := s.store.snap.Load(); now != s.snap || vhost != s.vhost {
		s.snap, s.vhost, s.grant = now, vhost, now.grants[place{s.UserName, vhost}]
		if s.grant == nil {
			s.grant = &nothing
		}
		if s.cache == nil {
			s.cache = make(map[question]bool)
		}
		clear(s.cache)
		s.topics = nil
	}
	return s.grant
}

// topic returns p with its variables expanded.
func (s *Session) topic(op Operation, exchange string, p pattern) pattern {
	if p.source == "" {
		return p
	}
	q := topicQuestion{op, exchange}
	expanded, ok := s.topics[q]
	if !ok {
		// The store tried the expression with other values; these are quoted and cannot make it wrong. If one did, the
		// zero pattern refuses.
		expanded, _ = compile(expand(p.source, s.UserName, s.vhost, s.ClientID))
		if s.topics == nil || len(s.topics) >= cacheMax {
			s.topics = make(map[topicQuestion]pattern)
		}
		s.topics[q] = expanded
	}
	return expanded
}

// Renew checks the secret of a connection.update-secret. A password that RabbitMQ keeps itself does not expire, and so it
// takes any secret without looking; Warren does so too, unless the user is gone.
func (s *Session) Renew([]byte) error {
	if _, ok := s.store.User(s.UserName); !ok {
		return refuse(s.mechanism, s.UserName, "user '"+s.UserName+"' does not exist any more")
	}
	return nil
}
