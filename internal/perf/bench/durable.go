package main

import (
	"context"
	"fmt"
	"time"

	"github.com/warrenmq/warren/internal/perf"
)

const (
	perPayload = "written / payload"
	slower     = "times slower than the disk"

	durableBody = 1024        // bytes
	floorTime   = time.Second // of the disk test
)

// persistentRows are the lines of persistent.
var persistentRows = []row{
	{unit: cpuPerMillion, goal: goal{share: 18}},
	{name: "disk", unit: slower, goal: goal{limit: 3}},
	{name: "written", unit: perPayload, goal: goal{limit: 1.1}},
}

// persistent makes a case of n producers, queues and consumers that trust nothing but confirms and acks.
func persistent(n int) func(context.Context, *broker, options) ([]figure, error) {
	return func(ctx context.Context, b *broker, opt options) ([]figure, error) {
		res, err := measure(ctx, b, opt, perf.Config{
			Producers: n, Queues: n, Consumers: n, BodySize: durableBody, Durable: true, Persistent: true,
			Window: 256, AckEvery: 64, Prefetch: 256,
		})
		if err != nil {
			return nil, err
		}
		disk, err := beside(b, &res)
		return append([]figure{cost(&res)}, disk...), err
	}
}

// beside returns how many times more messages the disk alone takes in the time, and what was written for each byte of
// payload.
func beside(b *broker, res *perf.Result) ([]figure, error) {
	floor, err := perf.DiskFloor(b.dir, floorTime)
	if err != nil {
		return nil, err
	}
	payload := max(1, res.Published) * durableBody
	return []figure{{value: floor / res.Rate()}, {value: float64(res.BrokerWritten) / float64(payload)}}, nil
}

// backlog fills a queue, restarts the broker twice, and drains the queue, which shows that nothing was lost on the way.
func backlog(ctx context.Context, b *broker, opt options) ([]figure, error) {
	cfg := perf.Config{
		Queue: "backlog", BodySize: durableBody, Durable: true, Persistent: true, Keep: true,
		Messages: int64(b.part(opt.backlog)), Producers: 1, Window: 1024,
	}
	fill, err := measure(ctx, b, opt, cfg)
	if err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	peak, err := perf.PeakMemory(b.pids())
	if err != nil {
		return nil, err
	}
	disk, err := beside(b, &fill)
	if err != nil {
		return nil, err
	}
	out := append([]figure{cost(&fill), {value: float64(peak) / (1 << 20)}}, disk...)
	for _, end := range []func(){b.kill, b.stop} {
		end()
		took, err := restart(ctx, b, cfg.Queue+"-0")
		if err != nil {
			return nil, fmt.Errorf("restart: %w", err)
		}
		out = append(out, figure{value: took.Seconds()})
	}
	cfg.UseThere, cfg.Producers, cfg.Window = true, 0, 0
	cfg.Consumers, cfg.AckEvery, cfg.Prefetch = 1, 256, 1024
	drain, err := measure(ctx, b, opt, cfg)
	if err != nil {
		return nil, fmt.Errorf("drain: %w", err)
	}
	return append(out, cost(&drain)), nil
}

// restart starts a broker that was ended on what it has stored, and returns when a queue has delivered.
func restart(ctx context.Context, b *broker, queue string) (time.Duration, error) {
	begin := time.Now()
	if err := b.start(ctx); err != nil {
		return 0, err
	}
	err := perf.First(ctx, b.endpoint(), queue)
	return time.Since(begin), err
}
