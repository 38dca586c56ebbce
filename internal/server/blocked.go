package server

import (
	"time"

	"github.com/warrenmq/warren/amqp"
)

// notifyBlocked tells a client that takes it that publishers are blocked, or no longer.
func (c *conn) notifyBlocked(reason string) {
	if c.phase != open || !c.canBlock {
		return
	}
	switch {
	case reason != "":
		c.told = true
		c.send(0, &amqp.ConnectionBlocked{Reason: reason})
	case c.told:
		c.told = false
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
	for c.phase == open {
		reason, changed := alarms.Reason()
		if reason == "" {
			break
		}
		if !c.told {
			c.published.Store(true)
			c.notifyBlocked(reason)
		}
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
}
