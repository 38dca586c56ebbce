package meta

import (
	"fmt"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// MaxRecord is the most bytes that a record's value may have.
const MaxRecord = 256 << 10

const maxKey = 32 << 10 // bytes; Badger takes 65,000

// A TooLargeError refuses a definition that is larger than MaxRecord, or has too long a name.
type TooLargeError struct{ Bytes int }

// Error says how large is too large.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("a definition of %d bytes is too large; the limit is %d", e.Bytes, MaxRecord)
}

// badgerOptions make Badger small and silent: it holds a few megabytes of names, read once and written now and then.
func badgerOptions(dir string) badger.Options {
	o := badger.DefaultOptions(dir)
	o.SyncWrites = true
	o.Logger = nil
	o.MetricsEnabled = false
	o.DetectConflicts = false // the applier is the only writer

	// The memtable's arena is a third larger than this, and resident as far as it is filled.
	o.MemTableSize = 4 << 20
	o.NumMemtables = 2

	// Tables are read once, by Load, so there is nothing to cache, and without a cache nothing may be compressed.
	o.Compression = options.None
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.BlockSize = blockBytes
	o.ChecksumVerificationMode = options.NoVerification // checkTables has done it

	// The value log stays empty: no value is longer than MaxRecord.
	o.ValueThreshold = MaxRecord + 1<<10
	o.ValueLogFileSize = 1 << 20
	o.ValueLogMaxEntries = 1000

	// Badger's compactors wake up twenty times a second for nothing; tidy does their work after a commit.
	o.NumCompactors = 0
	o.NumLevelZeroTables = tidyTables
	o.NumLevelZeroTablesStall = 1 << 20

	// So there are two levels, of new tables and of merged ones, and the versions of a key that are left have no gap: see
	// checkWrites.
	o.BaseLevelSize = 1 << 40
	return o
}

const blockBytes = 4 << 10 // of a table

// tidyTables is how many tables may lie unmerged.
const tidyTables = 5

// tidy merges tables when there are many. It is called by the applier and takes a fraction of a second for each 20 MB of
// definitions written.
func (s *Store) tidy() {
	if l := s.db.Levels(); len(l) > 0 && l[0].NumTables > tidyTables {
		if err := rescue(func() error { return s.db.Flatten(1) }); err != nil {
			s.opt.Log.Error("merging tables of the definitions failed", "directory", s.dir, "error", err)
		}
	}
}

// limits are of one transaction.
type limits struct{ count, bytes int64 }

func limitsOf(db *badger.DB) limits {
	return limits{db.MaxBatchCount() / 2, db.MaxBatchSize() / 2} // Badger adds a few entries and bytes of its own
}

// fit returns how many of calls, from the first, fit into one transaction.
func (l limits) fit(calls []call) (n int) {
	var count, bytes int64
	for n = range calls {
		for _, c := range calls[n].changes {
			count++
			bytes += c.size()
		}
		if count > l.count || bytes > l.bytes {
			return n
		}
	}
	return len(calls)
}

// size is what a change takes of a transaction, bytes.
func (c *Change) size() int64 { return int64(len(c.key) + len(c.value) + 32) }
