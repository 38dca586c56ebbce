package perf

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// A run is one call of Run.
type run struct {
	// immutable once producers and consumers are at work
	cfg       Config
	routes    [][]route // by producer
	producers []*producer
	consumers []*consumer
	cancel    context.CancelCauseFunc // ends everything at once, for a reason

	outstanding *window // deliveries on their way
	stop        atomic.Bool
	measure     atomic.Bool // inside the measured window
	published   atomic.Int64
	delivered   atomic.Int64

	wg sync.WaitGroup
}

// Run declares what the configuration asks for, publishes and consumes, and returns what it measured. It returns when
// all has arrived or nothing more does, and its connections are closed. An error is a failure to measure, such as a
// connection that the broker closes; messages that are missing show in the Result.
//
// Queues and an exchange of the configured names are deleted before the run, and after it unless Keep is set.
func Run(ctx context.Context, cfg Config) (Result, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return Result{}, err
	}
	r := &run{cfg: cfg}
	lag := int64(cfg.Lag)
	if cfg.Consumers == 0 {
		lag = 0
	}
	r.outstanding = newWindow(lag)
	for i := range cfg.Producers {
		routes, err := cfg.routes(i)
		if err != nil {
			return Result{}, err
		}
		r.routes = append(r.routes, routes)
	}
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	res, err := r.do(ctx)
	if err != nil {
		r.cancel(err)
		r.halt()
	}
	r.wg.Wait()
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	return res, err
}

// do is Run without the ending of what it starts.
func (r *run) do(ctx context.Context) (res Result, err error) {
	ctl, err := dial(ctx, r.cfg.Endpoint, 0)
	if err != nil {
		return res, err
	}
	if err := ctl.channel(1); err != nil {
		return res, err
	}
	if err := r.declare(ctl); err != nil {
		return res, err
	}
	if err := r.open(ctx); err != nil {
		return res, err
	}
	before, after, err := r.window(ctx)
	if err != nil {
		return res, err
	}
	if err := r.finish(ctx); err != nil {
		return res, err
	}
	r.wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return res, err
	}
	res = r.result(before, after)
	if r.cfg.Consumers > 0 {
		if res.Left, err = r.left(ctl); err != nil {
			return res, err
		}
	}
	if !r.cfg.Keep && !r.cfg.UseThere {
		if err := r.delete(ctl); err != nil {
			return res, err
		}
	}
	return res, ctl.close()
}

// open connects all, so that no handshake falls into the run.
func (r *run) open(ctx context.Context) error {
	for i := range r.cfg.Consumers {
		k, err := openConsumer(ctx, r, i)
		if err != nil {
			return err
		}
		r.consumers = append(r.consumers, k)
	}
	for i := range r.cfg.Producers {
		p, err := openProducer(ctx, r, i)
		if err != nil {
			return err
		}
		r.producers = append(r.producers, p)
	}
	return nil
}

// work runs f on a goroutine of its own. It ends when the connection that f works on is done or closed.
func (r *run) work(f func() error) {
	r.wg.Go(func() {
		if err := f(); err != nil {
			r.cancel(err)
			r.halt()
		}
	})
}

// halt lets no producer begin another write.
func (r *run) halt() {
	r.stop.Store(true)
	r.outstanding.close()
	for _, p := range r.producers {
		if p.confirms != nil {
			p.confirms.close()
		}
	}
}

// window starts everything and reads the clocks at the ends of the measured window.
func (r *run) window(ctx context.Context) (before, after usage, err error) {
	begin := func() error {
		r.measure.Store(true)
		before, err = r.snapshot()
		return err
	}
	if r.cfg.Warmup <= 0 {
		if err := begin(); err != nil {
			return before, after, err
		}
	}
	for _, k := range r.consumers {
		r.work(k.consume)
	}
	for _, k := range r.consumers {
		select {
		case <-k.started:
		case <-ctx.Done():
			return before, after, context.Cause(ctx)
		}
	}
	var publishing sync.WaitGroup
	for _, p := range r.producers {
		r.work(p.listen)
		publishing.Add(1)
		r.work(func() error { defer publishing.Done(); return p.publish() })
	}
	if r.cfg.Warmup > 0 {
		if err := sleep(ctx, r.cfg.Warmup); err != nil {
			return before, after, err
		}
		if err := begin(); err != nil {
			return before, after, err
		}
	}
	if r.cfg.Messages == 0 {
		if err := sleep(ctx, r.cfg.Duration); err != nil {
			return before, after, err
		}
	} else if err := r.settle(ctx, func() bool { return r.allSent() && r.settled() }); err != nil {
		return before, after, err
	}
	after, err = r.snapshot()
	r.measure.Store(false)
	r.halt()
	for _, p := range r.producers { // a broker may hold back a write, but not for ever
		p.c.nc.SetWriteDeadline(time.Now().Add(r.cfg.Patience))
	}
	publishing.Wait()
	return before, after, err
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *run) snapshot() (usage, error) {
	u, err := use(r.cfg.PIDs)
	u.published, u.delivered = r.published.Load(), r.delivered.Load()
	return u, err
}

func (r *run) allSent() bool { return r.cfg.Producers == 0 || r.published.Load() >= r.cfg.Messages }

// settled says that all that was sent is confirmed and delivered.
func (r *run) settled() bool {
	for _, p := range r.producers {
		if !p.settled() {
			return false
		}
	}
	switch {
	case r.cfg.Consumers == 0:
		return true
	case r.cfg.Producers == 0:
		return r.delivered.Load() >= r.cfg.Messages
	}
	return r.delivered.Load() >= r.outstanding.taken.Load()
}

// settle waits until done, or until nothing has moved for as long as patience lasts.
func (r *run) settle(ctx context.Context, done func() bool) error {
	const look = 2 * time.Millisecond
	last, since := int64(-1), time.Now()
	for !done() {
		if err := sleep(ctx, look); err != nil {
			return err
		}
		moved := r.published.Load() + r.delivered.Load()
		for _, p := range r.producers {
			if p.confirms != nil {
				moved += p.confirms.released.Load()
			}
		}
		if moved != last {
			last, since = moved, time.Now()
		} else if time.Since(since) > r.cfg.Patience {
			return nil
		}
	}
	return nil
}

// finish waits for what is on its way and says goodbye on all connections.
func (r *run) finish(ctx context.Context) error {
	if err := r.settle(ctx, r.settled); err != nil {
		return err
	}
	for _, k := range r.consumers {
		if err := k.cancel(); err != nil {
			return err
		}
	}
	bye := amqp.AppendMethod(nil, 0, &amqp.ConnectionClose{ReplyCode: 200, ReplyText: "bye"})
	for _, p := range r.producers {
		p.c.nc.SetDeadline(time.Now().Add(callTimeout))
		if _, err := p.c.nc.Write(bye); err != nil {
			return err
		}
	}
	return nil
}

// result puts the books together; all goroutines have ended.
func (r *run) result(before, after usage) Result {
	res := Result{
		Window:    after.at.Sub(before.at),
		Published: after.published - before.published,
		Delivered: after.delivered - before.delivered,
		Sent:      r.published.Load(),
		Arrived:   r.delivered.Load(),
		BrokerCPU: after.broker - before.broker,
		ClientCPU: after.client - before.client,
		OtherCPU:  after.other(before),

		BrokerWritten: after.written - before.written,
	}
	for _, p := range r.producers {
		p.c.drop()
		res.Nacked += p.nacked
		res.ConfirmLatency.Merge(&p.latency)
	}
	queues := make([]seen, r.cfg.Queues)
	for _, k := range r.consumers {
		res.Latency.Merge(&k.scan.latency)
		for i := range k.scan.subs {
			queues[k.scan.subs[i].queue].merge(&k.scan.subs[i].seen)
		}
	}
	if r.cfg.Consumers > 0 && stampSize(r.cfg.BodySize) > 0 {
		r.verify(queues, &res)
	}
	return res
}
