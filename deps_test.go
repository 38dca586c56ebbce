// Package warren_test holds the checks of the whole tree: who imports whom, and that each package says what it is for.
// The root of the repository has no code of its own; `go test .` and `make check` run this.
package warren_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/warrenmq/warren/"

	leaves = "amqp internal/store internal/config internal/metrics"
	parts  = "exchange queue mirror internal/meta internal/cluster internal/auth"
	edges  = "internal/server internal/mgmt federation shovel"
)

// drawn is the picture of who imports whom: each package with what it may import of Warren. Arrows point down, to any
// level below; neighbours do not know each other. Code in _test.go files is free, and so are packages that have none else.
var drawn = map[string]string{
	"cmd/warren": "internal/node internal/config",
	"cmd/mqctl":  "internal/perf",

	"internal/node": leaves + " " + parts + " internal/broker " + edges,

	"internal/server": leaves + " " + parts + " internal/broker",
	"internal/mgmt":   leaves + " " + parts + " internal/broker",
	"federation":      leaves + " " + parts + " internal/broker",
	"shovel":          leaves + " " + parts + " internal/broker",

	"internal/broker": leaves + " " + parts,

	"exchange":         leaves,
	"queue":            leaves,
	"mirror":           leaves,
	"internal/meta":    leaves,
	"internal/cluster": leaves,
	"internal/auth":    leaves,

	"amqp":                     "",
	"internal/store":           "",
	"internal/store/storetest": "internal/store",
	"internal/config":          "",
	"internal/metrics":         "",

	// Tools. They speak the protocol and know nothing of the broker.
	"amqp/gen":             "",
	"internal/perf":        "amqp",
	"internal/perf/bench":  "amqp internal/perf",
	"internal/conformance": "amqp",
	"internal/interop":     "amqp",
	"internal/script":      "amqp",
	"internal/leak":        "",
	"internal/crash":       "amqp",
}

// Every import of one of Warren's packages by another is a line of the picture.
func TestImportsAreDrawn(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.imports) == 0 && len(p.files) == 0 {
			continue // only tests
		}
		allowed, ok := drawn[p.dir]
		if !ok {
			t.Errorf("%s is not in the picture: add it to drawn in deps_test.go with what it may import", p.dir)
			continue
		}
		for to, file := range p.imports {
			if !slices.Contains(strings.Fields(allowed), to) {
				t.Errorf("no line is drawn from %s to %s (%s)", p.dir, to, file)
			}
		}
	}
}

// The picture's arrows point down: following them never leads back.
func TestPictureHasNoCycle(t *testing.T) {
	var below func(p string, seen []string)
	below = func(p string, seen []string) {
		if slices.Contains(seen, p) {
			t.Fatalf("the picture leads back to %s: %s", p, strings.Join(seen, " → "))
		}
		for _, q := range strings.Fields(drawn[p]) {
			if _, ok := drawn[q]; !ok {
				t.Errorf("%s may import %s, which is not in the picture", p, q)
			}
			below(q, append(slices.Clip(seen), p))
		}
	}
	for p := range drawn {
		below(p, nil)
	}
}

// A pkg is one directory with Go files.
type pkg struct {
	dir     string            // below the root, with slashes
	files   []*ast.File       // without tests
	tests   []*ast.File       // _test.go
	imports map[string]string // Warren's packages that files import, and the file that does
}

// packages parses imports and package comments of all of Warren. Folders called testdata, and what git ignores at the
// root, are not part of it.
func packages(t *testing.T) []*pkg {
	t.Helper()
	byDir := map[string]*pkg{}
	var out []*pkg
	fset := token.NewFileSet()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || base == "testdata" || name == "bin" || name == "data") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		p := byDir[path.Dir(name)]
		if p == nil {
			p = &pkg{dir: path.Dir(name), imports: map[string]string{}}
			byDir[p.dir] = p
			out = append(out, p)
		}
		if strings.HasSuffix(base, "_test.go") {
			p.tests = append(p.tests, f)
			return nil
		}
		p.files = append(p.files, f)
		for _, i := range f.Imports {
			if to, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module); ok {
				p.imports[to] = name
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
