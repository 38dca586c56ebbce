package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/config"
)

var (
	here  = Peer{Addr: netip.MustParseAddr("127.0.0.1")}
	there = Peer{Addr: netip.MustParseAddr("192.0.2.1")}
)

// newStore returns a Store with the default user and u, whose password is p.
func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := NewWithDefaultUser(config.Default())
	if err != nil {
		t.Fatal(err)
	}
	must(t, s.PutUser(User{Name: "u", PasswordHash: HashPassword("p")}))
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// login returns a Session of u.
func login(t testing.TB, s *Store) *Session {
	t.Helper()
	session, err := s.Login("PLAIN", []byte("\x00u\x00p"), there)
	must(t, err)
	return session
}

func TestDefaultUser(t *testing.T) {
	s := newStore(t)
	guest, err := s.Login("PLAIN", []byte("\x00guest\x00guest"), here)
	must(t, err)
	if !guest.HasTag("administrator") || guest.HasTag("x") || guest.UserName != "guest" {
		t.Errorf("guest is %q with tags %q", guest.UserName, guest.Tags)
	}
	if !guest.MayOpen("/") || !guest.MayConfigure("/", "q") || !guest.MayWrite("/", "") || !guest.MayRead("/", "amq.topic") {
		t.Error("guest may not do everything in /")
	}
	if guest.MayOpen("other") || guest.MayRead("other", "q") {
		t.Error("guest may do something in another vhost")
	}
}

func TestPermissions(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{".*", "anything", true},
		{"^.*$", "", true},
		{"", "q", false}, // an empty expression allows no name
		{"", "", false},  // nor the default exchange, which is called amq.default
		{"^$", "q", false},
		{"a", "bab", true}, // matched anywhere
		{"^a$", "bab", false},
		{"^(a|b)-.*", "b-1", true},
		{"^amq\\.default$", "", true},
		{"^amq\\.gen", "amq.gen-x", true},
		{"A", "a", false},
		{"(?i)A", "a", true},
	} {
		s := newStore(t)
		must(t, s.SetPermission("u", "/", Permission{tt.pattern, tt.pattern, tt.pattern}))
		u := login(t, s)
		for range 2 { // the second answer is remembered
			for op, may := range map[string]func(vhost, name string) bool{"configure": u.MayConfigure, "write": u.MayWrite, "read": u.MayRead} {
				if got := may("/", tt.name); got != tt.want {
					t.Errorf("%s of %q with %q: %v, want %v", op, tt.name, tt.pattern, got, tt.want)
				}
			}
		}
	}
}

// Each operation has an expression of its own, and a change counts at once for a session that asked before.
func TestPermissionsChange(t *testing.T) {
	s := newStore(t)
	u := login(t, s)
	ask := func() string {
		return fmt.Sprint(u.MayOpen("/"), u.MayConfigure("/", "q"), u.MayWrite("/", "q"), u.MayRead("/", "q"), u.MayTopic(Write, "/", "x", "k"))
	}
	for _, step := range []struct {
		what string
		do   func() error
		want string
	}{
		{"nothing is set", func() error { return nil }, "false false false false true"},
		{"configure", func() error { return s.SetPermission("u", "/", Permission{Configure: "q"}) }, "true true false false true"},
		{"write", func() error { return s.SetPermission("u", "/", Permission{Write: "q"}) }, "true false true false true"},
		{"a topic", func() error { return s.SetTopicPermission("u", "/", "x", TopicPermission{Write: "z"}) }, "true false true false false"},
		{"read", func() error { return s.SetPermission("u", "/", Permission{Read: "q"}) }, "true false false true false"},
		{"no vhost", func() error { return s.ClearPermission("u", "/") }, "false false false false false"},
		{"another topic", func() error { return s.ClearTopicPermission("u", "/", new(string)) }, "false false false false false"},
		{"no topic", func() error { return s.ClearTopicPermission("u", "/", nil) }, "false false false false true"},
		{"all", func() error { return s.SetPermission("u", "/", Permission{"", ".*", ".*"}) }, "true false true true true"},
		{"another vhost goes", func() error { s.DeleteVhost("other"); return nil }, "true false true true true"},
		{"the vhost goes", func() error { s.DeleteVhost("/"); return nil }, "false false false false true"},
		{"back", func() error { return s.SetPermission("u", "/", Permission{".*", ".*", ".*"}) }, "true true true true true"},
		{"a new password", func() error { return s.PutUser(User{Name: "u", PasswordHash: HashPassword("new")}) }, "true true true true true"},
		{"the user goes", func() error { s.DeleteUser("u"); return nil }, "false false false false true"},
	} {
		must(t, step.do())
		if got := ask(); got != step.want {
			t.Errorf("after %q: open, configure, write, read, topic are %s, want %s", step.what, got, step.want)
		}
	}
}

func TestTopicPermissions(t *testing.T) {
	for _, tt := range []struct {
		user, vhost, pattern, key string
		want                      bool
	}{
		{"u", "/", "^a", "a.b", true},
		{"u", "/", "^a", "b.a", false},
		{"u", "/", "", "", true}, // an empty expression matches the empty key
		{"u", "/", "", "k", false},
		{"u", "v.1", "^{vhost}-{username}$", "v.1-u", true},
		{"u", "v.1", "^{vhost}-{username}$", "vx1-u", false}, // values are literal
		{".*", "/", "^{username}$", "k", false},
		{".*", "/", "^{username}$", ".*", true},
		{"u", "/", "^{client_id}$", "{client_id}", true}, // AMQP has none: the word stays
		{"u", "/", "^{client_id}$", "", false},
	} {
		s := newStore(t)
		must(t, s.PutUser(User{Name: tt.user, PasswordHash: HashPassword("p")}))
		must(t, s.SetTopicPermission(tt.user, tt.vhost, "x", TopicPermission{Write: tt.pattern, Read: "^read$"}))
		u, err := s.Login("PLAIN", []byte("\x00"+tt.user+"\x00p"), there)
		must(t, err)
		for range 2 {
			if got := u.MayTopic(Write, tt.vhost, "x", tt.key); got != tt.want {
				t.Errorf("user %q, vhost %q: %q with %q: %v, want %v", tt.user, tt.vhost, tt.key, tt.pattern, got, tt.want)
			}
			if !u.MayTopic(Read, tt.vhost, "x", "read") || u.MayTopic(Read, tt.vhost, "x", "write") {
				t.Error("reading goes by the expression for writing")
			}
			if !u.MayTopic(Write, tt.vhost, "other", tt.key) {
				t.Error("an exchange without topic permission is limited")
			}
		}
	}
}

// However many names a session is asked about, it remembers a limited number.
func TestCacheIsBounded(t *testing.T) {
	s := newStore(t)
	must(t, s.SetPermission("u", "/", Permission{Write: "[02468]$"}))
	u := login(t, s)
	for i := range 3 * cacheMax {
		if got := u.MayWrite("/", fmt.Sprint(i)); got != (i%2 == 0) {
			t.Fatalf("write of %d: %v", i, got)
		}
	}
	if len(u.cache) > cacheMax {
		t.Errorf("%d answers are kept, want at most %d", len(u.cache), cacheMax)
	}
}

func TestSetRefuses(t *testing.T) {
	s := newStore(t)
	var pattern *InvalidPatternError
	var noUser *NoUserError
	for _, err := range []error{
		s.SetPermission("u", "/", Permission{Read: "("}),
		s.SetPermission("u", "/", Permission{Configure: "^(?!amq)"}),
		s.SetTopicPermission("u", "/", "x", TopicPermission{Write: "{username}("}),
	} {
		if !errors.As(err, &pattern) {
			t.Errorf("a bad expression gives %v", err)
		}
	}
	for _, err := range []error{
		s.SetPermission("x", "/", Permission{}),
		s.ClearPermission("x", "/"),
		s.SetTopicPermission("x", "/", "x", TopicPermission{}),
		s.ClearTopicPermission("x", "/", nil),
	} {
		if !errors.As(err, &noUser) || err.Error() != "user 'x' does not exist" {
			t.Errorf("an unknown user gives %v", err)
		}
	}
	for _, u := range []User{
		{}, {Name: "x", PasswordHash: "%"}, {Name: "x", PasswordHash: "AAAA"}, {Name: "x", Hashing: 99},
		{Name: "x", PasswordHash: HashPassword("p"), Hashing: MD5},
	} {
		if err := s.PutUser(u); err == nil {
			t.Errorf("PutUser(%+v) is taken", u)
		}
	}
	if _, ok := s.User("x"); ok {
		t.Error("a refused user is there")
	}
	if len(s.Permissions()) != 1 || len(s.TopicPermissions()) != 0 {
		t.Error("a refused change left a trace")
	}
}

func TestListings(t *testing.T) {
	s := newStore(t)
	must(t, s.SetPermission("u", "b", Permission{"1", "2", "3"}))
	must(t, s.SetPermission("u", "/", Permission{Read: "r"}))
	must(t, s.SetTopicPermission("u", "b", "y", TopicPermission{"w", "r"}))
	must(t, s.SetTopicPermission("u", "b", "x", TopicPermission{Write: "w"}))
	if got, want := s.Permissions(), []PermissionEntry{
		{"guest", "/", Permission{".*", ".*", ".*"}}, {"u", "/", Permission{Read: "r"}}, {"u", "b", Permission{"1", "2", "3"}},
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("Permissions() = %v, want %v", got, want)
	}
	if got, want := s.TopicPermissions(), []TopicPermissionEntry{
		{"u", "b", "x", TopicPermission{Write: "w"}}, {"u", "b", "y", TopicPermission{"w", "r"}},
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("TopicPermissions() = %v, want %v", got, want)
	}
	if got := s.Users(); len(got) != 2 || got[0].Name != "guest" || got[1].Name != "u" {
		t.Errorf("Users() = %v", got)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		err  *amqp.Error
		want string
	}{
		{Refused(Queue, "q", "/", "u"), "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'"},
		{Refused(Exchange, "", "/", "u"), "ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'u'"},
		{RefusedTopic("b.k", "amq.topic", "/", "u"), "ACCESS_REFUSED - access to topic 'b.k' in exchange 'amq.topic' in vhost '/' refused for user 'u'"},
		{RefusedVhost("v", "u"), "NOT_ALLOWED - access to vhost 'v' refused for user 'u'"},
	} {
		if got := tt.err.ReplyText(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Sessions answer while permissions change: for the race detector.
func TestChangesBesideReaders(t *testing.T) {
	s := newStore(t)
	must(t, s.SetPermission("u", "/", Permission{"a", "a", "a"}))
	var wg sync.WaitGroup
	for range 4 {
		u := login(t, s)
		wg.Go(func() {
			for range 1000 {
				if !u.MayWrite("/", "ab") || u.MayRead("/", "c") || !u.MayTopic(Read, "/", "x", "k") {
					t.Error("an answer that no picture gives")
				}
			}
		})
	}
	for i := range 200 {
		p := "ab"[i%2 : i%2+1]
		must(t, s.SetPermission("u", "/", Permission{p, p, p}))
	}
	wg.Wait()
}

func TestMayAllocatesNothing(t *testing.T) {
	s := newStore(t)
	must(t, s.SetPermission("u", "/", Permission{".*", "^x", ".*"}))
	must(t, s.SetTopicPermission("u", "/", "x", TopicPermission{Write: "^{username}"}))
	u := login(t, s)
	if n := testing.AllocsPerRun(100, func() {
		if !u.MayConfigure("/", "q") || !u.MayWrite("/", "x") || !u.MayTopic(Write, "/", "x", "u.k") {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkMayWrite(b *testing.B) {
	for _, pattern := range []string{".*", "^x"} {
		b.Run(strings.Trim(pattern, "^"), func(b *testing.B) {
			s := newStore(b)
			must(b, s.SetPermission("u", "/", Permission{Write: pattern}))
			u := login(b, s)
			for b.Loop() {
				u.MayWrite("/", "xchange")
			}
		})
	}
}
