package meta

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A DamageError refuses a store that is not whole. Nothing of it was used.
type DamageError struct {
	Dir    string // of the store
	Found  string // holds the files as they were before this start touched them; "" if that could not be kept
	Reason string
}

// Error says what is wrong, where, and what can be done.
func (e *DamageError) Error() string {
	s := fmt.Sprintf("the definitions in %s are damaged: %s. Nothing was loaded. Restore that directory from a backup, or move "+
		"it away to start without definitions", e.Dir, e.Reason)
	if e.Found != "" {
		s += "; the files as they were found are kept in " + e.Found
	}
	return s
}

// blame makes a DamageError of err, unless it is something else: a missing permission, a full disk or a newer format are
// no damage.
func (s *Store) blame(err error) error {
	var newer *NewerError
	var errno syscall.Errno
	switch {
	case errors.As(err, &newer):
		dropBefore(s.dir)
		return err
	case errors.As(err, &errno):
		dropBefore(s.dir)
		return fmt.Errorf("open the definitions in %s: %w", s.dir, err)
	}
	return &DamageError{Dir: s.dir, Found: keepDamaged(s.dir), Reason: oneLine(err.Error())}
}

// oneLine returns the first line of a text: Badger adds stacks.
func oneLine(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimRight(text, " .")
}

// rescue calls f, which calls Badger, and turns its panics, by which it meets some kinds of damage, into errors.
func rescue(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return f()
}

// Opening a damaged store cuts and deletes what does not fit. So before that, its files are copied aside, and the copy is
// removed when the store has turned out to be whole. The copy is complete when it has its name.
const (
	beforeSuffix  = ".before"  // the copy, while a start looks at the store
	partSuffix    = ".part"    // the copy, while it is made or removed
	damagedSuffix = ".damaged" // the copy of a damaged store, for good
)

// keepBefore makes the copy: tables, which never change, as links, logs whole; after a clean stop that is next to nothing.
// One that a start has left that was killed is the true one, and stays.
func keepBefore(dir string) error {
	if err := os.RemoveAll(dir + partSuffix); err != nil {
		return err
	}
	if _, err := os.Stat(dir + beforeSuffix); err == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	if err := os.Mkdir(dir+partSuffix, 0o700); err != nil {
		return err
	}
	for _, e := range entries {
		from, to := filepath.Join(dir, e.Name()), filepath.Join(dir+partSuffix, e.Name())
		switch {
		case e.Name() == "DISCARD" || !e.Type().IsRegular(): // statistics of the value log, in which there is nothing
		case filepath.Ext(from) == ".sst":
			err = os.Link(from, to)
		default:
			err = copyFile(to, from)
		}
		if err != nil {
			return err
		}
	}
	return os.Rename(dir+partSuffix, dir+beforeSuffix)
}

// dropBefore removes the copy.
func dropBefore(dir string) error {
	if err := os.Rename(dir+beforeSuffix, dir+partSuffix); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.RemoveAll(dir + partSuffix)
}

// keepDamaged gives the copy its last name and returns it. An older one, nearer to the damage, stays in its place.
func keepDamaged(dir string) string {
	damaged := dir + damagedSuffix
	if _, err := os.Stat(damaged); err == nil {
		dropBefore(dir)
		return damaged
	}
	if err := os.Rename(dir+beforeSuffix, damaged); err != nil {
		return ""
	}
	return damaged
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
