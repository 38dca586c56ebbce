package perf

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// openers is how many connections are opened at the same time.
const openers = 8

// Connections opens n connections with a channel each, calls measure while they are idle, and closes them.
func Connections(ctx context.Context, e Endpoint, n int, measure func() error) error {
	all := make([]*conn, n)
	defer func() {
		for _, c := range all {
			if c != nil {
				c.drop()
			}
		}
	}()
	var next atomic.Int64
	err := atOnce(openers, func() error {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return nil
			}
			c, err := dial(ctx, e, i)
			if err != nil {
				return err
			}
			all[i] = c
			if err := c.channel(1); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return fmt.Errorf("open %d connections: %w", n, err)
	}
	return measure()
}

// Queues declares n empty queues, calls measure while they are idle, and deletes them.
func Queues(ctx context.Context, e Endpoint, n int, durable bool, measure func() error) error {
	c, err := dial(ctx, e, 0)
	if err != nil {
		return err
	}
	defer c.drop()
	if err := c.channel(1); err != nil {
		return err
	}
	name := func(i int) string { return fmt.Sprintf("perf-idle-%d", i) }
	err = callAll[*amqp.QueueDeclareOk](c, 1, n, func(i int) amqp.Method {
		return &amqp.QueueDeclare{Queue: name(i), Durable: durable}
	})
	if err != nil {
		return fmt.Errorf("declare %d queues: %w", n, err)
	}
	err = measure()
	gone := callAll[*amqp.QueueDeleteOk](c, 1, n, func(i int) amqp.Method { return &amqp.QueueDelete{Queue: name(i)} })
	if err == nil {
		err = gone
	}
	return err
}

// A ChurnResult is what connections that come and go cost.
type ChurnResult struct {
	Window    time.Duration
	Pairs     int64 // a connection and a channel, opened and closed
	BrokerCPU time.Duration
	ClientCPU time.Duration
	OtherCPU  time.Duration
	Latency   Histogram // of a pair, nanoseconds
}

// Churn opens a connection and a channel and closes both in order, again and again, several at once, and measures the
// broker's processes in a window of d that begins after warmup.
func Churn(ctx context.Context, e Endpoint, atSameTime int, warmup, d time.Duration, pids []int) (ChurnResult, error) {
	var res ChurnResult
	var pairs atomic.Int64
	var measuring, stop atomic.Bool
	var mu sync.Mutex // guards res.Latency
	var worker atomic.Int64
	done := make(chan error, 1)
	go func() { // ends when stop is set or a worker fails
		done <- atOnce(atSameTime, func() error {
			i := int(worker.Add(1))
			for !stop.Load() {
				begin := now()
				if err := pair(ctx, e, i); err != nil {
					return err
				}
				pairs.Add(1)
				if measuring.Load() {
					mu.Lock()
					res.Latency.Add(now() - begin)
					mu.Unlock()
				}
			}
			return nil
		})
	}()
	var before, after usage
	var from int64
	err := func() (err error) {
		if err = sleepOr(ctx, warmup, done); err != nil {
			return err
		}
		from = pairs.Load()
		if before, err = use(pids); err != nil {
			return err
		}
		measuring.Store(true)
		if err = sleepOr(ctx, d, done); err != nil {
			return err
		}
		measuring.Store(false)
		res.Pairs = pairs.Load() - from
		after, err = use(pids)
		return err
	}()
	stop.Store(true)
	if last := <-done; err == nil {
		err = last
	}
	res.Window = after.at.Sub(before.at)
	res.BrokerCPU, res.ClientCPU, res.OtherCPU = after.broker-before.broker, after.client-before.client, after.other(before)
	return res, err
}

// sleepOr sleeps for d, or less if the work has failed; what it takes from done it puts back.
func sleepOr(ctx context.Context, d time.Duration, done chan error) error {
	select {
	case <-time.After(d):
		return nil
	case err := <-done:
		done <- err
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pair opens a connection and a channel and closes both.
func pair(ctx context.Context, e Endpoint, i int) error {
	c, err := dial(ctx, e, i)
	if err != nil {
		return err
	}
	if err := c.channel(1); err != nil {
		c.drop()
		return err
	}
	if _, err := call[*amqp.ChannelCloseOk](c, 1, &amqp.ChannelClose{ReplyCode: 200}); err != nil {
		c.drop()
		return err
	}
	return c.close()
}

// atOnce runs f on n goroutines, waits for all, and returns the first error.
func atOnce(n int, f func() error) error {
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() { errs <- f() })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
