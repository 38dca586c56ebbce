package server

import (
	"cmp"
	"slices"
	"sync"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/exchange"
	"github.com/warrenmq/warren/queue"
)

// tx is what a transactional channel has done since the last commit or rollback. Messages in it hold a reference.
type tx struct {
	publishes []txPublish
	settles   []txSettle
}

type txPublish struct {
	msg       *amqp.Message
	to        []*exchange.Queue
	mandatory bool
}

type txSettle struct {
	id      amqp.MethodID
	requeue bool
	unackedDelivery
}

func (ch *channel) confirmSelect(m *amqp.ConfirmSelect) error {
	if ch.mode == transactional {
		return amqp.Errorf(amqp.PreconditionFailed, "cannot switch from tx to confirm mode")
	}
	ch.mode = confirming
	ch.answer(m.NoWait, &amqp.ConfirmSelectOk{})
	return nil
}

func (ch *channel) txSelect() error {
	if ch.mode == confirming {
		return amqp.Errorf(amqp.PreconditionFailed, "cannot switch from confirm to tx mode")
	}
	ch.mode = transactional
	if ch.tx == nil {
		ch.tx = new(tx)
	}
	ch.send(&amqp.TxSelectOk{})
	return nil
}

// publish keeps a message, which is borrowed, for the commit.
func (t *tx) publish(m *amqp.Message, to []*exchange.Queue, mandatory bool) {
	buf := amqp.NewBuffer(m.Footprint())
	t.publishes = append(t.publishes, txPublish{m.CopyTo(buf, buf.Bytes()), slices.Clone(to), mandatory})
}

// settle keeps an acknowledgement for the commit. The deliveries leave the channel's table, so that a tag cannot be used
// twice; a rollback puts them back.
func (t *tx) settle(ch *channel, id amqp.MethodID, tag uint64, multiple, requeue bool) error {
	out := &ch.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	u := &ch.unacked
	ok := u.take(amqp.DeliveryTag(tag), multiple, func(d *unackedDelivery) {
		t.settles = append(t.settles, txSettle{id, requeue, *d})
	})
	if !ok {
		return &amqp.Error{Code: amqp.PreconditionFailed, Text: amqp.Errorf(0, "unknown delivery tag %d", tag).Text, Method: id}
	}
	return nil
}

// drop forgets everything.
func (t *tx) drop() {
	for _, p := range t.publishes {
		p.msg.Release(1)
	}
	*t = tx{}
}

func (ch *channel) txRollback() error {
	if ch.mode != transactional {
		return amqp.Errorf(amqp.PreconditionFailed, "channel is not transactional")
	}
	out := &ch.conn.out
	out.mu.Lock()
	slices.SortFunc(ch.tx.settles, func(a, b txSettle) int { return cmp.Compare(a.tag, b.tag) })
	ch.unacked.putBack(ch.tx.settles)
	out.mu.Unlock()
	ch.tx.drop()
	ch.send(&amqp.TxRollbackOk{})
	return nil
}

// txCommit makes all that happened since the last commit happen now: returns, then publishes and settlements, then the
// answer once the queues have taken them.
func (ch *channel) txCommit() error {
	if ch.mode != transactional {
		return amqp.Errorf(amqp.PreconditionFailed, "channel is not transactional")
	}
	c := ch.conn
	t := ch.tx
	w := &txWaiter{}
	for _, p := range t.publishes {
		x, key := amqp.SplitAddress(p.msg.Address)
		if len(p.to) == 0 && !(len(x) == 0 && ch.replyTo(p.msg, string(key))) && p.mandatory {
			ch.returned(p.msg)
		}
		w.left += len(p.to)
		for _, q := range p.to {
			c.sender.Publish(q, p.msg, w, 0)
		}
	}
	var starved []*queue.Queue
	c.out.mu.Lock()
	for i := range t.settles {
		s := &t.settles[i]
		ch.release(&s.unackedDelivery)
		c.add(s.queue, event(s.id, s.handle, s.requeue))
	}
	if ch.shared.limit > 0 && ch.shared.used < ch.shared.limit {
		starved, ch.shared.starved = ch.shared.starved, nil
	}
	c.out.mu.Unlock()
	for _, q := range starved {
		c.add(q, queue.Resumed())
	}
	w.done = make(chan struct{})
	if w.left == 0 {
		close(w.done)
	}
	c.flush()
	<-w.done
	t.drop()
	if w.refused {
		return amqp.Errorf(amqp.PreconditionFailed, "partial tx completion")
	}
	ch.send(&amqp.TxCommitOk{})
	return nil
}

// A txWaiter waits for the queues of a commit.
type txWaiter struct {
	done chan struct{}

	mu      sync.Mutex // guards the fields below
	left    int
	refused bool
}

// Confirmed implements queue.Publisher.
func (w *txWaiter) Confirmed(seqs []uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left -= len(seqs)
	w.refused = w.refused || !ok
	if w.left == 0 {
		close(w.done)
	}
}
