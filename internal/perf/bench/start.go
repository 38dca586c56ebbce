package main

import (
	"context"
	"time"

	"github.com/warrenmq/warren/internal/perf"
)

// start tells how long the start took that made the broker ready, and what memory it needs to do nothing.
func start(ctx context.Context, b *broker, _ options) ([]figure, error) {
	idle, err := rested(ctx, b, perf.ResidentMemory)
	return []figure{{value: b.took.Seconds()}, {value: float64(idle) / 1e6}}, err
}

// declares tells what declaring a durable queue takes, of the broker's CPU and of time.
func declares(ctx context.Context, b *broker, opt options) ([]figure, error) {
	const durable = true
	n := b.part(opt.queues)
	if err := perf.Queues(ctx, b.endpoint(), max(1, n/100), durable, func() error { return nil }); err != nil {
		return nil, err
	}
	before, err := perf.CPU(b.pids())
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	var took, after time.Duration
	err = perf.Queues(ctx, b.endpoint(), n, durable, func() (err error) {
		took = time.Since(begin)
		after, err = perf.CPU(b.pids())
		return err
	})
	each := func(d time.Duration) float64 { return d.Seconds() * 1e3 / float64(n) }
	return []figure{
		{value: each(after - before)}, {value: each(took), rate: float64(n) / took.Seconds()},
	}, err
}
