package broker

import (
	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/internal/meta"
	"github.com/warrenmq/warren/queue"
)

// A QueueSpec is what queue.declare asks for.
type QueueSpec struct {
	Name       string
	Durable    bool
	Exclusive  bool
	AutoDelete bool
	Args       amqp.Table
	Generated  bool // the name was made by the broker
}

// DeclareQueue returns the queue that s describes, made if there was none, and a look at it. One that exists must be
// declared alike. May, if not nil, is asked before a new queue is made.
func (v *VHost) DeclareQueue(s QueueSpec, o Owner, may func() error) (*Queue, queue.Stats, error) {
	var owner Owner
	if s.Exclusive {
		owner = o
		s.Durable = false // an exclusive queue goes with its connection
	}
	if !s.Generated {
		if err := reserved("queue", s.Name); err != nil {
			return nil, queue.Stats{}, err
		}
	}
	for {
		if t, ok := v.Table().Queue(s.Name); ok {
			q := t.Value.(*Queue)
			if err := q.equivalent(s, owner); err != nil {
				return nil, queue.Stats{}, err
			}
			if st, ok := q.Touch(); ok {
				return q, st, nil
			}
			v.remove(q) // it was deleted and its name is about to be free
			continue
		}
		cfg, set, err := v.configure(s)
		if err == nil && may != nil {
			err = may()
		}
		if err != nil {
			return nil, queue.Stats{}, err
		}
		if q, err := v.add(cfg, set, owner); q != nil || err != nil {
			return q, queue.Stats{}, err
		}
	}
}

// add makes a queue; nil if somebody else was first.
func (v *VHost) add(cfg queue.Config, set queue.Settings, owner Owner) (*Queue, error) {
	var number uint64
	if cfg.Durable {
		var err error
		if number, err = v.broker.opt.Definitions.Number(); err != nil {
			return nil, refusal(err)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.Table().Queue(cfg.Name); ok {
		return nil, nil
	}
	if cfg.Durable {
		r := meta.Queue{VHost: v.Name, Name: cfg.Name, Number: number, AutoDelete: cfg.AutoDelete, Args: cfg.Args}
		if err := v.keep([]meta.Change{meta.Put(r)}); err != nil {
			return nil, err
		}
	}
	q := v.newQueue(cfg, set, owner, number)
	v.table.Store(v.Table().AddQueue(q.target))
	return q, nil
}

// newQueue makes a queue that is in no table. v.mu is held, or nobody else knows v.
func (v *VHost) newQueue(cfg queue.Config, set queue.Settings, owner Owner, number uint64) *Queue {
	q := &Queue{Queue: queue.New(cfg, set, v, v.broker.opt.InboxMax, v.broker.opt.Messages.storage(number)), owner: owner, vhost: v, number: number}
	q.target = &exchange.Queue{Name: cfg.Name, ID: v.newID(), Durable: cfg.Durable, Value: q}
	return q
}

func (v *VHost) newID() uint32 {
	if n := len(v.ids); n > 0 {
		id := v.ids[n-1]
		v.ids = v.ids[:n-1]
		return id
	}
	v.maxID++
	return v.maxID
}

// remove takes q and its bindings out of the table, and the auto-delete exchanges that this leaves without a binding.
func (v *VHost) remove(q *Queue) {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := v.Table()
	if now, ok := t.Queue(q.Config().Name); !ok || now != q.target {
		return
	}
	next, removed, gone := t.RemoveQueue(q.Config().Name)
	changes := v.lost(t, removed, gone)
	if q.Config().Durable {
		changes = append(changes, meta.Delete(meta.Queue{VHost: v.Name, Name: q.Config().Name}))
	}
	v.keepGone(changes)
	v.table.Store(next)
	v.ids = append(v.ids, q.target.ID)
	v.history.forget(gone)
}

// DeleteQueue deletes q and returns how many ready messages went with it. A condition that does not hold is an error, and
// nothing has changed. A queue that is gone already is no error.
func (v *VHost) DeleteQueue(q *Queue, ifUnused, ifEmpty bool) (int, error) {
	if q.Config().Durable {
		if err := v.broker.opt.Definitions.Ready(false); err != nil {
			return 0, refusal(err)
		}
	}
	n, err := q.Delete(ifUnused, ifEmpty)
	if e, ok := err.(*amqp.Error); ok && e.Code == amqp.NotFound {
		n, err = 0, nil
	}
	if err == nil {
		v.remove(q)
	}
	return n, err
}

// Unused is to be called when a queue has lost its last consumer: an auto-delete queue goes.
func (v *VHost) Unused(q *Queue) {
	if q.Config().AutoDelete {
		v.DeleteQueue(q, true, false) // somebody who has begun to consume meanwhile keeps it
	}
}

// Expired implements queue.Owner.
func (v *VHost) Expired(q *queue.Queue) {
	if t, ok := v.Table().Queue(q.Config().Name); ok && t.Value.(*Queue).Queue == q {
		go v.DeleteQueue(t.Value.(*Queue), true, false) // ends when the queue is deleted; one in use again stays
	}
}

// equivalent checks that s describes q.
func (q *Queue) equivalent(s QueueSpec, owner Owner) error {
	if q.owner != owner {
		return q.errLocked()
	}
	cfg := q.Config()
	resource := cfg.String()
	if err := sameField(resource, "durable", cfg.Durable, s.Durable); err != nil {
		return err
	}
	if err := sameField(resource, "auto_delete", cfg.AutoDelete, s.AutoDelete); err != nil {
		return err
	}
	for _, a := range queueArguments {
		if err := sameArgument(resource, a.name, cfg.Args, s.Args); err != nil {
			return err
		}
	}
	return nil
}
