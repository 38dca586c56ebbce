package broker

import (
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/warrenmq/warren/internal/meta"
)

// BenchmarkRestart is a start with 50,000 queues and 100,000 bindings: opening and reading the store, then filling the
// broker.
func BenchmarkRestart(b *testing.B) {
	const queues = 50_000
	dir := b.TempDir()
	store, err := meta.Open(dir, meta.Options{})
	if err != nil {
		b.Fatal(err)
	}
	store.Commit(meta.Put(meta.VHost{Name: "/"}))
	for i := range queues {
		name := fmt.Sprintf("queue-%06d", i)
		store.Submit(meta.Put(meta.Queue{VHost: "/", Name: name, Number: uint64(i)}))
		for j := range 2 {
			store.Submit(meta.Put(meta.Binding{VHost: "/", Source: "amq.topic", Destination: name, Key: fmt.Sprintf("a.%d", 2*i+j)}))
		}
	}
	if err := store.Close(); err != nil {
		b.Fatal(err)
	}
	var st *meta.State
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			store, err := meta.Open(dir, meta.Options{})
			if err != nil {
				b.Fatal(err)
			}
			st = store.Load()
			store.Close()
		}
	})
	b.Run("fill", func(b *testing.B) {
		for b.Loop() {
			broker := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
			if err := broker.Restore(st); err != nil {
				b.Fatal(err)
			}
		}
	})
}
