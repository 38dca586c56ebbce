package broker

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/meta"
)

func openStore(t testing.TB, dir string) *meta.Store {
	t.Helper()
	s, err := meta.Open(dir, meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// restarted returns a broker as a start makes it from what s holds.
func restarted(t testing.TB, s *meta.Store) *Broker {
	t.Helper()
	b := New(Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Definitions: s})
	if err := b.Restore(s.Load()); err != nil {
		t.Fatal(err)
	}
	return b
}

// durable lists what of a vhost is to survive, in words.
func durable(v *VHost) string {
	t := v.Table()
	var out []string
	for x := range t.Exchanges() {
		if x.Durable {
			out = append(out, fmt.Sprintf("exchange %+v", x.Spec))
		}
	}
	for q := range t.Queues() {
		if bq := q.Value.(*Queue); q.Durable {
			c := bq.Config()
			out = append(out, fmt.Sprintf("queue %s number %d auto-delete %t args %v", c.Name, bq.Number(), c.AutoDelete, c.Args))
		}
	}
	for b := range t.Bindings() {
		if lasting(t, &b) {
			out = append(out, fmt.Sprintf("binding %+v", b))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// Whatever is declared, bound, unbound and deleted: what is durable, and only that, is there after a restart.
func TestRestartKeepsWhatIsDurable(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	store := openStore(t, dir)
	b := restarted(t, store)
	if _, err := b.AddVHost("v"); err != nil {
		t.Fatal(err)
	}
	ok := func() error { return nil }
	args := func() amqp.Table {
		if rng.IntN(2) == 0 {
			return nil
		}
		return amqp.Table{{Name: "x-max-length", Value: int32(rng.IntN(3))}}
	}
	numbers := map[uint64]string{}
	for round := range 20 {
		v, err := b.VHost("v")
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			name := string(rune('a' + rng.IntN(6)))
			binding := exchange.Binding{Source: name, Destination: string(rune('a' + rng.IntN(6))), ToExchange: rng.IntN(3) == 0,
				Key: string(rune('k' + rng.IntN(2))), Args: args()}
			if rng.IntN(4) == 0 {
				binding.Source = "amq.direct"
			}
			switch rng.IntN(8) { // refusals are as good as any other outcome
			case 0, 1:
				q, _, err := v.DeclareQueue(QueueSpec{Name: name, Durable: rng.IntN(3) > 0, AutoDelete: rng.IntN(3) == 0, Args: args()}, nil, ok)
				if err == nil && q.Number() != 0 {
					id := fmt.Sprintf("%p", q)
					if had := numbers[q.Number()]; had != "" && had != id {
						t.Fatalf("seed %d: number %d is %s's and %s's", seed, q.Number(), had, id)
					}
					numbers[q.Number()] = id
				}
			case 2:
				v.DeclareExchange(exchange.Spec{Name: name, Type: "direct", Durable: rng.IntN(3) > 0, AutoDelete: rng.IntN(3) == 0}, ok)
			case 3, 4, 5:
				v.Bind(binding, nil)
			case 6:
				v.Unbind(binding, nil)
			case 7:
				if rng.IntN(2) == 0 {
					v.DeleteExchange(name, false)
				} else if q, err := v.Queue(name, nil); err == nil {
					v.DeleteQueue(q, false, false)
				}
			}
		}
		want := durable(v)
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = openStore(t, dir)
		b = restarted(t, store)
		again, err := b.VHost("v")
		if err != nil {
			t.Fatal(err)
		}
		if got := durable(again); got != want {
			t.Fatalf("seed %d, round %d: restored\n%s\nwant\n%s", seed, round, got, want)
		}
		clear(numbers) // queues have other addresses now
		for q := range again.Table().Queues() {
			numbers[q.Value.(*Queue).Number()] = fmt.Sprintf("%p", q.Value.(*Queue))
		}
	}
	store.Close()
}

// Definitions that do not fit together are refused with the name of what does not.
func TestRestoreRefuses(t *testing.T) {
	v := []meta.VHost{{Name: "v"}}
	for _, tt := range []struct {
		state meta.State
		want  string
	}{
		{meta.State{Queues: []meta.Queue{{VHost: "v", Name: "q"}}}, "restore queue 'q': there is no vhost 'v'"},
		{meta.State{VHosts: v, Exchanges: []meta.Exchange{{VHost: "v", Name: "x", Type: "odd"}}}, "restore exchange 'x' of vhost 'v': "},
		{meta.State{VHosts: v, Queues: []meta.Queue{{VHost: "v", Name: "q", Args: amqp.Table{{Name: "x-expires", Value: "soon"}}}}}, "restore queue 'q' of vhost 'v': "},
		{meta.State{VHosts: v, Bindings: []meta.Binding{{VHost: "v", Source: "amq.topic", Destination: "q"}}}, "restore binding to 'q' of vhost 'v': "},
	} {
		b := New(Options{Log: slog.New(slog.DiscardHandler)})
		if err := b.Restore(&tt.state); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %s...", tt.state, err, tt.want)
		}
	}
}

// What cannot be written is refused before anything has changed, with a text for the client.
func TestChangesThatCannotBeKept(t *testing.T) {
	store := openStore(t, t.TempDir())
	b := restarted(t, store)
	v, err := b.AddVHost("v")
	if err != nil {
		t.Fatal(err)
	}
	ok := func() error { return nil }
	q, _, err := v.DeclareQueue(QueueSpec{Name: "q", Durable: true}, nil, ok)
	if err != nil {
		t.Fatal(err)
	}
	bound := exchange.Binding{Source: "amq.direct", Destination: "q", Key: "k"}
	if err := v.Bind(bound, nil); err != nil {
		t.Fatal(err)
	}
	if err := v.DeclareExchange(exchange.Spec{Name: "x", Type: "fanout", Durable: true}, ok); err != nil {
		t.Fatal(err)
	}
	huge := amqp.Table{{Name: "note", Value: strings.Repeat("x", meta.MaxRecord)}}
	if _, _, err := v.DeclareQueue(QueueSpec{Name: "huge", Durable: true, Args: huge}, nil, ok); code(err) != amqp.PreconditionFailed {
		t.Errorf("a huge queue: %v", err)
	}
	before := durable(v)
	store.Close()
	_, vhostErr := b.AddVHost("w")
	_, _, declareErr := v.DeclareQueue(QueueSpec{Name: "r", Durable: true}, nil, ok)
	_, deleteErr := v.DeleteQueue(q, false, false)
	for what, err := range map[string]error{
		"a vhost": vhostErr, "a queue": declareErr, "a queue's deletion": deleteErr,
		"an exchange":            v.DeclareExchange(exchange.Spec{Name: "y", Type: "fanout", Durable: true}, ok),
		"an exchange's deletion": v.DeleteExchange("x", false),
		"a binding":              v.Bind(exchange.Binding{Source: "x", Destination: "q"}, nil),
		"a binding's removal":    v.Unbind(bound, nil),
	} {
		if code(err) != amqp.InternalError || !strings.Contains(err.Error(), "the definitions are closed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := durable(v); got != before {
		t.Errorf("%s\nbecame\n%s", before, got)
	}
	if _, _, err := v.DeclareQueue(QueueSpec{Name: "t"}, nil, ok); err != nil {
		t.Errorf("a transient queue: %v", err)
	}
}

func code(err error) amqp.Code {
	if e, ok := err.(*amqp.Error); ok {
		return e.Code
	}
	return 0
}
