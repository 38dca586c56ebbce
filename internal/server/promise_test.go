package server

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/broker"
	"github.com/warrenmq/warren/internal/meta"
)

// A gate is Definitions that are safe when the test says so.
type gate struct {
	waits chan meta.Position // gets each position that is waited for and not yet safe

	mu                   sync.Mutex // guards the fields below
	changed              *sync.Cond
	submitted, committed meta.Position
	err                  error
}

func (g *gate) Submit(changes ...meta.Change) (meta.Position, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.submitted++
	return g.submitted, g.err
}

func (g *gate) Wait(at meta.Position) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.committed < at && g.err == nil {
		g.waits <- at
	}
	for g.committed < at && g.err == nil {
		g.changed.Wait()
	}
	if g.committed < at {
		return g.err
	}
	return nil
}

func (g *gate) Submitted() meta.Position {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.submitted
}

func (g *gate) Committed() meta.Position {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.committed
}

func (g *gate) Ready(bool) error        { return nil }
func (g *gate) Number() (uint64, error) { return 1, nil }

// commit makes everything up to at safe, or fails it if err is not nil.
func (g *gate) commit(at meta.Position, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.committed, g.err = at, err
	if err != nil {
		g.committed = at - 1
	}
	g.changed.Broadcast()
}

// gated makes a host whose definitions are behind a gate, and a client on channel 1.
func gated(t *testing.T) (*gate, *raw) {
	t.Helper()
	g, h := behindGate(t)
	r := h.raw()
	r.open(1)
	return g, r
}

// behindGate makes a host whose definitions are behind a gate.
func behindGate(t *testing.T) (*gate, *host) {
	t.Helper()
	g := &gate{waits: make(chan meta.Position, 1000)}
	g.changed = sync.NewCond(&g.mu)
	b := broker.New(broker.Options{Log: slog.New(slog.DiscardHandler), Definitions: g})
	made := make(chan error, 1)
	go func() { // ends with the commit
		_, err := b.AddVHost("/")
		made <- err
	}()
	next(t, "the vhost", g.waits)
	g.commit(1, nil)
	must(t, next(t, "the vhost", made))
	return g, start(t, func(o *Options) { o.Broker = b })
}

// names reads n methods of channel 1 and returns their names.
func (r *raw) names(n int) (out []string) {
	r.t.Helper()
	for len(out) < n {
		if f := r.frame(); f.Type == amqp.FrameMethod {
			out = append(out, r.parse(f).ID().String())
		}
	}
	return out
}

// Answers for durable definitions, and all that comes after them, wait for the commit; one commit serves many.
func TestAnswersWaitForTheCommit(t *testing.T) {
	g, r := gated(t)
	r.send(1, &amqp.ConfirmSelect{})
	r.send(1, &amqp.QueueDeclare{Queue: "transient"})
	r.send(1, &amqp.ExchangeDeclare{Exchange: "x", Type: "fanout", Durable: true})
	r.send(1, &amqp.QueueDeclare{Queue: "q", Durable: true, NoWait: true})
	r.send(1, &amqp.QueueBind{Queue: "q", Exchange: "x"})
	r.send(1, &amqp.QueueDeclare{Queue: "behind"})
	r.send(1, &amqp.QueueDeclare{Queue: "q", Passive: true})
	r.send(1, &amqp.QueueUnbind{Queue: "q", Exchange: "x"})
	r.send(1, &amqp.QueueDelete{Queue: "q"})
	r.send(1, &amqp.ExchangeDelete{Exchange: "x"})
	r.send(1, &amqp.QueueDeclare{Queue: "r", Durable: true})
	r.publish(1, "", "r", false, "m")
	r.flush()
	if got, want := r.names(2), []string{"confirm.select-ok", "queue.declare-ok"}; !slices.Equal(got, want) {
		t.Errorf("before the changes: %v, want %v", got, want)
	}
	at := next(t, "a wait", g.waits)
	if at != 8 { // vhost, x, q, binding, and as many gone but for the vhost, r
		t.Errorf("it waits for position %d", at)
	}
	g.commit(at, nil)
	want := []string{"exchange.declare-ok", "queue.bind-ok", "queue.declare-ok", "queue.declare-ok", "queue.unbind-ok",
		"queue.delete-ok", "exchange.delete-ok", "queue.declare-ok", "basic.ack"}
	if got := r.names(len(want)); !slices.Equal(got, want) {
		t.Errorf("after the commit: %v\nwant %v", got, want)
	}
}

// Somebody who finds a thing that is not yet safe waits too; who has to do with other things does not.
func TestOthersWaitForTheCommit(t *testing.T) {
	g, h := behindGate(t)
	r, other, third := h.raw(), h.raw(), h.raw()
	for _, c := range []*raw{r, other, third} {
		c.open(1)
	}
	r.send(1, &amqp.QueueDeclare{Queue: "q", Durable: true})
	r.flush()
	at := next(t, "a wait", g.waits)
	other.send(1, &amqp.QueueDeclare{Queue: "q", Durable: true})
	other.flush()
	if also := next(t, "the other's wait", g.waits); also != at {
		t.Errorf("one waits for %d, the other for %d", at, also)
	}
	third.call(1, &amqp.QueueDeclare{Queue: "transient"}, &amqp.QueueDeclareOk{})
	g.commit(at, nil)
	r.until(1, &amqp.QueueDeclareOk{})
	other.until(1, &amqp.QueueDeclareOk{})
}

// A refused change is told after the answers to those before it.
func TestErrorAfterPromises(t *testing.T) {
	g, r := gated(t)
	r.send(1, &amqp.QueueDeclare{Queue: "q", Durable: true})
	r.send(1, &amqp.QueueDeclare{Queue: "q"})
	r.flush()
	g.commit(next(t, "a wait", g.waits), nil)
	if got, want := r.names(2), []string{"queue.declare-ok", "channel.close"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A failed commit closes the connection with INTERNAL_ERROR, and no answer was sent.
func TestFailedCommit(t *testing.T) {
	for _, behind := range []amqp.Method{nil, &amqp.BasicQos{}, &amqp.QueueDeclare{Queue: "q"}} {
		g, r := gated(t)
		r.send(1, &amqp.QueueDeclare{Queue: "q", Durable: true})
		if behind != nil {
			r.send(1, behind)
		}
		r.flush()
		g.commit(next(t, "a wait", g.waits), errors.New("the disk is gone"))
		f := r.frame()
		c, ok := r.parse(f).(*amqp.ConnectionClose)
		if !ok || amqp.Code(c.ReplyCode) != amqp.InternalError || !strings.Contains(c.ReplyText, "the disk is gone") {
			t.Errorf("behind %T: %+v", behind, r.parse(f))
		}
		r.send(0, &amqp.ConnectionCloseOk{})
		r.flush()
	}
}

// A thousand pipelined declarations wait for a few commits, not for a thousand.
func TestPipelinedDeclarations(t *testing.T) {
	g, r := gated(t)
	const n = 1000
	for i := range n {
		r.send(1, &amqp.QueueDeclare{Queue: fmt.Sprint("q", i), Durable: true})
	}
	r.flush()
	answers, waits := make(chan string, n), 0
	go func() { // ends with the last answer, or the connection
		defer close(answers)
		for range n {
			m, err := r.tryMethod()
			if err != nil {
				return
			}
			if ok, is := m.(*amqp.QueueDeclareOk); is {
				answers <- ok.Queue
			}
		}
	}()
	for i := 0; i < n; {
		select {
		case at := <-g.waits:
			waits++
			g.commit(at, nil)
		case name, ok := <-answers:
			if !ok || name != fmt.Sprint("q", i) {
				t.Fatalf("answer %d is for %q", i, name)
			}
			i++
		}
	}
	if waits > n/10 {
		t.Errorf("%d declarations waited %d times", n, waits)
	}
}
