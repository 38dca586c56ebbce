package meta

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// filled makes a store whose files hold records in all places that there are: merged and unmerged tables and, if it is not
// closed, the log. It returns the folder and what is to be loaded from it.
func filled(t *testing.T, close bool) (dir string, want *State) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	for i := range 40 {
		commit(t, s, Put(Queue{VHost: "/", Name: fmt.Sprint("q", i), Number: uint64(i), Args: nested}))
	}
	s, _ = reopened(t, s)
	for i := range 40 {
		commit(t, s, Put(Binding{VHost: "/", Source: "x", Destination: "q1", Key: fmt.Sprint(i)}), Delete(Queue{VHost: "/", Name: fmt.Sprint("q", i+20)}))
	}
	if close {
		closed(t, s)
	} else {
		killed := filepath.Join(t.TempDir(), "killed")
		copyDir(t, killed, dir) // what kill -9 leaves: the kernel has all that was written
		closed(t, s)
		dir = killed
	}
	whole := filepath.Join(t.TempDir(), "whole")
	copyDir(t, whole, dir)
	s = open(t, whole)
	want = s.Load()
	closed(t, s)
	if len(want.Queues) != 20 || len(want.Bindings) != 40 {
		t.Fatalf("undamaged: %d queues, %d bindings", len(want.Queues), len(want.Bindings))
	}
	return dir, want
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := copyFile(filepath.Join(to, f.Name()), filepath.Join(from, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// damaged opens a store with a fault and checks the promise: it is loaded whole, or refused with a text that says where it
// is and what to do, and its files are kept as they were.
func damaged(t *testing.T, dir, fault string, want *State) (refused bool) {
	t.Helper()
	original := filepath.Join(t.TempDir(), "original")
	copyDir(t, original, dir)
	s, err := Open(dir, Options{})
	if err == nil {
		st := s.Load()
		if !reflect.DeepEqual(st, want) {
			t.Errorf("%s: half loaded: %d queues, %d bindings", fault, len(st.Queues), len(st.Bindings))
		}
		closed(t, s)
		return false
	}
	var d *DamageError
	if !errors.As(err, &d) {
		t.Errorf("%s: refused by %v", fault, err)
		return true
	}
	text := err.Error()
	for _, part := range []string{dir, "are damaged: ", "Restore that directory from a backup", d.Found} {
		if !strings.Contains(text, part) {
			t.Errorf("%s: the text lacks %q: %s", fault, part, text)
		}
	}
	if strings.Contains(text, "\n") {
		t.Errorf("%s: more than one line: %s", fault, text)
	}
	files, err := os.ReadDir(d.Found)
	if err != nil || d.Found == "" {
		t.Errorf("%s: the copy: %v", fault, err)
	}
	for _, f := range files {
		was, err1 := os.ReadFile(filepath.Join(original, f.Name()))
		kept, err2 := os.ReadFile(filepath.Join(d.Found, f.Name()))
		if err1 != nil || err2 != nil || !bytes.Equal(was, kept) {
			t.Errorf("%s: %s was not kept as it was: %v %v", fault, f.Name(), err1, err2)
		}
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Errorf("%s: refused once, then taken", fault)
	}
	return true
}

// One flipped bit anywhere, or a file that is cut or gone: the store is refused, or it did not matter.
func TestDamage(t *testing.T) {
	for _, close := range []bool{true, false} {
		dir, want := filled(t, close)
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		refusals := map[string]int{}
		try := func(name, fault string, harm func(path string) error) {
			broken := filepath.Join(t.TempDir(), "broken")
			copyDir(t, broken, dir)
			if err := harm(filepath.Join(broken, name)); err != nil {
				t.Fatal(err)
			}
			if damaged(t, broken, fmt.Sprintf("closed %v, %s %s", close, name, fault), want) {
				refusals[filepath.Ext(name)]++
			}
		}
		for _, f := range files {
			data, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			used := len(bytes.TrimRight(data, "\x00"))
			step := max(1, used/6)
			if testing.Short() {
				step = max(1, used/3)
			}
			for at := 0; at < used; at += step {
				try(f.Name(), fmt.Sprintf("with a bit flipped at %d", at), func(path string) error {
					flipped := bytes.Clone(data)
					flipped[at] ^= 1 << (at % 8)
					return os.WriteFile(path, flipped, 0o600)
				})
			}
			try(f.Name(), "cut in half", func(path string) error { return os.Truncate(path, int64(used/2)) })
			try(f.Name(), "gone", os.Remove)
		}
		for _, ext := range []string{".sst", "", ".mem"} {
			if refusals[ext] == 0 && !(close && ext == ".mem") {
				t.Errorf("closed %v: no fault of a file *%s was noticed: %v", close, ext, refusals)
			}
		}
	}
}

// A record whose checksum fits but whose contents do not, a schema of the future, a store without one.
func TestUnreadableRecords(t *testing.T) {
	key := VHost{"v"}.key(nil)
	for _, tt := range []struct {
		name   string
		change Change
		want   string
	}{
		{"wrong checksum", Change{key, []byte{version, 0, 0, 0, 0}}, "its checksum does not fit"},
		{"no checksum", Change{key, []byte{version}}, "its checksum does not fit"},
		{"newer version", Change{key, seal(key, []byte{version + 1})}, "it is of version 2, and this Warren reads 1"},
		{"no version", Change{key, seal(key, nil)}, "it ends early"},
		{"more than expected", Change{key, seal(key, []byte{version, 0})}, "1 bytes follow its last field"},
		{"unknown kind", Change{[]byte{scopeVHost, 0, 1, 9}, seal([]byte{scopeVHost, 0, 1, 9}, []byte{version})}, "its kind is 9"},
		{"key that goes on", Change{append(key, 0), seal(append(key, 0), []byte{version})}, "its key and its contents disagree"},
		{"newer schema", Change{schemaKey, seal(schemaKey, []byte{0, 0, 0, 9})}, "written by a newer Warren: their schema is 9"},
		{"unreadable schema", Change{schemaKey, []byte("x")}, "the record of the schema cannot be read"},
		{"no schema", Change{key: schemaKey}, "there are records, but none of the schema"},
		{"unreadable position", Change{positionKey, []byte("x")}, "the record of the position cannot be read"},
	} {
		s := open(t, filepath.Join(t.TempDir(), "store"))
		commit(t, s, Put(VHost{"other"}), tt.change)
		if tt.name == "unreadable position" {
			tx := s.db.NewTransaction(true)
			if err := errors.Join(set(tx, &tt.change), tx.Commit()); err != nil {
				t.Fatal(err)
			}
		}
		closed(t, s)
		_, err := Open(s.dir, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), s.dir) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// The witness counts: a log that is behind it has lost something.
func TestWitness(t *testing.T) {
	dir, _ := filled(t, false)
	logs, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
	for _, log := range logs {
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "changes up to number 80 were made, and only those up to 40 are there") {
		t.Errorf("without a log: %v", err)
	}
}

// A transaction that is missing between others shows, whatever lost it.
func TestGap(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	commit(t, s, Put(VHost{"v"}))
	closed(t, s)
	s = open(t, s.dir)
	s.writes += 3 // the applier sleeps until the next commit
	commit(t, s, Put(VHost{"w"}))
	closed(t, s)
	if _, err := Open(s.dir, Options{}); err == nil || !strings.Contains(err.Error(), "transactions 4 to 6 are missing") {
		t.Errorf("with a gap: %v", err)
	}
}

// Whatever the bytes, decoding ends without a panic; and what it takes, it encodes to the same.
func FuzzRecord(f *testing.F) {
	for _, r := range sample.records() {
		c := Put(r)
		f.Add(c.key, c.value[:len(c.value)-sumBytes])
	}
	f.Fuzz(func(t *testing.T, key, fields []byte) {
		st := new(State)
		if err := st.add(key, seal(key, bytes.Clone(fields))); err != nil {
			return
		}
		records := st.records()
		if len(records) != 1 {
			t.Fatalf("one record became %d", len(records))
		}
		c := Put(records[0])
		again := new(State)
		if err := again.add(c.key, c.value); err != nil || !bytes.Equal(c.key, key) || !reflect.DeepEqual(fmt.Sprint(again), fmt.Sprint(st)) {
			t.Fatalf("%v became %v, error %v", st, again, err)
		}
	})
}
