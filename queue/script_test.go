package queue

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warrenmq/warren/amqp"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into the scripts")

// TestScripts runs testdata/*.txt. A script is scenarios, each under a title and in a world of its own: blocks of commands,
// "----", and what happened. Time is virtual and passes only with advance. The commands:
//
//	queue [q] ttl=20ms expires=1s max-length=2 max-bytes=9 overflow=reject-publish dlx= dlkey=k delivery-limit=2
//	    priorities=9 single quorum expire-anywhere    makes a queue
//	set [q] ...                      changes its settings: those not named are as if never given
//	consume tag [queue=q] [session=tag] [prefetch=2] [no-ack] [exclusive] [priority=1]
//	cancel tag; leave session; recover session
//	publish m1 m2 [queue=q] [confirm] [key=q] [exchange=] [priority=1] [expiration=20] [size=100] [cc=a,b] [bcc=a,b]
//	    [x-death=mangled]            as one batch; or publish 3*m for m1 m2 m3
//	ack 1 2; reject 1 2 [requeue]    deliveries, by number
//	hold; submit                     what is published and settled between them is one batch
//	get [queue=q] [session=g] [no-ack]
//	full session; room session       its client is slow; is no longer
//	share session limit              the prefetch that its consumers share; 0: none
//	purge [q]; delete [q] [if-unused] [if-empty]; touch [q]; stats [q]
//	headers                          from now on deliveries show their headers
//	advance 10ms
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runFile(t, file) })
	}
}

func runFile(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	scenarios := strings.Split(string(text), "\n== ")
	out.WriteString(scenarios[0])
	line := 1 + strings.Count(scenarios[0], "\n")
	for _, s := range scenarios[1:] {
		title, body, _ := strings.Cut(s, "\n")
		out.WriteString("\n== " + title + "\n")
		synctest.Test(t, func(*testing.T) {
			w := newWorld(t)
			out.WriteString(w.runScenario(file, title, line+1, body))
			w.end(title)
		})
		line += 1 + strings.Count(s, "\n")
	}
	got := strings.TrimRight(out.String(), "\n") + "\n"
	if *rewrite && got != string(text) {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// runScenario runs the blocks of body, which begins at line, and returns it with what happened.
func (w *world) runScenario(file, title string, line int, body string) string {
	var out strings.Builder
	var block, want []string
	answering := false
	flush := func() {
		if len(block) == 0 && len(want) == 0 {
			return
		}
		got := w.runBlock(block)
		out.WriteString(strings.Join(block, "\n") + "\n----\n")
		for _, g := range got {
			out.WriteString(g + "\n")
		}
		out.WriteString("\n")
		if !*rewrite && !slices.Equal(got, want) {
			w.t.Errorf("%s:%d: %s\n%s\ngot:\n%s\nwant:\n%s", file, line, title, strings.Join(block, "\n"),
				strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		block, want, answering = nil, nil, false
	}
	for _, l := range strings.Split(body, "\n") {
		line++
		switch {
		case answering && l == "":
			flush()
		case answering:
			want = append(want, l)
		case l == "----":
			answering = true
		case l != "":
			block = append(block, l)
		}
	}
	flush()
	return strings.TrimSuffix(out.String(), "\n")
}

func (w *world) runBlock(block []string) []string {
	w.written()
	for _, l := range block {
		if strings.HasPrefix(l, "#") {
			continue
		}
		words := strings.Fields(l)
		a := parseArgs(words[1:])
		w.command(words[0], a)
		synctest.Wait()
		if left := a.unused(); left != "" {
			w.t.Fatalf("%s: %s is not understood", l, left)
		}
	}
	var lines []string
	for _, entry := range w.written() {
		lines = append(lines, strings.Split(entry, "\n")...)
	}
	return lines
}

// written takes what was written down.
func (w *world) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

func (w *world) command(verb string, a *args) {
	switch verb {
	case "queue":
		name := a.word(0, "q")
		cfg, set := a.config(name)
		w.mu.Lock()
		w.queues[name] = New(cfg, set, &w.owner, 1<<20, Storage{})
		w.mu.Unlock()
	case "set":
		q := w.queue(a)
		_, set := a.config(q.cfg.Name)
		q.Set(set)
	case "consume":
		w.consume(a)
	case "cancel":
		c := w.consumer(a.word(0, ""))
		w.last(c.queue.Cancel(c))
	case "leave":
		s := w.session(a.word(0, ""))
		for _, name := range sorted(w.queues) {
			w.last(w.queues[name].Leave(s))
		}
	case "recover":
		for _, name := range sorted(w.queues) {
			w.queues[name].Recover(w.session(a.word(0, "")))
		}
	case "publish":
		w.publish(a)
	case "ack":
		w.settle(a, Ack)
	case "reject":
		requeue := a.flag("requeue")
		w.settle(a, func(h Handle) Event { return Reject(h, requeue) })
	case "hold":
		w.holding = true
	case "submit":
		w.flush()
	case "get":
		q := w.queueNamed(a.value("queue", "q"))
		switch got, err := q.Get(w.session(a.value("session", "g")), a.flag("no-ack")); {
		case err != nil:
			w.say("%v", err)
		case !got:
			w.say("got nothing")
		}
	case "full":
		w.session(a.word(0, "")).change(func(s *fakeSession) { s.full = true })
	case "room":
		s := w.session(a.word(0, ""))
		s.change(func(s *fakeSession) { s.full = false })
		for _, q := range s.freed(0) {
			q.Resume()
		}
	case "share":
		s := w.session(a.word(0, ""))
		limit := int(number(a.word(1, "0")))
		s.change(func(s *fakeSession) { s.limit = limit })
		for _, q := range s.freed(0) {
			q.Resume()
		}
	case "purge":
		n, err := w.queue(a).Purge()
		w.result("purged", n, err)
	case "delete":
		q := w.queue(a)
		n, err := q.Delete(a.flag("if-unused"), a.flag("if-empty"))
		w.result("deleted with", n, err)
	case "touch":
		w.queue(a).Touch()
	case "stats":
		w.stats(w.queue(a))
	case "headers":
		w.mu.Lock()
		w.deads = true
		w.mu.Unlock()
	case "advance":
		d, err := time.ParseDuration(a.word(0, ""))
		if err != nil {
			w.t.Fatal(err)
		}
		time.Sleep(d)
	default:
		w.t.Fatalf("no command %q", verb)
	}
}

func (w *world) queue(a *args) *Queue { return w.queueNamed(a.word(0, "q")) }

func (w *world) queueNamed(name string) *Queue {
	q := w.queues[name]
	if q == nil {
		w.t.Fatalf("no queue %q", name)
	}
	return q
}

func (w *world) consumer(tag string) *Consumer {
	for _, s := range w.sessions {
		if c := s.consumers[tag]; c != nil {
			return c
		}
	}
	w.t.Fatalf("no consumer %q", tag)
	return nil
}

func (w *world) last(last bool) {
	if last {
		w.say("that was the last consumer")
	}
}

func (w *world) result(what string, n int, err error) {
	if err != nil {
		w.say("%v", err)
		return
	}
	w.say("%s %d", what, n)
}

func (w *world) consume(a *args) {
	tag := a.word(0, "")
	s := w.session(a.value("session", tag))
	c := &Consumer{Session: s, Tag: tag, NoAck: a.flag("no-ack"), Exclusive: a.flag("exclusive"),
		Prefetch: int(number(a.value("prefetch", "0"))), Priority: int32(number(a.value("priority", "0")))}
	q := w.queueNamed(a.value("queue", "q"))
	if err := q.Consume(c, func() { w.say("%s consumes", tag) }); err != nil {
		w.say("%v", err)
		return
	}
	s.consumers[tag] = c
}

func (w *world) publish(a *args) {
	q := w.queueNamed(a.value("queue", "q"))
	l := letter{exchange: a.value("exchange", ""), key: a.value("key", q.cfg.Name), expiration: a.value("expiration", ""),
		priority: uint8(number(a.value("priority", "0"))), size: int(number(a.value("size", "0")))}
	if cc := a.value("cc", ""); cc != "" {
		l.headers = append(l.headers, amqp.Field{Name: "CC", Value: longstrs(strings.Split(cc, ","))})
	}
	if bcc := a.value("bcc", ""); bcc != "" {
		l.hidden = strings.Split(bcc, ",")
	}
	if x := a.value("x-death", ""); x != "" {
		l.headers = append(l.headers, amqp.Field{Name: "x-death", Value: mangled[x]})
	}
	confirm := a.flag("confirm")
	var bodies []string
	for _, word := range a.words {
		if n, base, ok := strings.Cut(word, "*"); ok {
			for i := range int(number(n)) {
				bodies = append(bodies, base+strconv.Itoa(i+1))
			}
			continue
		}
		bodies = append(bodies, word)
	}
	a.words = nil
	for _, body := range bodies {
		l.body = body
		m := l.message()
		w.see(m)
		ev := Publish(m, nil, 0)
		if confirm {
			w.seq++
			ev = Publish(m, &w.sender, w.seq)
		}
		w.add(q, ev)
	}
	if !w.holding {
		w.flush()
	}
}

// mangled are x-death headers that no broker makes.
var mangled = map[string]any{
	"string":  "none",
	"numbers": amqp.Array{int32(1), "x"},
	"typed":   amqp.Array{amqp.Table{{Name: "queue", Value: int32(1)}, {Name: "reason", Value: nil}, {Name: "count", Value: "many"}}},
	"forged": amqp.Array{amqp.Table{{Name: "queue", Value: "q"}, {Name: "reason", Value: "rejected"},
		{Name: "count", Value: "many"}}},
}

// add collects an event.
func (w *world) add(q *Queue, ev Event) { w.held[q] = append(w.held[q], ev) }

// flush submits what was collected.
func (w *world) flush() {
	held := w.held
	w.held, w.holding = map[*Queue][]Event{}, false
	for _, name := range sorted(w.queues) {
		q := w.queues[name]
		if len(held[q]) == 0 {
			continue
		}
		q.Submit(held[q])
		for _, ev := range held[q] {
			if ev.msg != nil {
				ev.msg.Release(1)
			}
		}
	}
}

func (w *world) settle(a *args, event func(Handle) Event) {
	var resume []*Queue
	for _, word := range a.words {
		g := w.given[number(word)-1]
		w.add(g.queue, event(g.handle))
		if g.shared {
			resume = append(resume, g.session.freed(1)...)
		}
	}
	a.words = nil
	if !w.holding {
		w.flush()
	}
	for _, q := range resume {
		q.Resume()
	}
}

func (w *world) stats(q *Queue) {
	st, ok := q.Stats()
	if !ok {
		w.say("%s is gone", q.cfg.Name)
		return
	}
	line := fmt.Sprintf("ready=%d/%dB unacked=%d/%dB consumers=%d", st.Ready, st.ReadyBytes, st.Unacked, st.UnackedBytes, st.Consumers)
	if st.ActiveTag != "" {
		line += " active=" + st.ActiveTag
	}
	if st.ExclusiveTag != "" {
		line += " exclusive=" + st.ExclusiveTag
	}
	c := st.Counters
	for _, f := range []struct {
		name string
		n    uint64
	}{{"published", c.Published}, {"delivered", c.Delivered}, {"delivered-no-ack", c.DeliveredNoAck}, {"got", c.Got},
		{"got-no-ack", c.GotNoAck}, {"got-empty", c.GotEmpty}, {"redelivered", c.Redelivered}, {"acked", c.Acked}} {
		if f.n > 0 {
			line += fmt.Sprintf(" %s=%d", f.name, f.n)
		}
	}
	w.say("%s", line)
}

// args are a command's: words, flags and name=value, each of which has to be asked for.
type args struct {
	words  []string
	values map[string]string
}

var flags = []string{"no-ack", "exclusive", "requeue", "confirm", "if-unused", "if-empty", "single", "quorum", "expire-anywhere"}

func parseArgs(words []string) *args {
	a := &args{values: map[string]string{}}
	for _, w := range words {
		if name, v, ok := strings.Cut(w, "="); ok {
			a.values[name] = v
		} else if slices.Contains(flags, w) {
			a.values[w] = "true"
		} else {
			a.words = append(a.words, w)
		}
	}
	return a
}

// word takes the i-th word; they are to be asked for in order.
func (a *args) word(i int, otherwise string) string {
	if i >= len(a.words) {
		return otherwise
	}
	w := a.words[i]
	if i == len(a.words)-1 {
		a.words = nil
	}
	return w
}

func (a *args) value(name, otherwise string) string {
	v, ok := a.values[name]
	delete(a.values, name)
	if !ok {
		return otherwise
	}
	return v
}

func (a *args) flag(name string) bool { return a.value(name, "") == "true" }

func (a *args) unused() string {
	return strings.Join(append(sorted(a.values), a.words...), " ")
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MinInt32
	}
	return n
}

func (a *args) config(name string) (Config, Settings) {
	cfg := Config{VHost: "/", Name: name, SingleActive: a.flag("single"), Quorum: a.flag("quorum"),
		MaxPriority: uint8(number(a.value("priorities", "0")))}
	set := NoSettings()
	duration := func(name string, to *time.Duration) {
		if v := a.value(name, ""); v != "" {
			*to, _ = time.ParseDuration(v)
		}
	}
	duration("ttl", &set.TTL)
	duration("expires", &set.Expires)
	set.MaxLength = number(a.value("max-length", "-1"))
	set.MaxBytes = number(a.value("max-bytes", "-1"))
	set.DeliveryLimit = number(a.value("delivery-limit", "-1"))
	switch a.value("overflow", "") {
	case "reject-publish":
		set.Overflow = RejectPublish
	case "reject-publish-dlx":
		set.Overflow = RejectPublishDLX
	}
	_, set.DeadLetter = a.values["dlx"]
	set.DLX = a.value("dlx", "")
	_, set.HasDLKey = a.values["dlkey"]
	set.DLKey = a.value("dlkey", "")
	set.ExpireAnywhere = a.flag("expire-anywhere")
	return cfg, set
}
