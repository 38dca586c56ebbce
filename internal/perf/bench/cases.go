package main

import (
	"context"
	"fmt"
	"time"

	"github.com/warrenmq/warren/internal/perf"
)

// A benchCase is an entry of the table below. run measures one broker and returns a figure for each of rows.
type benchCase struct {
	name  string
	about string
	rows  []row
	fresh bool // wants a broker that was just started, with nothing in it
	run   func(ctx context.Context, b *broker, opt options) ([]figure, error)
}

// A row is a line of the printed table.
type row struct {
	name string // follows the case's name; may be ""
	unit string
	goal goal
}

// A goal is what Warren's figure is to be. The zero goal is always met.
type goal struct {
	share float64 // at most RabbitMQ's figure divided by this
	limit float64 // at most this
}

// A figure is what one run on one broker gave.
type figure struct {
	value  float64 // in the row's unit; less is better
	rate   float64 // what was done a second, 0 if that says nothing
	client float64 // CPU s that the generator used for a million deliveries, 0 if that says nothing
	other  float64 // CPUs that were busy with something else, on average
}

const (
	cpuPerMillion = "CPU s / million"
	lag           = 50_000 // deliveries on their way without confirms, so that a rate is one that lasts
)

// cases are all that the bench can run. To add one is to add an entry: load turns a perf.Config into a run.
var cases = []benchCase{
	{
		name: "transient-16B", about: "16 B, automatic acks, 1 producer, 1 queue, 1 consumer",
		rows: []row{{unit: cpuPerMillion, goal: goal{share: 29}}},
		run:  load(perf.Config{Producers: 1, Consumers: 1, BodySize: 16, Lag: lag}),
	}, {
		name: "transient-16B-4x4", about: "16 B, automatic acks, 4 producers, 4 queues, 4 consumers",
		rows: []row{{unit: cpuPerMillion, goal: goal{share: 30}}},
		run:  load(perf.Config{Producers: 4, Queues: 4, Consumers: 4, BodySize: 16, Lag: lag}),
	}, {
		name: "transient-1K", about: "1 KiB, automatic acks, 1 producer, 1 queue, 1 consumer",
		rows: []row{{unit: cpuPerMillion, goal: goal{share: 11}}},
		run:  load(perf.Config{Producers: 1, Consumers: 1, BodySize: 1024, Lag: lag}),
	}, {
		name: "fanout-10", about: "100 B, automatic acks, 1 producer, a fanout exchange, 10 queues with a consumer each",
		rows: []row{{unit: cpuPerMillion, goal: goal{share: 34}}},
		run: load(perf.Config{Producers: 1, Queues: 10, Consumers: 10, Exchange: "fanout", BodySize: 100,
			Lag: 2 * lag}),
	}, {
		name: "topic-1000",
		about: fmt.Sprintf("100 B, automatic acks, 1 producer, a topic exchange with %d wildcard bindings of %d queues; "+
			"%d routing keys in turn, each of which matches one binding; 2 consumers", topicBindings, topicQueues,
			topicBindings*keysPerBinding),
		rows: []row{{unit: cpuPerMillion, goal: goal{share: 45}}},
		run: load(perf.Config{Producers: 1, Queues: topicQueues, Consumers: 2, Exchange: "topic", BodySize: 100,
			Lag: lag, Bindings: bindings(), Keys: keys()}),
	}, {
		name: "churn", about: "a connection and a channel, opened and closed in order, 4 at the same time",
		rows: []row{{unit: "CPU ms / pair", goal: goal{share: 16}}},
		run:  churn,
	}, {
		name: "latency-5000", about: "100 B, automatic acks, 5,000 messages a second, from write to delivery",
		rows: []row{{name: "p50", unit: "µs"}, {name: "p99", unit: "µs", goal: goal{share: 1}}},
		run: latency(perf.Config{Producers: 1, Consumers: 1, BodySize: 100, Rate: 5000},
			func(res *perf.Result) *perf.Histogram { return &res.Latency }),
	}, {
		name: "persistent-1K",
		about: "1 KiB, persistent, at most 256 unconfirmed, manual acks of 64, prefetch 256, 1 producer, 1 queue, " +
			"1 consumer",
		rows: persistentRows,
		run:  persistent(1),
	}, {
		name: "persistent-1K-4x4", about: "the same with 4 producers, 4 queues, 4 consumers",
		rows: persistentRows,
		run:  persistent(4),
	}, {
		name: "backlog-1K",
		about: "1 KiB, persistent: fill a queue with at most 1,024 unconfirmed, restart the broker until the first " +
			"delivery, drain with manual acks of 256 and prefetch 1,024",
		rows: []row{
			{name: "fill", unit: cpuPerMillion, goal: goal{share: 28}},
			{name: "fill, peak", unit: "MiB resident", goal: goal{limit: 100}},
			{name: "fill, disk", unit: slower, goal: goal{limit: 3}},
			{name: "fill, written", unit: perPayload},
			{name: "restart after kill -9", unit: "s", goal: goal{limit: 1}},
			{name: "restart after a stop", unit: "s", goal: goal{limit: 0.15}},
			{name: "drain", unit: cpuPerMillion, goal: goal{share: 22}},
		}, fresh: true,
		run: backlog,
	}, {
		name:  "confirm-1000",
		about: "100 B, persistent, manual acks one by one, 1,000 messages a second, from write to confirm",
		rows:  []row{{name: "p50", unit: "µs"}, {name: "p99", unit: "µs", goal: goal{share: 1}}},
		run: latency(perf.Config{Producers: 1, Consumers: 1, BodySize: 100, Rate: 1000, Durable: true,
			Persistent: true, Window: 1024, AckEvery: 1, Prefetch: 256},
			func(res *perf.Result) *perf.Histogram { return &res.ConfirmLatency }),
	}, {
		name: "start", about: "the program's start on an empty folder until it serves a client; its memory after that",
		rows:  []row{{unit: "s", goal: goal{limit: 0.1}}, {name: "memory", unit: "MB resident", goal: goal{limit: 25}}},
		fresh: true, run: start,
	}, {
		name: "declare-durable", about: "durable queues, declared on one channel without waiting in between",
		rows: []row{
			{name: "CPU", unit: "ms each", goal: goal{limit: 0.1}},
			{name: "time", unit: "ms each", goal: goal{limit: 0.1}},
		}, fresh: true,
		run: declares,
	}, {
		name: "idle-connections", about: "connections with a channel each that do nothing: what each adds to resident memory",
		rows: []row{{unit: "KiB each", goal: goal{limit: 20}}}, fresh: true,
		run: idleConnections,
	}, {
		name: "idle-queues", about: "empty transient queues: what each adds to resident memory",
		rows: []row{{unit: "KiB each", goal: goal{limit: 2}}}, fresh: true,
		run: idleQueues(false),
	}, {
		name: "idle-durable", about: "empty durable queues: what each adds to resident memory",
		rows: []row{{unit: "KiB each", goal: goal{limit: 2}}}, fresh: true,
		run: idleQueues(true),
	},
}

// load makes a case of a configuration; addresses, processes and times are the run's.
func load(cfg perf.Config) func(context.Context, *broker, options) ([]figure, error) {
	return func(ctx context.Context, b *broker, opt options) ([]figure, error) {
		res, err := measure(ctx, b, opt, cfg)
		if err != nil {
			return nil, err
		}
		return []figure{cost(&res)}, nil
	}
}

// cost is the figure of rows whose unit is cpuPerMillion.
func cost(res *perf.Result) figure {
	return figure{
		value: res.BrokerCPUPerMillion(), rate: res.Rate(), client: res.ClientCPUPerMillion(),
		other: res.OtherCPU.Seconds() / res.Window.Seconds(),
	}
}

// measure runs one load and fails unless every message came exactly once.
func measure(ctx context.Context, b *broker, opt options, cfg perf.Config) (perf.Result, error) {
	cfg.Endpoint, cfg.PIDs = b.endpoint(), b.pids()
	cfg.Duration, cfg.Warmup = opt.time, opt.warmup
	res, err := perf.Run(ctx, cfg)
	if err == nil && !res.Exact() {
		err = fmt.Errorf("%s", &res)
	}
	return res, err
}

// latency makes a case of a configuration and of which of its run's times are to be shown.
func latency(cfg perf.Config, of func(*perf.Result) *perf.Histogram) func(context.Context, *broker, options) ([]figure, error) {
	return func(ctx context.Context, b *broker, opt options) ([]figure, error) {
		res, err := measure(ctx, b, opt, cfg)
		if err != nil {
			return nil, err
		}
		var out []figure
		for _, q := range []float64{0.5, 0.99} {
			out = append(out, figure{
				value: float64(of(&res).Quantile(q)) / 1e3, rate: res.Rate(),
				other: res.OtherCPU.Seconds() / res.Window.Seconds(),
			})
		}
		return out, nil
	}
}

func churn(ctx context.Context, b *broker, opt options) ([]figure, error) {
	res, err := perf.Churn(ctx, b.endpoint(), 4, opt.warmup, opt.time, b.pids())
	if err != nil {
		return nil, err
	}
	return []figure{{
		value: res.BrokerCPU.Seconds() * 1e3 / float64(max(res.Pairs, 1)), rate: float64(res.Pairs) / res.Window.Seconds(),
		other: res.OtherCPU.Seconds() / res.Window.Seconds(),
	}}, nil
}

// settleTime is how long a broker may rest before its memory is read.
const settleTime = 3 * time.Second

// rested reads the broker's memory after it has rested, in bytes.
func rested(ctx context.Context, b *broker, memory func([]int) (int64, error)) (int64, error) {
	select {
	case <-time.After(settleTime):
		return memory(b.pids())
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// grown returns what each of n things that hold makes adds to the broker's memory, in KiB. Before the first reading the
// broker has served some of the same, so that what it makes once is not counted.
func grown(ctx context.Context, b *broker, n int, hold func(n int, measure func() error) error) ([]figure, error) {
	if err := hold(max(1, n/100), func() error { return nil }); err != nil {
		return nil, err
	}
	before, err := rested(ctx, b, perf.AnonMemory)
	if err != nil {
		return nil, err
	}
	var after int64
	err = hold(n, func() (err error) {
		after, err = rested(ctx, b, perf.AnonMemory)
		return err
	})
	return []figure{{value: float64(after-before) / 1024 / float64(n)}}, err
}

func idleConnections(ctx context.Context, b *broker, opt options) ([]figure, error) {
	return grown(ctx, b, opt.connections, func(n int, measure func() error) error {
		return perf.Connections(ctx, b.endpoint(), n, measure)
	})
}

func idleQueues(durable bool) func(context.Context, *broker, options) ([]figure, error) {
	return func(ctx context.Context, b *broker, opt options) ([]figure, error) {
		return grown(ctx, b, opt.queues, func(n int, measure func() error) error {
			return perf.Queues(ctx, b.endpoint(), n, durable, measure)
		})
	}
}
