package auth

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/warrenmq/warren/internal/config"
)

// A memory is a Journal that keeps entries as a database would, and refuses when told to.
type memory struct {
	entries map[entryID]Entry
	refuse  error
}

func (m *memory) Keep(put, gone []Entry) error {
	if m.refuse != nil {
		return m.refuse
	}
	for _, e := range gone {
		if m.entries[e.id()] == nil {
			return fmt.Errorf("%v is gone, which never was", e)
		}
		delete(m.entries, e.id())
	}
	for _, e := range put {
		m.entries[e.id()] = e
	}
	return nil
}

// restored returns a Store of what m holds.
func (m *memory) restored(t *testing.T) *Store {
	t.Helper()
	s := New(config.Default())
	entries := slices.SortedFunc(maps.Values(m.entries), func(a, b Entry) int { return -cmp.Compare(a.id().kind, b.id().kind) })
	if err := s.Restore(m, entries...); err != nil {
		t.Fatal(err)
	}
	return s
}

func picture(s *Store) []any { return []any{s.Users(), s.Permissions(), s.TopicPermissions()} }

// After each change, a Store restored from the Journal is the Store that was changed.
func TestJournalHoldsEverything(t *testing.T) {
	m := &memory{entries: map[entryID]Entry{}}
	s := m.restored(t)
	x := "x"
	for i, change := range []func() error{
		func() error { return s.PutUser(User{Name: "u", Tags: []string{"monitoring"}}) },
		func() error { return s.PutUser(User{Name: "v"}) },
		func() error { return s.PutUser(User{Name: "u", PasswordHash: HashPassword("p")}) },
		func() error { return s.SetPermission("u", "/", Permission{"a", "b", "c"}) },
		func() error { return s.SetPermission("u", "/", Permission{"a", "b", "d"}) },
		func() error { return s.SetPermission("u", "/", Permission{"a", "b", "d"}) },
		func() error { return s.SetPermission("v", "/", Permission{"a", "b", "c"}) },
		func() error { return s.SetPermission("v", "w", Permission{}) },
		func() error { return s.SetTopicPermission("u", "/", "x", TopicPermission{"w", "r"}) },
		func() error { return s.SetTopicPermission("u", "/", "y", TopicPermission{"w", "r"}) },
		func() error { return s.SetTopicPermission("u", "/", "y", TopicPermission{"w", "s"}) },
		func() error { return s.SetTopicPermission("v", "w", "y", TopicPermission{"w", "s"}) },
		func() error { return s.ClearTopicPermission("u", "/", &x) },
		func() error { return s.ClearTopicPermission("u", "/", &x) },
		func() error { return s.ClearPermission("u", "/") },
		func() error { return s.ClearTopicPermission("u", "/", nil) },
		func() error { return s.DeleteVhost("w") },
		func() error { _, err := s.DeleteUser("v"); return err },
		func() error { _, err := s.DeleteUser("v"); return err },
	} {
		if err := change(); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		if got, want := picture(m.restored(t)), picture(s); !reflect.DeepEqual(got, want) {
			t.Fatalf("after change %d: restored %v\nwant %v", i, got, want)
		}
	}
	if len(m.entries) != 1 {
		t.Errorf("left are %v", m.entries)
	}
}

// What the Journal refuses has not happened.
func TestJournalRefuses(t *testing.T) {
	m := &memory{entries: map[entryID]Entry{}}
	s := m.restored(t)
	if err := errors.Join(s.PutUser(User{Name: "u"}), s.SetPermission("u", "/", Permission{"a", "b", "c"})); err != nil {
		t.Fatal(err)
	}
	before := picture(s)
	m.refuse = errors.New("full")
	_, deleted := s.DeleteUser("u")
	for i, err := range []error{deleted, s.PutUser(User{Name: "v"}), s.SetPermission("u", "/", Permission{}), s.ClearPermission("u", "/"),
		s.SetTopicPermission("u", "/", "x", TopicPermission{}), s.DeleteVhost("/")} {
		if err != m.refuse {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if !reflect.DeepEqual(picture(s), before) {
		t.Errorf("%v became %v", before, picture(s))
	}
}

// What cannot be restored is refused.
func TestRestoreRefuses(t *testing.T) {
	for _, entries := range [][]Entry{
		{User{Name: "u", PasswordHash: "%"}},
		{PermissionEntry{User: "nobody", Vhost: "/"}},
		{User{Name: "u"}, PermissionEntry{"u", "/", Permission{Read: "("}}},
		{User{Name: "u"}, TopicPermissionEntry{"u", "/", "x", TopicPermission{Read: "("}}},
	} {
		if err := New(config.Default()).Restore(nil, entries...); err == nil {
			t.Errorf("%v is taken", entries)
		}
	}
}
