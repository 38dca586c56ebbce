// Package auth knows who may log in and what they may do: users, their passwords, their permissions per vhost, and the
// SASL mechanisms by which a connection says who it is.
//
// A Store holds an immutable picture of all users and permissions behind an atomic pointer; a change makes the next picture
// and publishes it whole. Login gives a connection a Session, which remembers the answers to the questions it was asked
// until the picture changes: the question that a publish asks costs one pointer comparison and at most one map lookup.
//
// internal/node makes the Store, internal/server logs connections in and asks their Sessions, and whoever manages users
// calls the Store's Put, Set and Delete methods. What is to survive a restart goes through a Journal, before it counts; the
// package itself neither stores anything on disk nor knows which vhosts, queues or exchanges exist. What is refused, and in
// which words, is as in RabbitMQ; its quirks are named where they are.
package auth

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/warrenmq/warren/internal/config"
)

// A Store is all users and permissions. Its methods may be called from any goroutine.
type Store struct {
	// immutable
	loopback   map[string]bool // users that may log in from this machine only
	mechanisms []string
	certName   string // as Config.CertLoginFrom
	journal    Journal

	snap atomic.Pointer[snapshot]
	mu   sync.Mutex // serialises changes of snap, the Journal's work included; readers do not take it
}

// A snapshot is never changed once it is published.
type snapshot struct {
	users  map[string]*User
	grants map[place]*grant
}

type place struct{ user, vhost string }

// A grant is what one user may do in one vhost.
type grant struct {
	open   bool // a Permission is set; without it the vhost stays shut, whatever topics says
	as     Permission
	may    [operations]pattern
	topics map[string]topicGrant // by exchange
}

type topicGrant struct {
	as  TopicPermission
	may [operations]pattern // Write and Read
}

// New returns a Store without users, with c's rules for logins.
func New(c *config.Config) *Store {
	s := &Store{
		loopback:   make(map[string]bool),
		mechanisms: slices.Clone(c.Mechanisms),
		certName:   c.CertLoginFrom,
	}
	for _, u := range c.LoopbackUsers {
		s.loopback[u] = true
	}
	s.snap.Store(&snapshot{users: map[string]*User{}, grants: map[place]*grant{}})
	return s
}

// NewWithDefaultUser returns a Store that holds the default user with its permissions in the default vhost, as c has them.
func NewWithDefaultUser(c *config.Config) (*Store, error) {
	s := New(c)
	if err := s.Restore(nil, Defaults(c)...); err != nil {
		return nil, fmt.Errorf("make the default user: %w", err)
	}
	return s, nil
}

// change publishes a copy of the picture after edit has changed it and the Journal has taken what edit says of it. The maps
// are shared with the pictures before, so edit clones the one it changes.
func (s *Store) change(edit func(*snapshot) (put, gone []Entry, err error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := *s.snap.Load()
	put, gone, err := edit(&next)
	if err != nil {
		return err
	}
	if s.journal != nil && len(put)+len(gone) > 0 {
		if err := s.journal.Keep(put, gone); err != nil {
			return err
		}
	}
	s.snap.Store(&next)
	return nil
}

// PutUser adds u, or replaces the user of that name and keeps its permissions. u.Tags is copied.
func (s *Store) PutUser(u User) error {
	if u.Name == "" {
		return fmt.Errorf("a user needs a name")
	}
	if err := u.parseHash(); err != nil {
		return err
	}
	u.Tags = slices.Clone(u.Tags)
	return s.change(func(n *snapshot) (put, gone []Entry, err error) {
		n.users = maps.Clone(n.users)
		n.users[u.Name] = &u
		return []Entry{u}, nil, nil
	})
}

// DeleteUser removes a user and all its permissions. It reports whether there was one.
func (s *Store) DeleteUser(name string) (found bool, err error) {
	err = s.change(func(n *snapshot) (put, gone []Entry, err error) {
		if _, found = n.users[name]; !found {
			return nil, nil, nil
		}
		n.users = maps.Clone(n.users)
		delete(n.users, name)
		return nil, append(n.revoke(func(p place) bool { return p.user == name }), User{Name: name}), nil
	})
	return found, err
}

// DeleteVhost removes everybody's permissions in a vhost that is no more.
func (s *Store) DeleteVhost(vhost string) error {
	return s.change(func(n *snapshot) (put, gone []Entry, err error) {
		return nil, n.revoke(func(p place) bool { return p.vhost == vhost }), nil
	})
}

// revoke removes the grants of some places and returns what they were.
func (n *snapshot) revoke(in func(place) bool) (gone []Entry) {
	n.grants = maps.Clone(n.grants)
	for p, g := range n.grants {
		if in(p) {
			gone = append(gone, g.entries(p)...)
			delete(n.grants, p)
		}
	}
	return gone
}

// User returns the user of that name. Its Tags are not to be changed.
func (s *Store) User(name string) (User, bool) {
	if u := s.snap.Load().users[name]; u != nil {
		return *u, true
	}
	return User{}, false
}

// Users returns all users by name.
func (s *Store) Users() []User {
	n := s.snap.Load()
	out := make([]User, 0, len(n.users))
	for _, name := range slices.Sorted(maps.Keys(n.users)) {
		out = append(out, *n.users[name])
	}
	return out
}

// A NoUserError names a user that a change needs and that does not exist.
type NoUserError struct{ Name string }

// Error says so.
func (e *NoUserError) Error() string { return fmt.Sprintf("user '%s' does not exist", e.Name) }

// edit changes a copy of one grant, and forgets it when nothing is left of it.
func (s *Store) edit(user, vhost string, edit func(*grant)) error {
	return s.change(func(n *snapshot) (put, gone []Entry, err error) {
		if n.users[user] == nil {
			return nil, nil, &NoUserError{user}
		}
		at := place{user, vhost}
		var old, g grant
		if now := n.grants[at]; now != nil {
			old, g = *now, *now
		}
		g.topics = maps.Clone(g.topics)
		edit(&g)
		n.grants = maps.Clone(n.grants)
		if !g.open && len(g.topics) == 0 {
			delete(n.grants, at)
		} else {
			n.grants[at] = &g
		}
		put, gone = difference(old.entries(at), g.entries(at))
		return put, gone, nil
	})
}

// SetPermission opens vhost to user and says what it may do there. The error is an *InvalidPatternError or a *NoUserError,
// or the Journal's.
func (s *Store) SetPermission(user, vhost string, p Permission) error {
	may, err := p.compile()
	if err != nil {
		return err
	}
	return s.edit(user, vhost, func(g *grant) { g.open, g.as, g.may = true, p, may })
}

// ClearPermission shuts vhost to user. The error is a *NoUserError, or the Journal's.
func (s *Store) ClearPermission(user, vhost string) error {
	return s.edit(user, vhost, func(g *grant) { g.open, g.as, g.may = false, Permission{}, [operations]pattern{} })
}

// SetTopicPermission limits the routing keys that user may publish with to exchange, and the binding keys it may bind
// with. An exchange without one has no such limits. The error is an *InvalidPatternError or a *NoUserError, or the
// Journal's.
func (s *Store) SetTopicPermission(user, vhost, exchange string, p TopicPermission) error {
	may, err := p.compile()
	if err != nil {
		return err
	}
	return s.edit(user, vhost, func(g *grant) {
		if g.topics == nil {
			g.topics = make(map[string]topicGrant)
		}
		g.topics[exchange] = topicGrant{p, may}
	})
}

// ClearTopicPermission removes the limits of one exchange, or of all of the vhost if exchange is nil. The error is a
// *NoUserError, or the Journal's.
func (s *Store) ClearTopicPermission(user, vhost string, exchange *string) error {
	return s.edit(user, vhost, func(g *grant) {
		if exchange == nil {
			g.topics = nil
		} else {
			delete(g.topics, *exchange)
		}
	})
}

// A PermissionEntry is one user's Permission in one vhost.
type PermissionEntry struct {
	User, Vhost string
	Permission
}

// A TopicPermissionEntry is one user's TopicPermission for one exchange.
type TopicPermissionEntry struct {
	User, Vhost, Exchange string
	TopicPermission
}

// Permissions returns all that is set, by vhost and user.
func (s *Store) Permissions() []PermissionEntry {
	n := s.snap.Load()
	var out []PermissionEntry
	for _, p := range n.places() {
		if g := n.grants[p]; g.open {
			out = append(out, PermissionEntry{p.user, p.vhost, g.as})
		}
	}
	return out
}

// TopicPermissions returns all that is set, by vhost, user and exchange.
func (s *Store) TopicPermissions() []TopicPermissionEntry {
	n := s.snap.Load()
	var out []TopicPermissionEntry
	for _, p := range n.places() {
		topics := n.grants[p].topics
		for _, x := range slices.Sorted(maps.Keys(topics)) {
			out = append(out, TopicPermissionEntry{p.user, p.vhost, x, topics[x].as})
		}
	}
	return out
}

// places returns the keys of grants in order.
func (n *snapshot) places() []place {
	return slices.SortedFunc(maps.Keys(n.grants), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.vhost, b.vhost), cmp.Compare(a.user, b.user))
	})
}
