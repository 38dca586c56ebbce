package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A witness is a small file beside Badger's that says how far the commits have come. Badger takes a record in its log that
// it cannot read for the end of the log, which is right for the torn end that a crash leaves, and would silently forget
// everything behind a flipped bit. The witness is written after the commit's sync and is itself not synced: it never says
// too much, after kill -9 it says exactly what was committed, and after a power cut it lags at most by what the kernel had
// not written.
type witness struct{ f *os.File }

const (
	witnessName  = "WITNESS"
	witnessMagic = "warrenw1"
	witnessBytes = 8 + 8 + sumBytes // magic, position, checksum: in one sector, which a disk writes whole
)

// openWitness opens the file and returns the position in it. There is none in a new store; in any other, its absence is
// damage, which old says.
func openWitness(dir string, old bool) (_ *witness, at Position, err error) {
	name := filepath.Join(dir, witnessName)
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !old:
		b = nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("the file %s is missing", witnessName)
	case err != nil:
		return nil, 0, err
	case len(b) == 0 && !old: // made just before a crash
		b = nil
	default:
		rest, ok := unseal(nil, b)
		if !ok || len(b) != witnessBytes || string(rest[:8]) != witnessMagic {
			return nil, 0, fmt.Errorf("the file %s cannot be read", witnessName)
		}
		at = Position(binary.BigEndian.Uint64(rest[8:]))
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	return &witness{f}, at, nil
}

// set notes that everything up to at is committed.
func (w *witness) set(at Position) error {
	b := binary.BigEndian.AppendUint64([]byte(witnessMagic), uint64(at))
	_, err := w.f.WriteAt(seal(nil, b), 0)
	return err
}

// sync brings the file to disk.
func (w *witness) sync() error { return w.f.Sync() }

func (w *witness) close() error { return w.f.Close() }
