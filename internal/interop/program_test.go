package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const programTimeout = 4 * time.Minute // for all checks of one client, on a slow machine

// run executes a program in a process group of its own, which does not outlive it, and returns what it printed.
func run(dir string, timeout time.Duration, env, argv []string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.String(), errs.String(), err
}

// report makes a subtest of each check that a program was to make, from its output.
func report(t *testing.T, checks []string, stdout, stderr string, err error) {
	reasons := make(map[string]string) // "" for ok
	for line := range strings.Lines(stdout) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "ok "); ok {
			reasons[name] = ""
		} else if rest, ok := strings.CutPrefix(line, "FAIL "); ok {
			name, reason, _ := strings.Cut(rest, ":")
			reasons[name] = "FAIL " + strings.TrimSpace(reason)
		}
	}
	if err != nil {
		t.Errorf("the program ended with %v; its standard error ends with:\n%s", err, lastLines(stderr, 60))
	}
	for _, check := range checks {
		t.Run(check, func(t *testing.T) {
			if reason, ok := reasons[check]; !ok {
				t.Error("no result")
			} else if reason != "" {
				t.Error(reason)
			}
		})
		delete(reasons, check)
	}
	for check := range reasons {
		t.Errorf("check %q is not in the harness's list", check)
	}
}
