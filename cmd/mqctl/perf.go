package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/warrenmq/warren/internal/perf"
)

func perfCommand() *cli.Command {
	return &cli.Command{
		Name:  "perf",
		Usage: "publish and consume as fast as a broker can, and say how fast that was and whether every message came once",
		Description: "The queues that it uses are declared before the run and deleted after it.\n" +
			"It fails if a message is lost, or comes twice or to the wrong queue.",
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "uri", Usage: "`URI` of the broker; several spread the connections, all as the first one's user",
				Value: cli.NewStringSlice("amqp://guest:guest@127.0.0.1:5672/")},
			&cli.IntFlag{Name: "producers", Aliases: []string{"x"}, Value: 1, Usage: "connections that publish"},
			&cli.IntFlag{Name: "consumers", Aliases: []string{"y"}, Value: 1, Usage: "connections that consume"},
			&cli.IntFlag{Name: "queues", Aliases: []string{"n"}, Value: 1, Usage: "queues"},
			&cli.StringFlag{Name: "exchange", Usage: "declare an exchange of this `TYPE` and publish through it, instead of the default one"},
			&cli.IntFlag{Name: "size", Aliases: []string{"s"}, Value: 16, Usage: "`BYTES` of a body"},
			&cli.BoolFlag{Name: "durable", Usage: "durable queues"},
			&cli.BoolFlag{Name: "persistent", Usage: "persistent messages"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the queues there, with what is in them"},
			&cli.BoolFlag{Name: "there", Usage: "use the queues that --keep has left; with no producers and --messages, drain them"},
			&cli.IntFlag{Name: "confirms", Aliases: []string{"c"}, Usage: "publisher confirms, at most `N` outstanding; 0 is none"},
			&cli.IntFlag{Name: "prefetch", Aliases: []string{"q"}, Usage: "prefetch of each consumer; 0 is no limit"},
			&cli.IntFlag{Name: "ack-every", Usage: "acknowledge each `N` deliveries; 0 is automatic"},
			&cli.Float64Flag{Name: "rate", Aliases: []string{"r"}, Usage: "publish at this many a second, all producers together; 0 is no limit"},
			&cli.Int64Flag{Name: "messages", Aliases: []string{"m"}, Usage: "end after so many publishes, not after a time"},
			&cli.DurationFlag{Name: "time", Aliases: []string{"z"}, Value: 5 * time.Second, Usage: "how long to measure"},
			&cli.DurationFlag{Name: "warmup", Value: time.Second, Usage: "how long to run before measuring"},
			&cli.IntSliceFlag{Name: "pid", Usage: "process of a broker on this machine: also print its CPU time"},
		},
		Action: runPerf,
	}
}

// runPerf translates the flags, runs, and fails unless every message came once.
func runPerf(c *cli.Context) error {
	end, err := endpoint(c.StringSlice("uri"))
	if err != nil {
		return err
	}
	cfg := perf.Config{
		Endpoint:  end,
		Producers: c.Int("producers"), Consumers: c.Int("consumers"), Queues: c.Int("queues"),
		Exchange: c.String("exchange"), BodySize: c.Int("size"),
		Durable: c.Bool("durable"), Persistent: c.Bool("persistent"),
		Window: c.Int("confirms"), Prefetch: c.Int("prefetch"), AckEvery: c.Int("ack-every"),
		Rate: c.Float64("rate"), Messages: c.Int64("messages"), Warmup: c.Duration("warmup"),
		PIDs: c.IntSlice("pid"), Keep: c.Bool("keep"), UseThere: c.Bool("there"),
	}
	if cfg.Messages == 0 {
		cfg.Duration = c.Duration("time")
	}
	result, err := perf.Run(c.Context, cfg)
	if err != nil {
		return err
	}
	fmt.Fprint(c.App.Writer, result.String())
	// A body of fewer bytes has no room for its number, and without consumers nothing arrives: neither can be checked.
	if cfg.BodySize >= 8 && cfg.Consumers > 0 && !result.Exact() {
		return errors.New("messages were lost, or came twice or to the wrong queue")
	}
	return nil
}

// endpoint takes AMQP URIs apart. Of the user, password and vhost the first URI's count. An empty vhost is "/", as is a
// path of "/" alone.
func endpoint(uris []string) (e perf.Endpoint, err error) {
	for i, s := range uris {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "amqp" || u.Hostname() == "" {
			return e, fmt.Errorf("%q is not a URI such as amqp://guest:guest@127.0.0.1:5672/", s)
		}
		port := u.Port()
		if port == "" {
			port = "5672"
		}
		e.Addrs = append(e.Addrs, net.JoinHostPort(u.Hostname(), port))
		if i > 0 {
			continue
		}
		e.User = u.User.Username()
		e.Password, _ = u.User.Password()
		if len(u.Path) > 1 {
			e.Vhost = u.Path[1:]
		}
	}
	return e, nil
}
