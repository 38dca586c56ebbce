package meta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
)

// checkTables reads every table that the manifest lists and verifies all checksums in it. Badger would too, but it passes
// over a table whose checksum does not fit as if it had never been, and panics in a goroutine of its own at other faults.
func checkTables(dir string) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store, or one of which the witness knows more
	}
	if err != nil {
		return err
	}
	defer f.Close()
	m, _, err := badger.ReplayManifestFile(f, 0, badgerOptions(dir))
	if err != nil {
		return fmt.Errorf("its list of tables cannot be read: %w", err)
	}
	for id := range m.Tables {
		name := table.NewFilename(id, dir)
		err := rescue(func() error { return checkTable(name) })
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.New("it is missing")
		}
		if err != nil {
			return fmt.Errorf("its table %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// checkTable verifies one table. Its file ends with the index, the index's length, the index's checksum and the checksum's
// length, and Badger ends the process if one of the lengths leads out of the file.
func checkTable(name string) error {
	mf, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	rest := len(mf.Data)
	for range 2 {
		if rest -= 4; rest < 0 {
			mf.Close(-1)
			return errShort
		}
		n := int64(binary.BigEndian.Uint32(mf.Data[rest:]))
		if n == 0 || n > int64(rest) {
			mf.Close(-1)
			return errors.New("its end cannot be read")
		}
		rest -= int(n)
	}
	t, err := table.OpenTable(mf, table.Options{ReadOnly: true, BlockSize: blockBytes, ChkMode: options.NoVerification})
	if err != nil {
		return err
	}
	return errors.Join(t.VerifyChecksum(), mf.Close(-1))
}
