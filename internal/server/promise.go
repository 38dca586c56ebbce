package server

import (
	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/meta"
)

// promises are answers that speak of durable definitions and wait until those are safe. The reader goes on with what else it
// has read as long as that changes definitions too, so that a client that pipelines a thousand declarations waits for a
// handful of commits. Anything else the client asks for, and the next read, comes after the answers: nobody sees them out of
// order, and nothing is built on a change that a crash could still undo.
type promises struct {
	at      meta.Position // to wait for; 0: no answer waits
	answers []byte        // encoded
}

const promisesKept = 512 // bytes of answers that an idle connection keeps memory for

// promise sends m, if the client wants an answer, once all definitions are safe that were changed so far. Where durable is
// false there is nothing to wait for but the answers before it.
func (ch *channel) promise(durable, noWait bool, m amqp.Method) {
	c := ch.conn
	if durable {
		c.promised.at = max(c.promised.at, c.srv.opt.Broker.Pending())
	}
	if c.promised.at == 0 {
		ch.answer(noWait, m)
	} else if !noWait {
		c.promised.answers = amqp.AppendMethod(c.promised.answers, ch.id, m)
	}
}

// changesDefinitions reports whether f may be handled while answers wait.
func changesDefinitions(f amqp.Frame) bool {
	if f.Type != amqp.FrameMethod {
		return false
	}
	id := amqp.PeekMethod(f.Payload)
	return id.Class() == 40 || id.Class() == 50 && id != amqp.IDQueuePurge
}

// keepPromises waits for the definitions and sends the answers. The error ends the connection: what it has asked for did
// not come to be, and no answer was sent.
func (c *conn) keepPromises() error {
	p := &c.promised
	if p.at == 0 {
		return nil
	}
	c.parked.Store(true) // a slow disk is not a silent client
	err := c.srv.opt.Broker.Wait(p.at)
	c.lastRead.Store(c.srv.clock.Load())
	c.parked.Store(false)
	p.at = 0
	if err == nil && len(p.answers) > 0 {
		c.out.mu.Lock()
		c.out.ready()
		c.out.buf = append(c.out.buf, p.answers...)
		c.out.wake(c)
		c.out.mu.Unlock()
	}
	p.answers = p.answers[:0]
	if cap(p.answers) > promisesKept {
		p.answers = nil
	}
	return err
}
