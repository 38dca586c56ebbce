package queue

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// A world is what a script acts in: queues, the sessions and publishers that use them, and the owner that passes dead
// letters on. It writes down what happens.
type world struct {
	t      *testing.T
	owner  fakeOwner
	sender fakePublisher

	sessions map[string]*fakeSession
	holding  bool
	held     map[*Queue][]Event // what is to be submitted
	tasks    sync.WaitGroup

	seq uint64

	mu     sync.Mutex // guards the fields below, of which the script reads the first two without: a timer may run a queue
	queues map[string]*Queue
	given  []given // deliveries, by number less one
	log    []string
	deads  bool // headers are written down
	kept   ledger
}

type given struct {
	queue   *Queue
	handle  Handle
	session *fakeSession
	shared  bool // it took a place of the shared prefetch
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, queues: map[string]*Queue{}, sessions: map[string]*fakeSession{}, held: map[*Queue][]Event{}}
	w.owner.w, w.sender.w = w, w
	return w
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// end deletes all queues and checks that nothing is left of them.
func (w *world) end(title string) {
	for _, q := range w.queues {
		q.Delete(false, false)
	}
	w.tasks.Wait()
	for _, q := range w.queues {
		q.Stats() // nobody runs it any more
	}
	if n := w.kept.leaked(); n > 0 {
		w.t.Errorf("%s: %d messages are still held when all queues are gone", title, n)
	}
}

// A fakeOwner is the broker of a world: dead letters go through the default exchange.
type fakeOwner struct{ w *world }

func (o *fakeOwner) DeadLetter(q *Queue, s *Settings, m *amqp.Message, why Reason, _ func()) {
	o.w.see(m)
	l, err := NewLetter(m, q.cfg.Name, s, why, time.Now())
	if err != nil {
		o.w.say("%s cannot dead-letter: %v", q.cfg.Name, err)
		return
	}
	o.w.see(l.Message)
	keys := strings.Join(append([]string{l.Key}, l.Extra...), " ")
	o.w.say("%s -> %s: %s %s", q.cfg.Name, keys, m.Body, why)
	for _, key := range slices.Compact(append([]string{l.Key}, l.Extra...)) {
		o.w.mu.Lock()
		to := o.w.queues[key]
		o.w.mu.Unlock()
		switch {
		case to == nil:
		case l.Cycles(key):
			o.w.say("%s has been in %s", m.Body, key)
		default:
			to.Post(Publish(l.Message, nil, 0))
		}
	}
	l.Message.Release(1)
}

func (o *fakeOwner) Expired(q *Queue) {
	o.w.say("%s expires", q.cfg.Name)
	o.w.tasks.Add(1)
	go func() { // ends when the queue is deleted
		defer o.w.tasks.Done()
		q.Delete(true, false)
	}()
}

// A fakePublisher writes down what is confirmed.
type fakePublisher struct{ w *world }

func (p *fakePublisher) Confirmed(seqs []uint64, ok bool) {
	p.w.say("%s %s", map[bool]string{true: "confirmed", false: "refused"}[ok], strings.Trim(fmt.Sprint(seqs), "[]"))
}

// A fakeSession is a channel.
type fakeSession struct {
	w    *world
	name string

	consumers map[string]*Consumer // owned by the script

	mu            sync.Mutex // guards the fields below
	full          bool       // there is no room
	limit, placed int        // of the shared prefetch
	starved       []*Queue
}

func (w *world) session(name string) *fakeSession {
	s := w.sessions[name]
	if s == nil {
		s = &fakeSession{w: w, name: name, consumers: map[string]*Consumer{}}
		w.sessions[name] = s
	}
	return s
}

func (s *fakeSession) Deliver(c *Consumer, batch []Delivery) {
	for _, d := range batch {
		line := s.arrived(d, c.NoAck, !c.NoAck, "")
		s.w.say("%s <- %s", c.Tag, line)
	}
}

func (s *fakeSession) Got(d Delivery, noAck bool, ready int) {
	s.w.say("got %s", s.arrived(d, noAck, false, fmt.Sprintf(" ready=%d", ready)))
}

// arrived numbers a delivery and describes it; more is put in front of its headers.
func (s *fakeSession) arrived(d Delivery, noAck, shared bool, more string) string {
	w := s.w
	w.see(d.Message)
	w.mu.Lock()
	defer w.mu.Unlock()
	line := string(d.Message.AppendBody(nil))
	if len(line) > 10 {
		line = strings.TrimRight(line, ".")
	}
	if !noAck {
		w.given = append(w.given, given{d.Queue, d.Handle, s, shared})
		line += fmt.Sprintf(" delivery=%d", len(w.given))
	}
	if d.Redelivered {
		line += " redelivered"
	}
	p, err := amqp.ParseProperties(d.Message.Header)
	if err != nil {
		w.t.Errorf("the header of %q does not parse: %v", d.Message.Body, err)
	}
	if n, ok := p.Headers.Lookup("x-delivery-count"); ok {
		line += fmt.Sprintf(" x-delivery-count=%v", n)
	}
	line += more
	if w.deads {
		line += " key=" + string(d.Message.RoutingKey())
		if p.Flags&amqp.FlagExpiration != 0 {
			line += " expiration=" + p.Expiration
		}
		for _, f := range p.Headers {
			line += "\n    " + f.Name + " = " + show(f.Value)
		}
	}
	return line
}

// show writes a field value; times are seconds since the script began.
func show(v any) string {
	switch v := v.(type) {
	case amqp.Array:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = show(v[i])
		}
		return "[" + strings.Join(parts, " ") + "]"
	case amqp.Table:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = v[i].Name + "=" + show(v[i].Value)
		}
		return "{" + strings.Join(parts, " ") + "}"
	case amqp.Timestamp:
		return fmt.Sprintf("T%d", int64(v)-epoch)
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

// epoch is when a synctest bubble's time begins, Unix seconds.
const epoch = 946684800

func (s *fakeSession) Room(c *Consumer) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		s.starve(c.queue)
		return 0
	}
	return 1000
}

func (s *fakeSession) Acquire(c *Consumer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit > 0 && s.placed >= s.limit {
		s.starve(c.queue)
		return false
	}
	s.placed++
	return true
}

func (s *fakeSession) Cancelled(c *Consumer) {
	s.w.say("%s is cancelled", c.Tag)
}

func (s *fakeSession) change(f func(*fakeSession)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *fakeSession) starve(q *Queue) {
	if !slices.Contains(s.starved, q) {
		s.starved = append(s.starved, q)
	}
}

// freed gives n places of the shared prefetch back and returns the queues to be resumed.
func (s *fakeSession) freed(n int) []*Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placed -= n
	starved := s.starved
	s.starved = nil
	return starved
}

// see keeps an eye on m's memory.
func (w *world) see(m *amqp.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept.see(m)
}

// A ledger notes the memory of messages, to tell whether it was released: the build tag checked fills released memory
// with 0xDD. Memory that was used again and released again counts as released too.
type ledger struct{ headers map[*byte][]byte }

func (l *ledger) see(m *amqp.Message) {
	if !checked {
		return
	}
	if l.headers == nil {
		l.headers = map[*byte][]byte{}
	}
	l.headers[&m.Header[0]] = m.Header
}

// leaked returns how many of the messages seen are still held by somebody.
func (l *ledger) leaked() int {
	n := 0
	for _, h := range l.headers {
		for _, b := range h {
			if b != 0xDD {
				n++
				break
			}
		}
	}
	return n
}

// A letter is what makes a message.
type letter struct {
	body       string
	exchange   string
	key        string
	priority   uint8
	expiration string
	size       int // the body is filled up to so many bytes
	headers    amqp.Table
	hidden     []string
}

// message makes a message in a buffer of its own, with one reference.
func (l letter) message() *amqp.Message {
	p := amqp.Properties{Headers: l.headers, Priority: l.priority, Expiration: l.expiration}
	if l.headers != nil {
		p.Flags |= amqp.FlagHeaders
	}
	if l.priority > 0 {
		p.Flags |= amqp.FlagPriority
	}
	if l.expiration != "" {
		p.Flags |= amqp.FlagExpiration
	}
	body := l.body
	if pad := l.size - len(body); pad > 0 {
		body += strings.Repeat(".", pad)
	}
	address := amqp.AppendAddress(nil, l.exchange, l.key)
	header := amqp.AppendHeader(nil, &p, uint64(len(body)))
	buf := amqp.NewBuffer(len(address) + len(header) + len(body))
	all := append(append(append(buf.Bytes()[:0], address...), header...), body...)
	m := amqp.NewMessage(buf)
	m.Address = all[:len(address):len(address)]
	m.SetHeader(all[len(address):len(address)+len(header)], buf)
	m.Size = len(body)
	m.AddBody(all[len(address)+len(header):], buf)
	f, err := amqp.ParseFacts(m.Header)
	if err != nil {
		panic(err)
	}
	m.SetFacts(f)
	m.Hide(l.hidden)
	return m
}

// sorted returns a map's keys in order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (o *fakeOwner) Lost(*Queue, int) {}
