package meta

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t testing.TB, s *Store, changes ...Change) {
	t.Helper()
	if err := s.Commit(changes...); err != nil {
		t.Fatal(err)
	}
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// reopened closes s and returns what the next start loads.
func reopened(t testing.TB, s *Store) (*Store, *State) {
	t.Helper()
	closed(t, s)
	s = open(t, s.dir)
	return s, s.Load()
}

var nested = amqp.Table{
	{Name: "x-match", Value: "all-with-x"},
	{Name: "n", Value: amqp.Array{int8(-1), uint8(2), int16(-3), uint16(4), int32(-5), uint32(6), int64(-7), nil, true,
		float32(1.5), 2.5, amqp.Decimal{Scale: 2, Value: 314}, amqp.Timestamp(9), []byte{0, 1}, amqp.Table{{Name: "", Value: ""}}}},
}

// one of each kind, and names that try the order and the ends of keys
var sample = State{
	VHosts:           []VHost{{""}, {"\x00"}, {"/"}, {"/\x00"}, {"//"}},
	Users:            []User{{Name: "", Tags: nil}, {Name: "u", PasswordHash: "aGFzaA==", Hashing: 2, Tags: []string{"administrator", ""}}},
	Permissions:      []Permission{{VHost: "/", User: "u", Configure: "^a", Read: ".*"}},
	TopicPermissions: []TopicPermission{{VHost: "/", User: "u", Exchange: "", Write: "w"}, {VHost: "/", User: "u", Exchange: "x", Read: "r"}},
	Exchanges: []Exchange{{VHost: "/", Name: "ae", Type: "fanout", AutoDelete: true},
		{VHost: "/", Name: "x", Type: "headers", Internal: true, Args: nested}},
	Queues: []Queue{{VHost: "", Name: "q", Number: 1 << 63}, {VHost: "/", Name: "q", Number: 7, AutoDelete: true, Args: nested},
		{VHost: "/", Name: "q\x00", Number: 9}},
	Bindings: []Binding{{VHost: "/", Source: "x", Destination: "ae", ToExchange: true, Args: nested}},
}

func (s *State) records() (out []Record) {
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		for j := range v.Field(i).Len() {
			out = append(out, v.Field(i).Index(j).Interface().(Record))
		}
	}
	return out
}

func puts(records []Record) (out []Change) {
	for _, r := range records {
		out = append(out, Put(r))
	}
	return out
}

// What was committed is what the next start loads, in order; what was deleted is not.
func TestRestart(t *testing.T) {
	s := open(t, t.TempDir())
	if !s.Fresh() {
		t.Error("a new store is not fresh")
	}
	if st := s.Load(); len(st.records()) > 0 {
		t.Errorf("a new store holds %v", st)
	}
	records := sample.records()
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	commit(t, s, puts(records)...)
	s, st := reopened(t, s)
	if !reflect.DeepEqual(st, &sample) {
		t.Errorf("loaded %+v\nwant %+v", st, &sample)
	}
	if s.Fresh() {
		t.Error("a store with definitions is fresh")
	}
	at := s.Committed()
	commit(t, s, Put(User{Name: "u", Tags: []string{"new"}}), Delete(Queue{VHost: "/", Name: "q"}), Put(VHost{"v"}), Delete(VHost{"v"}))
	for _, r := range records {
		if _, ok := r.(User); !ok {
			commit(t, s, Delete(r))
		}
	}
	commit(t, s, Delete(User{Name: ""}))
	s, st = reopened(t, s)
	want := &State{Users: []User{{Name: "u", Tags: []string{"new"}}}}
	if !reflect.DeepEqual(st, want) {
		t.Errorf("after the deletes: %+v", st)
	}
	if s.Committed() <= at {
		t.Errorf("the position went from %d to %d", at, s.Committed())
	}
	closed(t, s)
}

// A binding is the same whatever the order of its arguments.
func TestBindingIdentity(t *testing.T) {
	s := open(t, t.TempDir())
	b := Binding{VHost: "/", Source: "s", Destination: "d", Key: "k", Args: amqp.Table{{Name: "a", Value: int32(1)}, {Name: "b", Value: "2"}}}
	swapped := b
	swapped.Args = amqp.Table{b.Args[1], b.Args[0]}
	other := b
	other.Args = amqp.Table{{Name: "a", Value: int64(1)}, b.Args[1]}
	commit(t, s, Put(b), Put(other), Delete(swapped))
	s, st := reopened(t, s)
	if !reflect.DeepEqual(st.Bindings, []Binding{other}) {
		t.Errorf("left are %v", st.Bindings)
	}
	closed(t, s)
}

// Many callers at once: each change is there, in its caller's order, and positions never go back.
func TestConcurrentCommits(t *testing.T) {
	s := open(t, t.TempDir())
	const callers, each = 50, 40
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			last := Position(0)
			for i := range each {
				at, err := s.Submit(Put(Queue{VHost: "/", Name: fmt.Sprint(c), Number: uint64(i + 1)}))
				if err == nil {
					err = s.Wait(at)
				}
				if err != nil || at <= last || s.Committed() < at {
					t.Errorf("caller %d: position %d after %d, error %v", c, at, last, err)
				}
				last = at
			}
		})
	}
	wg.Wait()
	s, st := reopened(t, s)
	if len(st.Queues) != callers {
		t.Errorf("%d queues", len(st.Queues))
	}
	for _, q := range st.Queues {
		if q.Number != each {
			t.Errorf("queue %s is at %d: an older change came later", q.Name, q.Number)
		}
	}
	closed(t, s)
}

// Numbers are never given twice, by later starts either, even if more are taken than are reserved at a time.
func TestNumbers(t *testing.T) {
	dir := t.TempDir()
	seen := map[uint64]bool{}
	for range 3 {
		s := open(t, dir)
		for range numbersReserved + 10 {
			n, err := s.Number()
			if err != nil || n == 0 || seen[n] {
				t.Fatalf("number %d, error %v, seen %v", n, err, seen[n])
			}
			seen[n] = true
		}
		closed(t, s)
	}
}

// Changes of one call that are too many for a transaction are there after it like any others, and so is what other
// callers do around it.
func TestLargeCall(t *testing.T) {
	s := open(t, t.TempDir())
	const n = 20_000
	var large []Change
	for i := range n {
		large = append(large, Put(Binding{VHost: "/", Source: "x", Destination: "q", Key: strings.Repeat("k", i%200) + fmt.Sprint(i)}))
	}
	if s.limit.fit([]call{{1, large}}) != 0 {
		t.Fatal("it fits into a transaction")
	}
	s.Submit(Put(VHost{"before"}))
	s.Submit(large...)
	commit(t, s, Put(VHost{"behind"}))
	s, st := reopened(t, s)
	if len(st.Bindings) != n || len(st.VHosts) != 2 {
		t.Errorf("%d bindings, %d vhosts", len(st.Bindings), len(st.VHosts))
	}
	for i := range large {
		large[i].value = nil
	}
	commit(t, s, large...)
	s, st = reopened(t, s)
	if len(st.Bindings) != 0 {
		t.Errorf("%d bindings are left", len(st.Bindings))
	}
	closed(t, s)
}

// A call that the journal has decided is finished by the next start; one that it has not is as if it never was.
func TestJournalAfterCrash(t *testing.T) {
	for _, decided := range []bool{true, false} {
		s := open(t, t.TempDir())
		commit(t, s, Put(VHost{"old"}))
		at := s.Committed()
		changes := []Change{Put(VHost{"new"}), Delete(VHost{"old"})}
		chunks, err := s.writeChunks(changes)
		if err != nil {
			t.Fatal(err)
		}
		want := []VHost{{"old"}}
		if decided {
			mark := seal(decidedKey, []byte{0, 0, 0, 0, 0, 0, 0, byte(at + 1), 0, 0, 0, 0, 0, 0, 0, byte(chunks)})
			if err := s.write(at, s.ceiling, []Change{{decidedKey, mark}}); err != nil {
				t.Fatal(err)
			}
			want = []VHost{{"new"}}
			at++
		}
		s, st := reopened(t, s)
		if !reflect.DeepEqual(st.VHosts, want) || s.Committed() != at {
			t.Errorf("decided %v: vhosts %v at %d, want %v at %d", decided, st.VHosts, s.Committed(), want, at)
		}
		if err := s.each(chunkPrefix, func([]byte, []byte) error { return errors.New("a chunk is left") }); err != nil {
			t.Error(err)
		}
		closed(t, s)
	}
}

// After many commits and restarts the tables are merged, and nothing is lost.
func TestTidy(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 3 * tidyTables {
		commit(t, s, Put(VHost{fmt.Sprint(i)}))
		s, _ = reopened(t, s)
	}
	commit(t, s, Put(User{Name: "u"}))
	if n := s.db.Levels()[0].NumTables; n > tidyTables+1 {
		t.Errorf("%d tables lie unmerged", n)
	}
	s, st := reopened(t, s)
	if len(st.VHosts) != 3*tidyTables {
		t.Errorf("%d vhosts", len(st.VHosts))
	}
	closed(t, s)
}

// What cannot be done is refused before anything is handed over.
func TestRefusals(t *testing.T) {
	s := open(t, t.TempDir())
	var large *TooLargeError
	if _, err := s.Submit(Put(User{Name: "u", PasswordHash: strings.Repeat("x", MaxRecord)})); !errors.As(err, &large) {
		t.Errorf("a large record: %v", err)
	}
	if _, err := s.Submit(Delete(User{Name: strings.Repeat("u", maxKey)})); !errors.As(err, &large) {
		t.Errorf("a long name: %v", err)
	}
	s.space.free.Store(roomToPut - 1)
	if _, err := s.Submit(Put(VHost{"v"})); err == nil || !strings.Contains(err.Error(), "63 MiB left, and 64 MiB are needed") {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := s.Submit(Delete(VHost{"v"})); err != nil {
		t.Errorf("a delete on a nearly full disk: %v", err)
	}
	if err := s.space.look(); err != nil {
		t.Error(err)
	}
	closed(t, s)
	if _, err := s.Submit(Put(VHost{"v"})); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := Open(filepath.Join(os.DevNull, "x"), Options{}); err == nil || !strings.Contains(err.Error(), "/dev/null/x") {
		t.Errorf("no folder: %v", err)
	}
}

// A failed commit is told to those that wait, to Options.Failed, and to everybody after.
func TestFailure(t *testing.T) {
	failed := make(chan error, 1)
	s, err := Open(t.TempDir(), Options{Failed: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, Put(VHost{"v"}))
	s.db.Close()
	err = s.Commit(Put(VHost{"w"}))
	if err == nil || !strings.Contains(err.Error(), "definitions cannot be changed any more, because writing to "+s.dir) {
		t.Errorf("Commit says %v", err)
	}
	if told := <-failed; told.Error() != err.Error() {
		t.Errorf("Failed was told %v", told)
	}
	if _, later := s.Submit(Put(VHost{"x"})); later == nil || s.Ready(true) == nil || s.Wait(99) == nil {
		t.Error("a failed store goes on")
	}
	s.Close()
	s, st := reopened(t, open(t, s.dir))
	if !reflect.DeepEqual(st.VHosts, []VHost{{"v"}}) {
		t.Errorf("left are %v", st.VHosts)
	}
	closed(t, s)
}
