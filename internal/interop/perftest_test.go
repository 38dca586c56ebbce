package interop

import (
	"path/filepath"
	"strings"
	"testing"
)

// perfRuns are short runs of RabbitMQ's own load generator. -C is messages for each producer, -D for each consumer; a run
// that has them ends only when all have come.
var perfRuns = []struct{ name, args string }{
	{"confirms", "-x 1 -y 1 -C 20000 -D 20000 -c 200 -f persistent -q 100"},
	{"multi-ack", "-x 1 -y 1 -C 20000 -D 20000 -q 200 -A 50"},
	{"two-to-two", "-x 2 -y 2 -C 5000 --exit-when empty -q 50 -f persistent"},
	{"two-queues", "-x 2 -y 2 -C 5000 -D 5000 -qp PREFIX.%d -qpf 1 -qpt 2 -q 50 -A 10 -s 4096"},
	{"transactions", "-x 1 -y 1 -C 2000 -D 2000 -m 50 -n 50"},
	{"fanout", "-x 1 -y 2 -C 5000 -D 5000 -t fanout -e PREFIX.fanout -c 10 -q 50 --exclusive"},
	{"polling", "-x 1 -y 1 -C 1000 -D 1000 --polling"},
	{"time", "-x 1 -y 1 -z 3 -a"},
}

func runPerfTest(t *testing.T, addr string) {
	require(t, java, maven)
	src := filepath.Join(sources, "perftest")
	dir := cached(t, "perftest", digest(t, filepath.Join(src, "pom.xml")), func(dir string) { fetchJars(t, src, dir) })
	for _, r := range perfRuns {
		t.Run(r.name, func(t *testing.T) {
			argv := []string{"java", "-cp", filepath.Join(dir, "jars", "*"), "com.rabbitmq.perf.PerfTest", "--uri", amqpURL(addr)}
			args := strings.ReplaceAll(r.args, "PREFIX", prefix("perftest"))
			if !strings.Contains(args, "-qp ") && !strings.Contains(args, "--exclusive") {
				argv = append(argv, "--queue", prefix("perftest")+"."+r.name)
			}
			stdout, stderr, err := run(t.TempDir(), programTimeout, nil, append(argv, strings.Fields(args)...))
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, lastLines(stdout, 20), lastLines(stderr, 40))
			}
			want := "Consumer reached message limit"
			switch r.name {
			case "two-to-two":
				want = "Consumer queue(s) empty"
			case "time":
				want = "Reached time limit"
			}
			if !strings.Contains(stdout, want) {
				t.Errorf("did not stop for %q:\n%s", want, lastLines(stdout, 20))
			}
			if rate, ok := averageRate(stdout, "receiving"); !ok || rate == "0 msg/s" {
				t.Errorf("nothing was received:\n%s", lastLines(stdout, 20))
			} else if sent, _ := averageRate(stdout, "sending"); r.name == "two-to-two" && sent != rate {
				t.Errorf("sent %s, received %s", sent, rate)
			}
		})
	}
}

// averageRate finds "receiving rate avg: 11210 msg/s" or its like for sending.
func averageRate(stdout, direction string) (string, bool) {
	_, rest, ok := strings.Cut(stdout, direction+" rate avg: ")
	rate, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(rate), ok
}
