// Command bench measures Warren beside RabbitMQ on this machine and prints one table; `make bench` runs it.
//
// Both brokers run at once and take turns case by case, so that whatever else happens on the machine happens to both.
// What counts is the CPU time that a broker's processes use for a million deliveries: it depends far less on who else is
// busy than rates do. A case is an entry of the table in cases.go.
//
// RabbitMQ is the one that Debian's package rabbitmq-server installs under /usr/lib/rabbitmq; the bench starts a node of
// its own, with its own folders and ports, and removes all of that. Without it the table shows Warren alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line sets for all cases.
type options struct {
	time        time.Duration // of a measured window
	warmup      time.Duration
	connections int
	queues      int
	backlog     int // messages
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, args []string) error {
	var opt options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.DurationVar(&opt.time, "time", 4*time.Second, "measured window of each case and broker")
	fs.DurationVar(&opt.warmup, "warmup", time.Second, "load before the window")
	fs.IntVar(&opt.connections, "connections", 2000, "idle connections")
	fs.IntVar(&opt.queues, "queues", 10000, "idle queues")
	fs.IntVar(&opt.backlog, "backlog", 1_000_000, "messages of a backlog; a fifth of it for RabbitMQ")
	only := fs.String("case", "", "regular expression of the cases to run")
	names := fs.String("brokers", "warren,rabbitmq", "brokers, in the order in which they take turns")
	count := fs.Int("count", 1, "runs of each case; the table shows medians")
	port := fs.Int("port", 25760, "first of four TCP ports to use on 127.0.0.1")
	binary := fs.String("warren", "", "the warren program; built from ./cmd/warren if empty")
	write := fs.Bool("write", false, "put the table into docs/performance.md")
	list := fs.Bool("list", false, "list the cases and do nothing")
	if err := fs.Parse(args); err != nil {
		return err
	}
	re, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(cases), func(c benchCase) bool { return !re.MatchString(c.name) })
	if *list {
		for _, c := range chosen {
			fmt.Printf("%-18s %s\n", c.name, c.about)
		}
		return nil
	}
	if *write && len(chosen) < len(cases) {
		return errors.New("-write replaces the whole table, so it needs all cases")
	}
	dir, err := os.MkdirTemp("", "perf-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var brokers []*broker
	for name := range strings.SplitSeq(*names, ",") {
		b, err := newBroker(ctx, name, filepath.Join(dir, name), *port, *binary)
		if errors.Is(err, errAbsent) {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", name, err)
			continue
		} else if err != nil {
			return err
		}
		defer b.stop()
		brokers = append(brokers, b)
	}
	if len(brokers) == 0 {
		return errors.New("no broker to measure")
	}
	t := &table{brokers: brokers}
	for range *count {
		if err := turns(ctx, t, chosen, opt); err != nil {
			return err
		}
	}
	text := t.markdown(chosen)
	fmt.Print(text)
	if *write {
		if err := writeDoc(text); err != nil {
			return err
		}
	}
	if len(t.faults) > 0 {
		return fmt.Errorf("%d runs failed", len(t.faults))
	}
	return nil
}

// turns runs each case once on each broker. A run that fails is noted in the table; only the end of ctx ends the bench.
func turns(ctx context.Context, t *table, chosen []benchCase, opt options) error {
	for _, c := range chosen {
		for _, b := range t.brokers {
			fmt.Fprintf(os.Stderr, "%s: %s\n", c.name, b.name)
			if err := b.ready(ctx, c.fresh); err != nil {
				return err
			}
			figures, err := c.run(ctx, b, opt)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %s: %v\n", c.name, b.name, err)
				t.faults = append(t.faults, fmt.Sprintf("%s, %s: %v", c.name, b.name, err))
				continue
			}
			for i, f := range figures {
				t.add(c.name, i, b, f)
			}
		}
	}
	return nil
}
