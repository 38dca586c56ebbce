package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// version is set by the Makefile from the repository's state.
var version string

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version of mqctl",
		Action: func(c *cli.Context) error {
			_, err := fmt.Fprintf(c.App.Writer, "mqctl %s (%s)\n", versionOr(version), runtime.Version())
			return err
		},
	}
}

// versionOr returns set, or what `go install` recorded if the Makefile did not build this program.
func versionOr(set string) string {
	if set != "" {
		return set
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
