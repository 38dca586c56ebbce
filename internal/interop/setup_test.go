package interop

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// root is the repository's top folder, sources the clients' programs and manifests; both are absolute.
var (
	root, _ = filepath.Abs("../..")
	sources = filepath.Join(root, "testdata", "clients")
)

// A need is something of the operating system that a client cannot do without: a command that succeeds when it is there,
// and the Debian package that brings it ("": none does).
type need struct {
	what, debian string
	probe        []string
}

var (
	python  = need{"Python 3 with venv", "python3-venv", []string{"python3", "-c", "import venv, ensurepip"}}
	node    = need{"Node.js", "nodejs", []string{"node", "--version"}}
	npm     = need{"npm", "npm", []string{"npm", "--version"}}
	javac   = need{"a Java compiler", "default-jdk-headless", []string{"javac", "-version"}}
	java    = need{"Java", "default-jre-headless", []string{"java", "-version"}}
	maven   = need{"Maven", "maven", []string{"sh", "-c", "command -v mvn"}}
	php     = need{"PHP", "php-cli", []string{"php", "-v"}}
	phpSets = need{"php-mbstring", "php-mbstring", []string{"php", "-r", "exit((int) !extension_loaded('mbstring'));"}}
	phpAMQP = need{"php-amqplib", "php-amqplib", []string{"php", "-r", "exit((int) !@include '/usr/share/php/PhpAmqpLib/autoload.php');"}}
	tools   = need{"amqp-tools", "amqp-tools", []string{"amqp-publish", "--usage"}}
	ruby    = need{"Ruby", "ruby", []string{"ruby", "--version"}}
	bunny   = need{"Bunny", "ruby-bunny", []string{"ruby", "-e", "require 'bunny'"}}
	cargo   = need{"Rust 1.89 or newer (Debian's is older)", "", []string{"sh", "-c", `v=$(cargo --version) && v=${v#cargo 1.} && [ "${v%%.*}" -ge 89 ]`}}
)

// setup guards the cache and the package manager: one client at a time prepares itself.
var setup sync.Mutex

// require skips the test unless all needs are met, after installing what is missing if we were asked to.
func require(t *testing.T, needs ...need) {
	setup.Lock()
	defer setup.Unlock()
	for _, n := range needs {
		if n.met() {
			continue
		}
		if n.debian != "" && os.Getenv("WARREN_INSTALL") == "1" && os.Getuid() == 0 {
			install(t, n.debian)
			if n.met() {
				continue
			}
		}
		hint := ""
		if n.debian != "" {
			hint = fmt.Sprintf(" (Debian package %s; WARREN_INSTALL=1 as root installs it)", n.debian)
		}
		t.Skipf("%s is missing%s", n.what, hint)
	}
}

func (n need) met() bool { return exec.Command(n.probe[0], n.probe[1:]...).Run() == nil }

func install(t *testing.T, pkg string) {
	for _, args := range [][]string{{"update", "-qq"}, {"install", "-qq", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.Command("apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("apt-get %v: %v\n%s", args, err, lastLines(string(out), 20))
			return
		}
	}
}

// cached returns the client's folder in the cache. Unless an earlier call completed it for the same key, it is emptied and
// build fills it; build fails the test when it cannot.
func cached(t *testing.T, client, key string, build func(dir string)) string {
	base := os.Getenv("WARREN_CACHE")
	if base == "" {
		base = filepath.Join(root, ".cache", "interop")
	}
	dir, err := filepath.Abs(filepath.Join(base, client))
	if err != nil {
		t.Fatal(err)
	}
	setup.Lock()
	defer setup.Unlock()
	complete := filepath.Join(dir, "complete") // holds the key, and is written last
	if got, err := os.ReadFile(complete); err == nil && string(got) == key {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	build(dir)
	if err := os.WriteFile(complete, []byte(key), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// digest is a key for cached: it changes with any of the files.
func digest(t *testing.T, files ...string) string {
	h := sha256.New()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%s %d\n%s", filepath.Base(f), len(b), b)
	}
	return fmt.Sprintf("%x\n", h.Sum(nil))
}

// must runs a step of a build in dir.
func must(t *testing.T, dir, name string, args ...string) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, lastLines(string(out), 40))
	}
}
