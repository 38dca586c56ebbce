package server

import (
	"time"

	"github.com/warrenmq/warren/amqp"
)

// sweepEvery is how often heartbeats and timeouts are looked at. Clients count in seconds.
const sweepEvery = time.Second

// seconds returns the clock as deliveries keep it, Unix seconds.
func (s *Server) seconds() uint32 { return uint32(s.clock.Load() / int64(time.Second)) }

// sweep is the clock of all connections: one goroutine, so that an idle connection costs no timer.
func (s *Server) sweep() {
	defer s.tasks.Done()
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			s.clock.Store(now.UnixNano())
			s.each(func(c *conn) { c.sweep(now) })
		case <-s.stop:
			return
		}
	}
}

// sweep sends a heartbeat if one is due, cuts a client that has fallen silent, and closes channels whose deliveries have
// waited too long.
func (c *conn) sweep(now time.Time) {
	if hb := time.Duration(c.heartbeat.Load()); hb > 0 {
		c.out.beat(c, now, hb/2)
		// A client may be silent for two intervals; one more sweep allows for the coarse clock.
		silent := now.Sub(time.Unix(0, c.lastRead.Load()))
		if !c.reading.Load() || c.parked.Load() {
			c.lastRead.Store(now.UnixNano()) // it is we who do not listen: what the client says meanwhile waits to be read
		} else if silent > 2*hb+sweepEvery {
			c.srv.opt.Log.Warn("missed heartbeats from client", "connection", c.name, "timeout", hb)
			c.nc.Close()
			return
		}
	}
	if at := c.closeBy.Load(); at != 0 && now.UnixNano() > at {
		c.nc.Close() // asked to close, the client did not answer
		return
	}
	if limit := c.srv.opt.ConsumerTimeout; limit > 0 {
		for _, ch := range c.out.overdue(c, now, limit) {
			c.poke(func() {
				ch.fail(amqp.Errorf(amqp.PreconditionFailed, "delivery acknowledgement on channel %d timed out. Timeout value used: "+
					"%d ms. This timeout value can be configured, see consumers doc guide to learn more", ch.id, limit.Milliseconds()))
			})
		}
	}
}

// alarm tells publishing clients that they are blocked, or no longer. It is called when an alarm comes or goes.
func (s *Server) alarm(string) {
	s.each(func(c *conn) {
		if c.published.Load() {
			c.poke(c.notifyBlocked)
		}
	})
}
