package broker

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

func newTestVHost() *VHost {
	v, err := New(Options{ClusterName: "test", Log: slog.New(slog.DiscardHandler)}).AddVHost("/")
	if err != nil {
		panic(err) // without Definitions there is nothing to fail
	}
	return v
}

func declare(t testing.TB, v *VHost, name string) *Queue {
	t.Helper()
	q, _, err := v.DeclareQueue(QueueSpec{Name: name}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// message makes a message whose only reference is the caller's.
func message(exchange, key, body string) *amqp.Message {
	address := amqp.AppendAddress(nil, exchange, key)
	header := amqp.AppendHeader(nil, &amqp.Properties{}, uint64(len(body)))
	b := amqp.NewBuffer(len(address) + len(header) + len(body))
	m := amqp.NewMessage(b)
	m.Address, m.Header, m.Body, m.Size = address, header, []byte(body), len(body)
	return m
}

// got is a session that notes what basic.get answers.
type got struct{ bodies []string }

func (g *got) Deliver(*queue.Consumer, []queue.Delivery) {}
func (g *got) Got(d queue.Delivery, _ bool, _ int) {
	g.bodies = append(g.bodies, string(d.Message.AppendBody(nil)))
}
func (g *got) Room(*queue.Consumer) int     { return 0 }
func (g *got) Acquire(*queue.Consumer) bool { return false }
func (g *got) Cancelled(*queue.Consumer)    {}

// all takes everything from q.
func all(t testing.TB, q *Queue) []string {
	t.Helper()
	var g got
	for {
		if more, err := q.Get(&g, true); err != nil {
			t.Fatal(err)
		} else if !more {
			return g.bodies
		}
	}
}

// counted counts confirmations.
type counted struct {
	mu sync.Mutex
	n  map[uint64]int
}

func (c *counted) Confirmed(seqs []uint64, _ bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range seqs {
		c.n[s]++
	}
}

// However many queues are used in whatever order, each gets its messages once and in order, and answers once for each.
func TestSenderAgainstModel(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		v := newTestVHost()
		queues := make([]*Queue, 1+rnd.IntN(150))
		model := make([][]string, len(queues))
		for i := range queues {
			queues[i] = declare(t, v, fmt.Sprint("q", i))
		}
		s := NewSender(v)
		confirms := &counted{n: map[uint64]int{}}
		seq := uint64(0)
		for range 20 {
			var sent []*amqp.Message
			spread := 1 + rnd.IntN(len(queues)) // how many queues this round touches
			for range rnd.IntN(300) {
				i := rnd.IntN(spread)
				seq++
				m := message("", queues[i].Config().Name, fmt.Sprint(seq))
				s.Publish(queues[i].target, m, confirms, seq)
				model[i] = append(model[i], fmt.Sprint(seq))
				sent = append(sent, m)
			}
			if s.count != len(sent) {
				t.Fatalf("%d events are pending, want %d", s.count, len(sent))
			}
			s.Flush()
			for _, m := range sent {
				m.Release(1)
			}
		}
		for i, q := range queues {
			if g := all(t, q); !slices.Equal(g, model[i]) {
				t.Errorf("seed %d: queue %d has %v, want %v", seed, i, g, model[i])
			}
		}
		for k := uint64(1); k <= seq; k++ {
			if confirms.n[k] != 1 {
				t.Errorf("seed %d: %d was confirmed %d times", seed, k, confirms.n[k])
			}
		}
	}
}

// A remembered route is forgotten with the first change of any binding, queue or exchange.
func TestRoutesFollowChanges(t *testing.T) {
	v := newTestVHost()
	a, b := declare(t, v, "a"), declare(t, v, "b")
	s := NewSender(v)
	targets := func() (names []string) {
		t.Helper()
		p := amqp.Publish{Address: amqp.AppendAddress(nil, "amq.direct", "k")}
		p.Exchange, p.RoutingKey = amqp.SplitAddress(p.Address)
		r, err := s.Route(&p)
		if err != nil {
			t.Fatal(err)
		}
		m := message("amq.direct", "k", "")
		defer m.Release(1)
		for range 2 { // the second answer is the remembered one
			names = names[:0]
			for _, q := range s.Targets(r, &exchange.Msg{Key: "k"}, m) {
				names = append(names, q.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	to := func(q *Queue) exchange.Binding {
		return exchange.Binding{Source: "amq.direct", Destination: q.Config().Name, Key: "k"}
	}
	for _, step := range []struct {
		do   func() error
		want []string
	}{
		{func() error { return nil }, nil},
		{func() error { return v.Bind(to(a), nil) }, []string{"a"}},
		{func() error { return v.Bind(to(b), nil) }, []string{"a", "b"}},
		{func() error { return v.Unbind(to(a), nil) }, []string{"b"}},
		{func() error { _, err := v.DeleteQueue(b, false, false); return err }, nil},
		{func() error { return v.Bind(to(declare(t, v, "b")), nil) }, []string{"b"}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if names := targets(); !slices.Equal(names, step.want) {
			t.Errorf("got %v, want %v", names, step.want)
		}
	}
}

// Queues of one name that many declare and delete at the same time leave nothing in the table that is not alive, and no
// number that two queues share.
func TestDeclareAndDeleteTogether(t *testing.T) {
	v := newTestVHost()
	var workers sync.WaitGroup
	for k := range 6 {
		workers.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(k), 0))
			for range 500 {
				name := fmt.Sprint("q", rnd.IntN(3))
				q, _, err := v.DeclareQueue(QueueSpec{Name: name}, nil, nil)
				if err != nil {
					t.Error(err)
					return
				}
				v.Bind(exchange.Binding{Source: "amq.fanout", Destination: name}, nil)
				if rnd.IntN(2) == 0 {
					v.DeleteQueue(q, false, false)
				}
			}
		})
	}
	workers.Wait()
	ids := map[uint32]string{}
	for x := range v.Table().Queues() {
		q := x.Value.(*Queue)
		if other, taken := ids[x.ID]; taken {
			t.Errorf("%s and %s share the number %d", x.Name, other, x.ID)
		}
		ids[x.ID] = x.Name
		if _, alive := q.Stats(); !alive {
			t.Errorf("%s is in the table and deleted", x.Name)
		}
		v.DeleteQueue(q, false, false)
	}
	for b := range v.Table().Bindings() {
		t.Errorf("%+v is left", b)
	}
}

func TestAlarms(t *testing.T) {
	var a Alarms
	var told []string
	a.Watch(func(reason string) { told = append(told, reason) })
	reason, changed := a.Reason()
	if reason != "" || a.Blocked() {
		t.Errorf("blocked by %q from the start", reason)
	}
	a.SetMemory(true)
	<-changed
	a.SetMemory(true) // no change
	_, changed = a.Reason()
	a.SetDisk(true)
	<-changed
	a.SetMemory(false)
	a.SetDisk(false)
	if want := []string{"low on memory", "low on memory & disk", "low on disk", ""}; !slices.Equal(told, want) || a.Blocked() {
		t.Errorf("told %q, want %q", told, want)
	}
}
