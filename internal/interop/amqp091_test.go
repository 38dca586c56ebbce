package interop

import (
	"bufio"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	amqp091Version = "v1.16.0"
	amqp091Timeout = 5 * time.Minute
	amqp091Least   = 200 // tests that must pass, lest a build that leaves them out pass for a success
)

// Why tests of amqp091-go are left out. The first two need more of a broker's host than its AMQP port.
const (
	dropsConnection = "closes its connection by the management API at localhost:15672"
	setsAlarm       = "sets the memory watermark by rabbitmqctl"
	losesReply      = "hangs about once in a hundred runs: the library misses a channel.close that arrives before it waits for one"
	timesItself     = "uses no broker but a pipe to a simulated one, and gives it one millisecond, which a busy machine exceeds"
)

var amqp091Skipped = map[string]string{
	"TestConnectionRecoverySkipAndContinueNoInfiniteLoop":              losesReply,
	"TestNotifyClosesAllChansAfterConnectionClose":                     timesItself,
	"TestConnection_Close_WhenMemoryAlarmIsActive":                     setsAlarm,
	"TestConnectionRecoveryPublish":                                    dropsConnection,
	"TestConnectionRecoveryConsume":                                    dropsConnection,
	"TestConnectionRecoveryCustomSASLPlainAuth":                        dropsConnection,
	"TestConnectionRecoveryChannelIDReservation":                       dropsConnection,
	"TestConnectionRecoveryLifeCycleNotifyStateChange":                 dropsConnection,
	"TestConnectionRecoveryCancelInterrupt":                            dropsConnection,
	"TestConnectionRecoveryExclusiveQueue":                             dropsConnection,
	"TestConnectionRecoveryDeletedQueueSkip":                           dropsConnection,
	"TestConnectionRecoveryTopologyOnlyTransient":                      dropsConnection,
	"TestConnectionRecoveryMultiChannelTopology":                       dropsConnection,
	"TestConnectionRecoveryTopologyAllEnabled":                         dropsConnection,
	"TestConnectionRecoveryTopologyDisabled":                           dropsConnection,
	"TestConnectionRecoveryExhaustionDoesNotPanic":                     dropsConnection,
	"TestConnectionRecoveryAutoDeleteTopologyForgotten":                dropsConnection,
	"TestConnectionRecoveryAutoDeleteExchangeCascade":                  dropsConnection,
	"TestConnectionRecoverySkipAndContinue":                            dropsConnection,
	"TestConnectionRecoveryConsumerNotForgottenAfterFailedResubscribe": dropsConnection,
}

// runOwnSuite runs the tests that amqp091-go brings, unchanged, with the race detector.
func runOwnSuite(t *testing.T, addr string) {
	dir := cached(t, "amqp091-go", amqp091Version, func(dir string) { unpackModule(t, dir) })
	argv := []string{"go", "test", "-json", "-race", "-tags", "integration", "-count=1", "-timeout", amqp091Timeout.String(),
		"-skip", "^(" + strings.Join(slices.Sorted(maps.Keys(amqp091Skipped)), "|") + ")$", "."}
	env := []string{"AMQP_URL=amqp://guest:guest@" + addr + "/", "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=1"}
	stdout, stderr, err := run(filepath.Join(dir, "src"), amqp091Timeout+time.Minute, env, argv)

	output := make(map[string]*strings.Builder)
	var started, passed, skipped, failed []string
	lines := bufio.NewScanner(strings.NewReader(stdout))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var ev struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &ev) != nil {
			continue
		}
		test, _, sub := strings.Cut(ev.Test, "/")
		switch {
		case ev.Action == "output" || ev.Action == "build-output":
			if output[test] == nil {
				output[test] = new(strings.Builder)
			}
			output[test].WriteString(ev.Output)
		case sub || test == "":
		case ev.Action == "run":
			started = append(started, test)
		case ev.Action == "pass":
			passed = append(passed, test)
		case ev.Action == "skip":
			skipped = append(skipped, test)
		case ev.Action == "fail":
			failed = append(failed, test)
		}
	}
	for _, test := range failed {
		t.Run(test, func(t *testing.T) { t.Error(lastLines(output[test].String(), 40)) })
	}
	ended := slices.Concat(passed, skipped, failed)
	for _, test := range started {
		if !slices.Contains(ended, test) { // the timeout ended it, and its output ends with every goroutine's stack
			t.Run(test, func(t *testing.T) { t.Errorf("did not end\n%s", output[test]) })
		}
	}
	if err != nil && len(started) == 0 {
		t.Errorf("go test: %v\n%s\n%s", err, output[""], lastLines(stderr, 20))
	} else if err != nil {
		t.Errorf("go test: %v", err)
	}
	if len(passed) < amqp091Least {
		t.Errorf("%d tests passed, want at least %d", len(passed), amqp091Least)
	}
	t.Logf("amqp091-go %s: %d tests passed, %d failed, %d skipped themselves %q, %d left out", amqp091Version, len(passed),
		len(failed), len(skipped), skipped, len(amqp091Skipped))
}

// unpackModule copies the module's source out of the module cache, where it may not be written, to dir/src.
func unpackModule(t *testing.T, dir string) {
	download := exec.Command("go", "mod", "download", "-json", "github.com/rabbitmq/amqp091-go@"+amqp091Version)
	download.Dir = t.TempDir() // outside of Warren's module, whose own requirements are its own
	out, err := download.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", download, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "src"), os.DirFS(module.Dir)); err != nil {
		t.Fatal(err)
	}
}
