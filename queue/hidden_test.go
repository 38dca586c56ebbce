package queue

import (
	"slices"
	"strings"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

func TestPackKeys(t *testing.T) {
	long, longest := strings.Repeat("x", 256), strings.Repeat("y", 255)
	many := make([]string, 300)
	for i := range many {
		many[i] = longest
	}
	for _, tt := range []struct {
		name       string
		keys, want []string
	}{
		{"one key", []string{"a"}, []string{"a"}},
		{"an empty key is one too", []string{"", "b"}, []string{"", "b"}},
		{"a key that no binding has is left out", []string{long, longest}, []string{longest}},
		{"the log's limit holds", many, many[:255]},
	} {
		address := amqp.AppendAddress(nil, "exchange", "key")
		packed := packKeys(address, tt.keys)
		got, keys := unpackKeys(packed)
		if string(got) != string(address) || !slices.Equal(keys, tt.want) || len(packed) > 1<<16-1 {
			t.Errorf("%s: got %q and %d keys in %d bytes, want %q and %d keys", tt.name, got, len(keys), len(packed), address, len(tt.want))
		}
	}
}

// Whatever lies on disk is taken apart without a panic, into parts of it.
func FuzzUnpackKeys(f *testing.F) {
	f.Add(packKeys(amqp.AppendAddress(nil, "x", "k"), []string{"a", "b"}))
	f.Add([]byte{})
	f.Add([]byte{255})
	f.Fuzz(func(t *testing.T, packed []byte) {
		address, keys := unpackKeys(packed)
		n := len(address)
		for _, k := range keys {
			n += 1 + len(k)
		}
		if n > len(packed)+1 {
			t.Errorf("%d bytes came out of %d", n, len(packed))
		}
	})
}
