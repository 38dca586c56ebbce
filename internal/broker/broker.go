package broker

import (
	"log/slog"
	"sync"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/meta"
	"github.com/warrenmq/warren/queue"
)

// Options are what a Broker is made with.
type Options struct {
	ClusterName string
	InboxMax    int   // bytes of messages in a queue's inbox before publishers wait
	MemoryLimit int64 // bytes of memory in use above which publishers are blocked; 0: never
	Log         *slog.Logger
	Definitions Definitions // nil: nothing survives
	Messages    *Messages   // nil: messages are in memory only
}

// A Broker holds the vhosts.
type Broker struct {
	opt     Options
	Alarms  Alarms
	replies replies
	letters sync.WaitGroup // dead letters that are not yet where they go to

	mu     sync.RWMutex // guards vhosts
	vhosts map[string]*VHost
}

// New makes a broker without vhosts.
func New(opt Options) *Broker {
	if opt.InboxMax == 0 {
		opt.InboxMax = queue.DefaultInboxMax
	}
	if opt.Definitions == nil {
		opt.Definitions = forgetful{}
	}
	b := &Broker{opt: opt, vhosts: make(map[string]*VHost)}
	b.Alarms.limit = opt.MemoryLimit
	return b
}

// Stop stops all queues: nothing more goes to the message log. Dead letters arrive first, so that none is in two queues
// when the node starts again.
func (b *Broker) Stop() {
	b.each(func(q *Queue) { q.Rest() })
	b.letters.Wait()
	b.each(func(q *Queue) { q.Stop() })
}

func (b *Broker) each(f func(*Queue)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, v := range b.vhosts {
		for q := range v.Table().Queues() {
			f(q.Value.(*Queue))
		}
	}
}

// ClusterName returns the name that clients see in the server's properties.
func (b *Broker) ClusterName() string { return b.opt.ClusterName }

// AddVHost makes a vhost with the predeclared exchanges, and returns when it is safe; one of that name that exists is
// returned as it is.
func (b *Broker) AddVHost(name string) (*VHost, error) {
	v, err := b.addVHost(name)
	if err == nil {
		err = b.Wait(b.Pending())
	}
	return v, err
}

func (b *Broker) addVHost(name string) (*VHost, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.vhosts[name]
	if v == nil {
		if _, err := b.opt.Definitions.Submit(meta.Put(meta.VHost{Name: name})); err != nil {
			return nil, refusal(err)
		}
		v = newVHost(b, name)
		b.vhosts[name] = v
	}
	return v, nil
}

// VHost returns the vhost called name; the error is for the client.
func (b *Broker) VHost(name string) (*VHost, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if v := b.vhosts[name]; v != nil {
		return v, nil
	}
	return nil, amqp.Errorf(amqp.NotAllowed, "vhost %s not found", name)
}
