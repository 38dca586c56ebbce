package meta

import (
	"encoding/binary"
	"errors"
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
)

// progress is what every transaction notes beside its changes.
type progress struct {
	at      Position // of the last call that is there
	ceiling uint64   // queues' numbers below it are reserved
	writes  uint64   // how many transactions there have been
}

func (p progress) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.at))
	b = binary.BigEndian.AppendUint64(b, p.ceiling)
	return seal(positionKey, binary.BigEndian.AppendUint64(b, p.writes))
}

func parseProgress(value []byte) (p progress, err error) {
	b, ok := unseal(positionKey, value)
	if !ok || len(b) != 24 {
		return p, errors.New("the record of the position cannot be read")
	}
	return progress{Position(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])}, nil
}

// checkWrites reads the progress and makes sure that no transaction is missing. Badger keeps the older versions of a key
// until tables are merged, and the newest of what is merged: so those of the position that are left count up without a
// gap. A gap is what a damaged log leaves that has a whole one behind it. Where the newest are missing, the witness tells,
// and where the oldest are, the schema is missing too.
func (s *Store) checkWrites() (Position, error) {
	var last, above progress
	err := s.db.View(func(tx *badger.Txn) error {
		opt := badger.DefaultIteratorOptions
		opt.PrefetchValues = false
		opt.Prefix = positionKey
		opt.AllVersions = true // newest first
		it := tx.NewIterator(opt)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			var p progress
			err := it.Item().Value(func(value []byte) (err error) {
				p, err = parseProgress(value)
				return err
			})
			switch {
			case err != nil:
				return err
			case last.writes == 0:
				last = p
			case p.writes+1 != above.writes:
				return fmt.Errorf("transactions %d to %d are missing", p.writes+1, above.writes-1)
			}
			above = p
		}
		return nil
	})
	s.ceiling, s.writes = last.ceiling, last.writes
	return last.at, err
}
