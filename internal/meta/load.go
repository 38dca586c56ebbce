package meta

import (
	"encoding/binary"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// Load returns all definitions as Open found them. It is meant to be called once, before anything is submitted.
func (s *Store) Load() *State {
	st := s.loaded
	s.loaded = nil
	return st
}

// load reads and checks every record.
func (s *Store) load() (*State, error) {
	st := new(State)
	for _, scope := range []byte{scopeUser, scopeVHost} {
		if err := s.each([]byte{scope}, st.add); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// each calls f with every key that begins with prefix, and its value, in order. Both are valid during the call.
func (s *Store) each(prefix []byte, f func(key, value []byte) error) error {
	return s.db.View(func(tx *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false // they lie beside the keys
		opt.Prefix = prefix
		it := tx.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(value []byte) error { return f(item.Key(), value) })
			if err != nil {
				return fmt.Errorf("the record %q: %w", item.Key(), err)
			}
		}
		return nil
	})
}

// schemaChange makes a store's first record. It is written once, so that it goes missing with the store's oldest table.
func schemaChange() []Change {
	return []Change{{schemaKey, seal(schemaKey, binary.BigEndian.AppendUint32(nil, schema))}}
}

// A NewerError refuses a store that a newer Warren has written.
type NewerError struct {
	Dir    string
	Schema uint32
}

// Error says so.
func (e *NewerError) Error() string {
	return fmt.Sprintf("the definitions in %s were written by a newer Warren: their schema is %d, and this one reads %d", e.Dir,
		e.Schema, schema)
}

// checkSchema refuses what cannot be this version's store.
func (s *Store) checkSchema() error {
	missing := true
	err := s.read(schemaKey, func(value []byte) error {
		missing = false
		v, ok := unseal(schemaKey, value)
		if !ok || len(v) != 4 {
			return errors.New("the record of the schema cannot be read")
		}
		if n := binary.BigEndian.Uint32(v); n > schema {
			return &NewerError{s.dir, n}
		}
		return nil
	})
	if err == nil && missing {
		err = s.each(nil, func([]byte, []byte) error { return errors.New("there are records, but none of the schema") })
	}
	return err
}
