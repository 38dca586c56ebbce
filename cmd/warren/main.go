// Command warren is the broker. It reads its flags, the settings file and the environment, starts a node, and stops it
// cleanly on SIGTERM or SIGINT. What cannot be started is said in one line, with exit status 1.
package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/warrenmq/warren/internal/config"
	"github.com/warrenmq/warren/internal/node"
)

// version is set by the linker.
var version = "devel"

func main() {
	if err := app().Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "warren:", err)
		os.Exit(1)
	}
}

func app() *cli.App {
	return &cli.App{
		Name:            "warren",
		Usage:           "an AMQP 0-9-1 message broker",
		HideVersion:     true, // version is a command
		HideHelpCommand: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "settings in the format of rabbitmq.conf", TakesFile: true,
				EnvVars: []string{config.FileVariable}},
			&cli.StringFlag{Name: "data", Usage: "data directory"},
			&cli.StringSliceFlag{Name: "listen", Usage: "address to accept AMQP connections at, in place of those in the settings; may be repeated"},
		},
		Action:         run,
		ExitErrHandler: func(*cli.Context, error) {}, // main prints the error and exits
		Commands: []*cli.Command{{
			Name:  "version",
			Usage: "print the version",
			Action: func(c *cli.Context) error {
				_, err := fmt.Fprintf(c.App.Writer, "warren %s (compatible with RabbitMQ %s)\n", version, node.CompatibleVersion)
				return err
			},
		}},
	}
}

func run(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("unknown command %q; see warren --help", c.Args().First())
	}
	cfg, warnings, err := config.Load(c.String("config"), os.Environ())
	if err != nil {
		return err
	}
	if c.IsSet("data") {
		cfg.DataDir = c.String("data")
	}
	if c.IsSet("listen") {
		cfg.Listeners = nil
		for _, addr := range c.StringSlice("listen") {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				return fmt.Errorf("--listen %s: want host:port", addr)
			}
			cfg.Listeners = append(cfg.Listeners, config.Listener{Name: "flag", Addr: addr})
		}
	}
	log := slog.New(slog.DiscardHandler)
	if cfg.LogConsole {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	}
	for _, w := range warnings {
		log.Warn("setting", "where", w.Where, "problem", w.Text)
	}
	tuneCollector()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	n, err := node.Start(cfg, log)
	if err != nil {
		return err
	}
	log.Info("started", "version", version, "data", cfg.DataDir)
	s := <-signals
	log.Info("stopping", "signal", s.String())
	n.Close()
	return nil
}

// tuneCollector spends a little more memory on fewer collections, unless the operator has his own idea: a broker's live
// heap is small while messages flow, and the collector would run all the time.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}
