package meta

import (
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// run is the applier: it commits what waits, all of it at once, until the store is closed and nothing waits.
func (s *Store) run() {
	defer close(s.done)
	for range s.wake {
		for {
			s.mu.Lock()
			calls := s.waiting
			s.waiting, s.spare = s.spare[:0], nil
			ceiling := s.ceiling
			if s.next+numbersReserved/2 > ceiling {
				ceiling = s.next + numbersReserved
			}
			closing := s.closing
			s.mu.Unlock()
			if len(calls) == 0 {
				s.spare = calls
				if closing {
					return
				}
				break
			}
			err := rescue(func() error { return s.apply(ceiling, calls) })
			if err != nil {
				s.fail(err)
				return
			}
			at := calls[len(calls)-1].at
			clear(calls)
			s.spare = calls[:0]
			if cap(calls) > keepCalls {
				s.spare = nil
			}
			s.mu.Lock()
			s.ceiling = ceiling
			s.committed.Store(uint64(at))
			s.changed.Broadcast()
			s.mu.Unlock()
			s.tidy()
		}
	}
}

// keepCalls is how long a slice of calls is worth keeping for the next batch.
const keepCalls = 1 << 12

// fail ends the store: a failed sync leaves nothing that could be believed later. What is on disk shows at the next start.
func (s *Store) fail(err error) {
	err = fmt.Errorf("definitions cannot be changed any more, because writing to %s failed: %w", s.dir, err)
	s.mu.Lock()
	s.err = err
	s.waiting = nil
	s.changed.Broadcast()
	s.mu.Unlock()
	if s.opt.Failed != nil {
		s.opt.Failed(err)
	}
}

// apply makes calls, in their order, durable: in one transaction if they fit, otherwise in several, each call whole in one
// of them. One that fits in none goes through the journal. What is on disk afterwards depends on the store and the calls
// alone.
func (s *Store) apply(ceiling uint64, calls []call) error {
	for len(calls) > 0 {
		n := s.limit.fit(calls)
		if n == 0 {
			if err := s.applyLarge(ceiling, calls[0]); err != nil {
				return err
			}
			n = 1
		} else {
			var changes []Change
			for _, c := range calls[:n] {
				changes = append(changes, c.changes...)
			}
			if err := s.write(calls[n-1].at, ceiling, changes); err != nil {
				return err
			}
		}
		// The witness is a help in need and no more: without it the commit is as good.
		if err := s.witness.set(calls[n-1].at); err != nil {
			s.opt.Log.Error("the witness of the definitions could not be written", "directory", s.dir, "error", err)
		}
		calls = calls[n:]
	}
	return nil
}

// write makes changes and the position durable in one transaction.
func (s *Store) write(at Position, ceiling uint64, changes []Change) error {
	tx := s.db.NewTransaction(true)
	defer tx.Discard()
	for i := range changes {
		if err := set(tx, &changes[i]); err != nil {
			return err
		}
	}
	p := progress{at, ceiling, s.writes + 1}
	if err := tx.Set(positionKey, p.encode()); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	// Badger syncs a new log, but not the directory that names it. Where nothing has changed there, this costs nothing.
	if err := s.folder.Sync(); err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	s.writes++
	return nil
}

func set(tx *badger.Txn, c *Change) error {
	if c.value == nil {
		return tx.Delete(c.key)
	}
	return tx.Set(c.key, c.value)
}

// read calls f with the value of key, if there is one.
func (s *Store) read(key []byte, f func(value []byte) error) error {
	return s.db.View(func(tx *badger.Txn) error {
		item, err := tx.Get(key)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(f)
	})
}
