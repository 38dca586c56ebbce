package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// standard are the checks of every program whose library can express them all.
var standard = []string{
	"publish-consume", "confirm", "return", "ttl", "dead-letter", "priority", "reply-to", "tx", "errors", "ack", "headers",
	"large-body",
}

func without(check string) []string {
	return slices.DeleteFunc(slices.Clone(standard), func(s string) bool { return s == check })
}

// A client is a library with a program of ours that uses it.
type client struct {
	name   string
	needs  []need
	keys   []string                            // files in the client's folder on which what is cached depends
	build  func(t *testing.T, src, dir string) // fills dir, the client's folder in the cache; nil: nothing to fetch
	argv   func(src, dir string) []string      // the program; the broker's URL and a prefix are appended
	checks []string
}

var clients = []client{
	pythonClient("pika", standard),
	pythonClient("aio-pika", standard),
	pythonClient("kombu", standard),
	pythonClient("celery", []string{
		"tasks", "retries", "countdown-eta", "failures", "canvas", "priority", "expires", "remote-control", "warm-shutdown",
	}),
	{
		name:  "node-amqplib",
		needs: []need{node, npm},
		keys:  []string{"package.json", "package-lock.json", "client.js"},
		build: func(t *testing.T, src, dir string) {
			for _, f := range []string{"package.json", "package-lock.json", "client.js"} {
				must(t, src, "cp", f, dir)
			}
			must(t, dir, "npm", "ci", "--no-audit", "--no-fund")
		},
		argv:   func(_, dir string) []string { return []string{"node", filepath.Join(dir, "client.js")} },
		checks: without("tx"), // amqplib has no transactions
	},
	{
		name:  "java",
		needs: []need{javac, maven},
		keys:  []string{"pom.xml", "Client.java"},
		build: func(t *testing.T, src, dir string) {
			fetchJars(t, src, dir)
			must(t, dir, "javac", "-encoding", "UTF-8", "-cp", "jars/*", "-d", dir, filepath.Join(src, "Client.java"))
		},
		argv:   func(_, dir string) []string { return []string{"java", "-cp", dir + ":" + dir + "/jars/*", "Client"} },
		checks: standard,
	},
	{
		name:   "php-amqplib",
		needs:  []need{php, phpSets, phpAMQP},
		argv:   func(src, _ string) []string { return []string{"php", filepath.Join(src, "client.php")} },
		checks: standard,
	},
	{
		name:   "librabbitmq",
		needs:  []need{tools},
		argv:   func(src, _ string) []string { return []string{"sh", filepath.Join(src, "client.sh")} },
		checks: []string{"publish-consume", "get", "delete-conditions", "errors", "ack", "exchange", "large-body"},
	},
	{
		name:  "lapin",
		needs: []need{cargo},
		keys:  []string{"Cargo.toml", "Cargo.lock", "src/main.rs"},
		build: func(t *testing.T, src, dir string) {
			must(t, src, "cargo", "build", "--locked", "--quiet", "--target-dir", filepath.Join(dir, "target"))
		},
		argv:   func(_, dir string) []string { return []string{filepath.Join(dir, "target", "debug", "lapin-client")} },
		checks: standard,
	},
	{
		name:   "bunny",
		needs:  []need{ruby, bunny},
		argv:   func(src, _ string) []string { return []string{"ruby", filepath.Join(src, "client.rb")} },
		checks: standard,
	},
}

func pythonClient(name string, checks []string) client {
	return client{
		name:  name,
		needs: []need{python},
		keys:  []string{"requirements.txt"},
		build: func(t *testing.T, src, dir string) {
			must(t, dir, "python3", "-m", "venv", "venv")
			must(t, dir, "venv/bin/python", "-m", "pip", "install", "--quiet", "-r", filepath.Join(src, "requirements.txt"))
		},
		argv: func(src, dir string) []string {
			return []string{filepath.Join(dir, "venv", "bin", "python"), filepath.Join(src, "client.py")}
		},
		checks: checks,
	}
}

// fetchJars puts what src/pom.xml names, and what that depends on, into dir/jars.
func fetchJars(t *testing.T, src, dir string) {
	must(t, dir, "mvn", "--quiet", "--batch-mode", "--file", filepath.Join(src, "pom.xml"), "dependency:copy-dependencies",
		"-DoutputDirectory="+filepath.Join(dir, "jars"))
}

// coldStart is the time that all clients take on two cores when the cache is empty, with a reserve.
const coldStart = 15 * time.Minute

func TestClients(t *testing.T) {
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < coldStart {
		t.Skipf("less than %v until go test's timeout; make interop allows enough", coldStart)
	}
	addr := broker(t)
	t.Run("amqp091-go", func(t *testing.T) { t.Parallel(); runOwnSuite(t, addr) })
	t.Run("perftest", func(t *testing.T) { t.Parallel(); runPerfTest(t, addr) })
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, addr)
		})
	}
}

func (c client) run(t *testing.T, addr string) {
	require(t, c.needs...)
	src := filepath.Join(sources, c.name)
	dir := ""
	if c.build != nil {
		var files []string
		for _, f := range c.keys {
			files = append(files, filepath.Join(src, f))
		}
		dir = cached(t, c.name, digest(t, files...), func(dir string) { c.build(t, src, dir) })
	}
	argv := append(c.argv(src, dir), amqpURL(addr), prefix(c.name))
	stdout, stderr, err := run(t.TempDir(), programTimeout, []string{"PYTHONDONTWRITEBYTECODE=1"}, argv)
	report(t, c.checks, stdout, stderr, err)
}

// amqpURL names the virtual host "/" as the URI scheme wants it.
func amqpURL(addr string) string { return "amqp://guest:guest@" + addr + "/%2f" }

// prefix begins the names of everything that a client declares, so that clients do not meet, nor runs of one.
func prefix(client string) string { return fmt.Sprintf("interop.%s.%d", client, os.Getpid()) }
