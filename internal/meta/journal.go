package meta

import (
	"encoding/binary"
	"errors"

	badger "github.com/dgraph-io/badger/v4"
)

// The journal makes changes that belong together and do not fit into one transaction be there whole or not at all: the
// bindings of a deleted queue, an import of definitions. They are first written, encoded, as chunks under keys of the
// journal; then one transaction writes the mark that they are decided; then they are made in as many transactions as it
// takes, each of which may happen twice; a last transaction removes chunks and mark. A start that finds the mark goes on
// from there, one that finds only chunks removes them.

// applyLarge makes one call's changes durable by way of the journal.
func (s *Store) applyLarge(ceiling uint64, c call) error {
	chunks, err := s.writeChunks(c.changes)
	if err != nil {
		return err
	}
	mark := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(c.at)), uint64(chunks))
	before := c.at - 1
	if err := s.write(before, ceiling, []Change{{decidedKey, seal(decidedKey, mark)}}); err != nil {
		return err
	}
	return s.make(before, c.at, ceiling, c.changes, chunks)
}

// make writes decided changes and clears the journal. The position goes from before to at in the last step.
func (s *Store) make(before, at Position, ceiling uint64, changes []Change, chunks int) error {
	for len(changes) > 0 {
		n := s.limit.prefix(changes)
		if err := s.write(before, ceiling, changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return s.write(at, ceiling, clearing(chunks, true))
}

// clearing are the changes that remove the journal.
func clearing(chunks int, decided bool) []Change {
	var out []Change
	if decided {
		out = append(out, Change{key: decidedKey})
	}
	for i := range chunks {
		out = append(out, Change{key: chunkKey(i)})
	}
	return out
}

func chunkKey(i int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), chunkPrefix...), uint32(i))
}

// writeChunks writes changes to the journal and returns how many chunks they took.
func (s *Store) writeChunks(changes []Change) (chunks int, err error) {
	var b []byte
	write := func() error {
		key := chunkKey(chunks)
		chunks++
		c := Change{key, seal(key, b)}
		b = nil
		return s.db.Update(func(tx *badger.Txn) error { return set(tx, &c) })
	}
	for i := range changes {
		c := &changes[i]
		if len(b) > 0 && len(b)+len(c.key)+len(c.value)+chunkSlack > MaxRecord {
			if err := write(); err != nil {
				return 0, err
			}
		}
		b = appendString(b, string(c.key))
		b = append(b, bit(c.value != nil, 0))
		b = appendString(b, string(c.value))
	}
	err = write()
	return chunks, err
}

// chunkSlack is room for a change's lengths and a chunk's checksum.
const chunkSlack = 32

// readChunks reads back what writeChunks has written.
func (s *Store) readChunks(chunks int) (changes []Change, err error) {
	for i := range chunks {
		key := chunkKey(i)
		missing := true
		err := s.read(key, func(value []byte) error {
			missing = false
			v, ok := unseal(key, value)
			if !ok {
				return errors.New("a chunk of the journal cannot be read")
			}
			r := reader{rest: append([]byte(nil), v...)}
			for r.err == nil && len(r.rest) > 0 {
				c := Change{key: r.take(r.uvarint())}
				put := r.octet() != 0
				if c.value = r.take(r.uvarint()); !put {
					c.value = nil
				}
				changes = append(changes, c)
			}
			return r.err
		})
		if err == nil && missing {
			err = errors.New("a chunk of the journal is missing")
		}
		if err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// finishJournal does at a start what a crash has left undone, and returns the position after it.
func (s *Store) finishJournal(at Position) (Position, error) {
	var decided bool
	var target Position
	var chunks int
	err := s.read(decidedKey, func(value []byte) error {
		v, ok := unseal(decidedKey, value)
		if !ok || len(v) != 16 {
			return errors.New("the mark of the journal cannot be read")
		}
		decided = true
		target, chunks = Position(binary.BigEndian.Uint64(v)), int(binary.BigEndian.Uint64(v[8:]))
		return nil
	})
	if err != nil {
		return 0, err
	}
	if decided {
		changes, err := s.readChunks(chunks)
		if err != nil {
			return 0, err
		}
		return target, s.make(at, target, s.ceiling, changes, chunks)
	}
	left := 0
	err = s.each(chunkPrefix, func([]byte, []byte) error { left++; return nil })
	if err != nil || left == 0 {
		return at, err
	}
	return at, s.write(at, s.ceiling, clearing(left, false))
}

// prefix returns how many of changes, at least one, fit into one transaction.
func (l limits) prefix(changes []Change) int {
	var bytes int64
	for i := range changes {
		bytes += changes[i].size()
		if int64(i) >= l.count || bytes > l.bytes && i > 0 {
			return i
		}
	}
	return len(changes)
}
