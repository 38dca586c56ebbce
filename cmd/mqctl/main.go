// Command mqctl operates a Warren broker from the command line. Each group of commands has a file of its own, and main
// only lists them. It imports nothing of the broker: it reaches one as any client does, over the network.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := app(os.Stdout).RunContext(ctx, os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "mqctl:", err)
		stop()
		os.Exit(1)
	}
}

// app returns the program, which prints to out.
func app(out io.Writer) *cli.App {
	return &cli.App{
		Name:            "mqctl",
		Usage:           "operate a Warren broker",
		HideVersion:     true, // version is a command
		HideHelpCommand: true,
		Writer:          out,
		ExitErrHandler:  func(*cli.Context, error) {}, // main prints the error and exits
		Commands: []*cli.Command{
			perfCommand(),
			versionCommand(),
		},
	}
}
