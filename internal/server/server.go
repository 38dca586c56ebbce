package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/auth"
	"github.com/warrenmq/warren/internal/broker"
)

// Options are what a Server is made with. Zeros are not defaults: internal/config has those.
type Options struct {
	Broker *broker.Broker
	Users  *auth.Store
	Log    *slog.Logger

	Product, Version string               // as clients see them
	Prepare          func(net.Conn) error // sets options of an accepted socket; may be nil

	HandshakeTimeout time.Duration
	Heartbeat        time.Duration // offered; 0: none
	FrameMax         uint32        // bytes, offered; 0: no limit
	ChannelMax       uint16        // offered; 0: no limit
	ConnectionMax    int           // 0: no limit
	MaxMessageSize   int64         // bytes
	ConsumerTimeout  time.Duration // 0: none
	OutboxMax        int           // bytes waiting to be written to one client before its consumers have to wait
}

// A Server accepts clients until it is closed.
type Server struct {
	opt   Options
	clock atomic.Int64 // Unix nanoseconds, set every second: good enough for heartbeats
	stop  chan struct{}
	tasks sync.WaitGroup // accept loops, readers and the sweeper

	mu        sync.Mutex // guards the fields below
	conns     map[*conn]struct{}
	listeners []net.Listener
	closing   bool
}

// New makes a Server and starts its sweeper, which ends with Close.
func New(opt Options) *Server {
	s := &Server{opt: opt, conns: make(map[*conn]struct{}), stop: make(chan struct{})}
	s.clock.Store(time.Now().UnixNano())
	opt.Broker.Alarms.Watch(s.alarm)
	s.tasks.Add(1)
	go s.sweep() // ends when stop is closed
	return s
}

// Serve accepts clients on l until Close. TLS is used if secure. It returns at once.
func (s *Server) Serve(l net.Listener, secure bool) {
	s.mu.Lock()
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	s.tasks.Add(1)
	go s.accept(l, secure) // ends when l is closed
}

func (s *Server) accept(l net.Listener, secure bool) {
	defer s.tasks.Done()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.opt.Log.Error("accepting a connection failed", "address", l.Addr().String(), "error", err)
			select {
			case <-time.After(100 * time.Millisecond): // out of file descriptors, most likely: do not spin
			case <-s.stop:
				return
			}
			continue
		}
		s.admit(nc, secure)
	}
}

// admit starts a connection's reader, unless there are too many.
func (s *Server) admit(nc net.Conn, secure bool) {
	if s.opt.Prepare != nil {
		if err := s.opt.Prepare(nc); err != nil {
			s.opt.Log.Warn("setting socket options failed", "peer", nc.RemoteAddr().String(), "error", err)
		}
	}
	c := newConn(s, nc, secure)
	s.mu.Lock()
	full := s.opt.ConnectionMax > 0 && len(s.conns) >= s.opt.ConnectionMax
	if s.closing || full {
		s.mu.Unlock()
		nc.Close()
		if full {
			s.opt.Log.Warn("connection refused: connection_max is reached", "peer", nc.RemoteAddr().String())
		}
		return
	}
	s.conns[c] = struct{}{}
	s.tasks.Add(1)
	s.mu.Unlock()
	go c.serve() // ends with the connection
}

func (s *Server) drop(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// each calls f with every connection there is.
func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

// Connections returns how many connections there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close stops accepting, tells every client that the broker forces its connection to close, and waits for them to go;
// when ctx ends, those that are left are cut.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.each(func(c *conn) {
		c.poke(func() {
			c.fail(amqp.Errorf(amqp.ConnectionForced, "broker forced connection closure with reason 'shutdown'"))
		})
	})
	gone := make(chan struct{})
	go func() { // ends when all connections have, soon after ctx at the latest
		for s.Connections() > 0 {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				s.each(func(c *conn) { c.nc.Close() })
				<-time.After(5 * time.Millisecond)
			}
		}
		close(gone)
	}()
	<-gone
	close(s.stop)
	s.tasks.Wait()
}
