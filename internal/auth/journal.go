package auth

import (
	"slices"

	"github.com/warrenmq/warren/internal/config"
)

// A Journal makes the changes of a Store survive a restart. Keep returns when all of a call's entries are safe, and the
// Store changes after that; or it returns why they are not, and the Store stays as it is. put are entries that are new or
// replace the one for the same user, vhost and exchange; of those that are gone, only these names count.
type Journal interface {
	Keep(put, gone []Entry) error
}

// An Entry is one thing that a Journal keeps: a User, a PermissionEntry or a TopicPermissionEntry.
type Entry interface {
	id() entryID
}

// entryID is what an entry is about.
type entryID struct {
	kind                  byte
	user, vhost, exchange string
}

func (u User) id() entryID                 { return entryID{kind: 'u', user: u.Name} }
func (p PermissionEntry) id() entryID      { return entryID{'p', p.User, p.Vhost, ""} }
func (p TopicPermissionEntry) id() entryID { return entryID{'t', p.User, p.Vhost, p.Exchange} }

// entries are what g is made of.
func (g *grant) entries(at place) (out []Entry) {
	if g.open {
		out = append(out, PermissionEntry{at.user, at.vhost, g.as})
	}
	for x, t := range g.topics {
		out = append(out, TopicPermissionEntry{at.user, at.vhost, x, t.as})
	}
	return out
}

// difference returns what has to be put and what is gone if a grant's entries were these and are those.
func difference(was, is []Entry) (put, gone []Entry) {
	for _, e := range is {
		if !slices.Contains(was, e) {
			put = append(put, e)
		}
	}
	for _, e := range was {
		if !slices.ContainsFunc(is, func(f Entry) bool { return f.id() == e.id() }) {
			gone = append(gone, e)
		}
	}
	return put, gone
}

// Defaults are the entries of a Store that has never held any: the default user and its permissions in the default vhost.
func Defaults(c *config.Config) []Entry {
	return []Entry{
		User{Name: c.DefaultUser, PasswordHash: HashPassword(c.DefaultPass), Tags: c.DefaultUserTags},
		PermissionEntry{c.DefaultUser, c.DefaultVhost, Permission(c.DefaultPermissions)},
	}
}

// Restore fills a new Store with what a Journal has kept, users before their permissions, and has later changes go to j; a
// nil j keeps nothing. It is called once, before anybody logs in.
func (s *Store) Restore(j Journal, entries ...Entry) error {
	next := &snapshot{users: map[string]*User{}, grants: map[place]*grant{}}
	for _, e := range entries {
		if err := next.restore(e); err != nil {
			return err
		}
	}
	s.snap.Store(next)
	s.journal = j
	return nil
}

// restore adds e to a picture that nobody else has seen.
func (n *snapshot) restore(e Entry) error {
	if u, ok := e.(User); ok {
		if err := u.parseHash(); err != nil {
			return err
		}
		n.users[u.Name] = &u
		return nil
	}
	at := place{e.id().user, e.id().vhost}
	if n.users[at.user] == nil {
		return &NoUserError{at.user}
	}
	g := n.grants[at]
	if g == nil {
		g = &grant{topics: make(map[string]topicGrant)}
		n.grants[at] = g
	}
	var err error
	switch e := e.(type) {
	case PermissionEntry:
		g.open, g.as = true, e.Permission
		g.may, err = e.compile()
	case TopicPermissionEntry:
		t := topicGrant{as: e.TopicPermission}
		t.may, err = e.compile()
		g.topics[e.Exchange] = t
	}
	return err
}
