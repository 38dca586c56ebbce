package node

import (
	"bufio"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	client "github.com/rabbitmq/amqp091-go"

	"github.com/warrenmq/warren/internal/meta"
)

// runNode, in the environment, makes the test binary a node with its data in that directory, to be killed.
const runNode = "WARREN_TEST_NODE_DATA"

// beVictim runs a node until the process is killed. It prints where it listens.
func beVictim(dir string) {
	n, err := Start(local(dir), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(n.Addrs()[0])
	select {}
}

// A victim is a node in a process of its own.
type victim struct {
	cmd  *exec.Cmd
	addr string
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), runNode+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err, cmd.Start())
	v := &victim{cmd: cmd}
	t.Cleanup(v.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	v.addr = strings.TrimSpace(line)
	return v
}

func (v *victim) kill() {
	if v.cmd.ProcessState == nil {
		v.cmd.Process.Signal(syscall.SIGKILL)
		v.cmd.Wait()
	}
}

// A change is one step of a worker: what it asks for, and what it makes of the set of definitions.
type change struct {
	ask  func(ch *client.Channel, noWait bool) error
	make func(set map[string]bool)
}

// script is the changes that worker w makes, in order: queues with bindings come, and go together.
func script(w, rounds int) (out []change) {
	add := func(ask func(*client.Channel, bool) error, make func(map[string]bool)) {
		out = append(out, change{ask, make})
	}
	for i := range rounds {
		name := fmt.Sprintf("%d-%d", w, i)
		add(func(ch *client.Channel, noWait bool) error {
			return ch.ExchangeDeclare(name, "direct", true, false, false, noWait, nil)
		}, func(s map[string]bool) { s["x "+name] = true })
		add(func(ch *client.Channel, noWait bool) error {
			_, err := ch.QueueDeclare(name, true, false, false, noWait, client.Table{"x-max-length": int32(i)})
			return err
		}, func(s map[string]bool) { s["q "+name] = true })
		for k := range 4 {
			key := fmt.Sprint(k)
			add(func(ch *client.Channel, noWait bool) error { return ch.QueueBind(name, key, name, noWait, nil) },
				func(s map[string]bool) { s["b "+name+" "+key] = true })
		}
		if i >= 2 {
			old := fmt.Sprintf("%d-%d", w, i-2)
			add(func(ch *client.Channel, noWait bool) error {
				_, err := ch.QueueDelete(old, false, false, noWait)
				return err
			}, func(s map[string]bool) {
				maps.DeleteFunc(s, func(k string, _ bool) bool { return k == "q "+old || strings.HasPrefix(k, "b "+old+" ") })
			})
		}
	}
	return out
}

// A worker makes its script's changes until the node dies. Those answered for are safe; those sent may be.
type worker struct {
	script         []change
	answered, sent int
}

func (w *worker) run(addr string, rng *rand.Rand, progress func(answered int)) {
	c, err := client.Dial("amqp://guest:guest@" + addr + "/")
	if err != nil {
		return
	}
	defer c.Close()
	ch, err := c.Channel()
	if err != nil {
		return
	}
	for w.sent < len(w.script) {
		batch := 1 + rng.IntN(8) // of which only the last is waited for: so all before it are answered for too
		for b := 0; b < batch && w.sent < len(w.script); b++ {
			w.sent++
			last := b == batch-1 || w.sent == len(w.script)
			if w.script[w.sent-1].ask(ch, !last) != nil {
				return
			}
		}
		progress(w.sent - w.answered)
		w.answered = w.sent
	}
}

// Killed at any moment, a node has afterwards all that it has answered for; of the rest, in the order in which it was asked
// for, some changes from the first on, each whole.
func TestKill(t *testing.T) {
	kills := 6
	if testing.Short() {
		kills = 2
	}
	const workers, rounds = 4, 40
	seed := rand.Uint64()
	for k := range kills {
		rng := rand.New(rand.NewPCG(seed, uint64(k)))
		dir := t.TempDir()
		v := startVictim(t, dir)
		killAt := rng.IntN(1000)
		var mu sync.Mutex
		answered := 0
		progress := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			if answered += n; answered >= killAt {
				v.cmd.Process.Signal(syscall.SIGKILL)
			}
		}
		var list []*worker
		var wg sync.WaitGroup
		for i := range workers {
			w := &worker{script: script(i, rounds)}
			list = append(list, w)
			wrng := rand.New(rand.NewPCG(seed, uint64(k*workers+i)))
			wg.Go(func() { w.run(v.addr, wrng, progress) })
		}
		wg.Wait()
		v.kill()
		store, err := meta.Open(filepath.Join(dir, "definitions"), meta.Options{})
		must(t, err)
		st := store.Load()
		must(t, store.Close())
		for i, w := range list {
			if !w.explains(found(st, i)) {
				t.Errorf("seed %d, kill %d at %d, worker %d: %d answered, %d sent, but there are %v", seed, k, killAt, i, w.answered, w.sent,
					found(st, i))
			}
		}
		startVictim(t, dir).kill() // it starts with what is there
	}
}

// found is what the store holds of worker w.
func found(st *meta.State, w int) map[string]bool {
	set := map[string]bool{}
	mine := fmt.Sprint(w, "-")
	for _, x := range st.Exchanges {
		set["x "+x.Name] = true
	}
	for _, q := range st.Queues {
		set["q "+q.Name] = true
	}
	for _, b := range st.Bindings {
		set["b "+b.Destination+" "+b.Key] = true
	}
	maps.DeleteFunc(set, func(k string, _ bool) bool { return !strings.HasPrefix(k[2:], mine) })
	return set
}

// explains reports whether set is what the changes make of nothing, from the first to one that was sent, and at least all
// that were answered for.
func (w *worker) explains(set map[string]bool) bool {
	now := map[string]bool{}
	for n := 0; ; n++ {
		if n >= w.answered && maps.Equal(now, set) {
			return true
		}
		if n == w.sent {
			return false
		}
		w.script[n].make(now)
	}
}
