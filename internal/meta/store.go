package meta

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"
)

// A Position counts what was submitted: the changes of one Submit have one position. It never goes back, not by a restart
// either.
type Position uint64

// Options are what a Store is opened with. The zero value is useful.
type Options struct {
	Log    *slog.Logger    // nil: nothing is logged
	Failed func(err error) // called once if the store can commit no more, from its own goroutine; may be nil
}

// A Store is the definitions of one node. Its methods may be called from any goroutine.
type Store struct {
	// immutable
	dir     string
	opt     Options
	db      *badger.DB
	folder  *os.File // dir itself
	witness *witness
	limit   limits
	space   space
	done    chan struct{} // closed when the applier has ended
	fresh   bool
	loaded  *State // until Load

	submitted, committed atomic.Uint64 // Positions; written under mu

	mu      sync.Mutex // guards the fields below
	changed sync.Cond  // of mu: committed, ceiling or err
	wake    chan struct{}
	waiting []call
	next    uint64 // the next queue's number
	ceiling uint64 // numbers below it are reserved on disk
	err     error  // why nothing more can be committed
	closing bool

	// owned by the applier
	spare  []call
	writes uint64 // how often write has written
}

// A call is what one Submit has brought.
type call struct {
	at      Position
	changes []Change
}

// ErrClosed is returned once the Store is closed.
var ErrClosed = errors.New("the definitions are closed")

// Open opens the store in dir, or makes a new one there, and starts its applier, which ends with Close. A store that is
// not whole is refused with a *DamageError.
func Open(dir string, opt Options) (*Store, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	dir = filepath.Clean(dir)
	s := &Store{dir: dir, opt: opt, done: make(chan struct{}), wake: make(chan struct{}, 1), space: space{dir: dir}}
	s.changed.L = &s.mu
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = s.space.look()
	}
	if err == nil {
		err = s.space.room(roomToOpen)
	}
	if err == nil {
		err = keepBefore(dir)
	}
	if err != nil {
		return nil, s.blame(err)
	}
	if err := s.open(); err != nil {
		s.shut()
		return nil, s.blame(err)
	}
	if err := dropBefore(dir); err != nil {
		opt.Log.Warn("a copy of the definitions could not be removed", "error", err)
	}
	go s.run() // ends with Close
	return s, nil
}

// open opens and checks everything, and finishes what a crash has left half done.
func (s *Store) open() error {
	err := rescue(func() (err error) {
		if err = checkTables(s.dir); err == nil {
			s.db, err = badger.Open(badgerOptions(s.dir))
		}
		return err
	})
	if err != nil {
		return err
	}
	s.limit = limitsOf(s.db)
	if s.folder, err = os.Open(s.dir); err != nil {
		return err
	}
	var at Position
	err = rescue(func() (err error) {
		if err = s.checkSchema(); err == nil {
			s.loaded, err = s.load()
		}
		if err == nil {
			at, err = s.checkWrites()
		}
		return err
	})
	if err != nil {
		return err
	}
	var seen Position
	if s.witness, seen, err = openWitness(s.dir, at > 0); err != nil {
		return err
	}
	if seen > at {
		return fmt.Errorf("changes up to number %d were made, and only those up to %d are there", seen, at)
	}
	if done, err := s.finishJournal(at); err != nil {
		return err
	} else if done != at {
		at = done
		if s.loaded, err = s.load(); err != nil {
			return err
		}
	}
	s.fresh = at == 0
	s.submitted.Store(uint64(at))
	s.committed.Store(uint64(at))
	s.next = max(s.ceiling, 1)
	s.ceiling = s.next + numbersReserved
	var first []Change
	if s.writes == 0 {
		first = schemaChange()
	}
	if err := s.write(at, s.ceiling, first); err != nil {
		return err
	}
	if err := s.witness.set(at); err != nil {
		return err
	}
	return s.witness.sync()
}

// Fresh reports whether the store was made by this Open: nothing was ever committed to it.
func (s *Store) Fresh() bool { return s.fresh }

// Submit hands over changes that belong together, at least one, and returns their position; it does not wait for the
// disk. The error says that nothing was handed over: the store has failed or is closed, the disk is nearly full, or a
// record is larger than MaxRecord.
func (s *Store) Submit(changes ...Change) (Position, error) {
	puts := false
	for _, c := range changes {
		puts = puts || c.value != nil
		if len(c.key) > maxKey || len(c.value) > MaxRecord {
			return 0, &TooLargeError{len(c.key) + len(c.value)}
		}
	}
	if err := s.space.check(puts); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	if s.closing {
		return 0, ErrClosed
	}
	return s.submit(changes), nil
}

// submit leaves changes for the applier. s.mu is held.
func (s *Store) submit(changes []Change) Position {
	at := Position(s.submitted.Add(1))
	s.waiting = append(s.waiting, call{at, changes})
	select {
	case s.wake <- struct{}{}:
	default: // the applier has yet to answer the last wake
	}
	return at
}

// Wait returns when everything up to at is on disk, or the reason why it will not be.
func (s *Store) Wait(at Position) error {
	if Position(s.committed.Load()) >= at {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for Position(s.committed.Load()) < at && s.err == nil {
		s.changed.Wait()
	}
	if Position(s.committed.Load()) >= at {
		return nil
	}
	return s.err
}

// Commit submits changes and waits for them.
func (s *Store) Commit(changes ...Change) error {
	at, err := s.Submit(changes...)
	if err != nil {
		return err
	}
	return s.Wait(at)
}

// Ready returns nil if changes can be submitted, otherwise what Submit would return. Deletions need less room on the disk.
func (s *Store) Ready(puts bool) error {
	if err := s.space.check(puts); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing && s.err == nil {
		return ErrClosed
	}
	return s.err
}

// Submitted returns the position of the latest Submit.
func (s *Store) Submitted() Position { return Position(s.submitted.Load()) }

// Committed returns the position up to which everything is on disk.
func (s *Store) Committed() Position { return Position(s.committed.Load()) }

// numbersReserved is how many queue numbers are reserved on disk at a time. Those not used by the next start are skipped.
const numbersReserved = 1 << 16

// Number returns a number for a queue that was never returned before, by an earlier start either. It waits for the disk
// only if very many were taken since the last commit.
func (s *Store) Number() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.next >= s.ceiling && s.err == nil {
		if s.closing {
			return 0, ErrClosed
		}
		if len(s.waiting) == 0 {
			s.submit(nil) // each commit raises the ceiling
		}
		s.changed.Wait()
	}
	if s.next >= s.ceiling {
		return 0, s.err
	}
	s.next++
	return s.next - 1, nil
}

// Close commits what was submitted, and closes the store. The error says what of that has failed.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		<-s.done
		return nil
	}
	s.closing = true
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	<-s.done
	s.mu.Lock()
	err := s.err
	if s.err == nil {
		s.err = ErrClosed
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	return errors.Join(err, s.shut())
}

// shut closes the files.
func (s *Store) shut() error {
	var err error
	if s.db != nil {
		err = rescue(s.db.Close)
	}
	if s.folder != nil {
		err = errors.Join(err, s.folder.Close())
	}
	if s.witness != nil {
		err = errors.Join(err, s.witness.sync(), s.witness.close())
	}
	return err
}
