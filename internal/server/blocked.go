package server

import (
	"time"

	"github.com/warrenmq/warren/amqp"
)

// notifyBlocked tells a client that takes it that publishers are blocked, or no longer. It asks for the present reason
// itself: alarms may come and go faster than readers are poked.
func (c *conn) notifyBlocked() {
	reason, _ := c.srv.opt.Broker.Alarms.Reason()
	if c.phase != open || !c.canBlock || reason == c.told {
		return
	}
	c.told = reason
	if reason != "" {
		c.send(0, &amqp.ConnectionBlocked{Reason: reason})
	} else {
		c.send(0, &amqp.ConnectionUnblocked{})
	}
}

// waitUnblocked holds the reader at a publish until the alarm is over. What the client sends meanwhile stays in the read
// buffer, and then in the kernel's; but if it is seen to close the connection, it may.
func (c *conn) waitUnblocked() {
	alarms := &c.srv.opt.Broker.Alarms
	c.flush()
	c.parked.Store(true)
	defer c.parked.Store(false)
	c.published.Store(true) // before the reason is looked at: from now on a change pokes
	for c.phase == open {
		reason, changed := alarms.Reason()
		if reason == "" {
			break
		}
		c.notifyBlocked()
		leaving := false
		c.in.Scan(func(f amqp.Frame) bool {
			leaving = f.Type == amqp.FrameMethod && f.Channel == 0 && amqp.PeekMethod(f.Payload) == amqp.IDConnectionClose
			return !leaving
		})
		if leaving {
			c.closeChannels()
			c.send(0, &amqp.ConnectionCloseOk{})
			c.finish()
			return
		}
		if c.in.Full() {
			select {
			case <-changed:
			case <-c.srv.stop:
				return
			case <-time.After(sweepEvery):
			}
			c.poked()
			continue
		}
		c.pin()
		if !c.fill() {
			c.phase = closed
			return
		}
	}
	c.lastRead.Store(c.srv.clock.Load())
	if c.in.Buffer() == nil {
		c.in.Space() // the publish that waited needs a buffer to begin in
	}
}
