package conformance

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	rewrite = flag.Bool("rewrite", false, "TestRabbitMQ writes the golden answers, TestWarren writes differences.txt")
	only    = flag.String("script", "", "run only the scripts whose name contains this")
)

const (
	folder   = "../../testdata/conformance"
	minSteps = 300

	goldenVersion = "3.10." // of RabbitMQ

	warrenAddr = "WARREN_CONFORMANCE_ADDR"          // a running Warren, instead of a new one
	rabbitAddr = "WARREN_CONFORMANCE_RABBITMQ_ADDR" // a running RabbitMQ 3.10.8, instead of a new one
)

// TestWarren compares Warren's answers with the golden ones and with the list of differences.
func TestWarren(t *testing.T) {
	addr := os.Getenv(warrenAddr)
	if addr == "" {
		b, err := StartWarren("../..", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		}()
		addr = b.Addr
	}
	listed := map[string]*Difference{}
	var order []*Difference
	for _, d := range readDifferences(t) {
		if listed[d.key()] != nil {
			t.Errorf("differences.txt lists %q twice", d.key())
		}
		listed[d.key()] = d
	}
	met := map[string]bool{}
	for _, s := range scripts(t) {
		t.Run(s.Name, func(t *testing.T) {
			for _, sc := range s.Scenarios {
				golden := expectDifferences(s, sc, listed)
				answers, err := (&Runner{Addr: addr}).Run(sc)
				if err != nil {
					t.Errorf("%s:%d: %s: %v", s.Name, sc.Line, sc.Title, err)
				}
				for i, got := range answers {
					d := &Difference{Script: s.Name, Title: sc.Title, Block: i + 1, Answer: got}
					if known := listed[d.key()]; known != nil {
						d.Reason = known.Reason
					}
					met[d.key()] = true
					if !slices.Equal(got, golden[i]) {
						order = append(order, d)
					}
					if !*rewrite {
						judge(t, s, sc.Blocks[i], d, golden[i], listed[d.key()])
					}
				}
			}
		})
	}
	if *rewrite && *only == "" {
		write(t, "differences.txt", FormatDifferences(order))
		return
	}
	for key := range listed {
		if !met[key] && *only == "" {
			t.Errorf("differences.txt lists %q, which was not run", key)
		}
	}
}

// expectDifferences makes the runner wait for the answers that are listed for Warren, and returns the golden ones.
func expectDifferences(s *Script, sc *Scenario, listed map[string]*Difference) [][]string {
	var golden [][]string
	for i, b := range sc.Blocks {
		golden = append(golden, b.Want)
		d := &Difference{Script: s.Name, Title: sc.Title, Block: i + 1}
		if known := listed[d.key()]; known != nil {
			b.Want = known.Answer
		}
	}
	return golden
}

// judge fails the test if a block's answer is neither the golden one nor the one that is listed with a reason.
func judge(t *testing.T, s *Script, b *Block, d *Difference, golden []string, listed *Difference) {
	t.Helper()
	switch {
	case listed == nil && slices.Equal(d.Answer, golden):
	case listed == nil:
		t.Errorf("%s:%d: %s\n%s\nRabbitMQ answers:\n%s\nWarren answers:\n%s", s.Name, b.Line, d.Title,
			indent(b.Source), indent(golden), indent(d.Answer))
	case slices.Equal(d.Answer, golden):
		t.Errorf("%s:%d: Warren answers as RabbitMQ does, yet differences.txt lists %q", s.Name, b.Line, d.key())
	case !slices.Equal(d.Answer, listed.Answer):
		t.Errorf("%s:%d: %s\n%s\ndifferences.txt says that Warren answers:\n%s\nit answers:\n%s", s.Name, b.Line, d.Title,
			indent(b.Source), indent(listed.Answer), indent(d.Answer))
	case listed.Reason == "":
		t.Errorf("differences.txt gives no reason for %q", d.key())
	}
}

// TestRabbitMQ checks that the golden answers are RabbitMQ's. It needs the Debian package rabbitmq-server 3.10.8.
func TestRabbitMQ(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute and a half")
	}
	addr := os.Getenv(rabbitAddr)
	if addr == "" {
		b, err := StartRabbitMQ(t.TempDir())
		if errors.Is(err, ErrAbsent) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := b.Stop(); err != nil {
				t.Error(err)
			}
		}()
		addr = b.Addr
	}
	if v, err := (&Runner{Addr: addr}).Version(); err != nil || !strings.HasPrefix(v, goldenVersion) {
		t.Skipf("the golden answers are those of RabbitMQ %sx, this one is %q (%v)", goldenVersion, v, err)
	}
	for _, s := range scripts(t) {
		t.Run(s.Name, func(t *testing.T) {
			for _, sc := range s.Scenarios {
				answers, err := (&Runner{Addr: addr, Record: *rewrite}).Run(sc)
				if err != nil {
					t.Errorf("%s:%d: %s: %v", s.Name, sc.Line, sc.Title, err)
				}
				for i, got := range answers {
					b := sc.Blocks[i]
					if *rewrite {
						b.Want = got
					} else if !slices.Equal(got, b.Want) {
						t.Errorf("%s:%d: %s\n%s\nwant:\n%s\ngot:\n%s", s.Name, b.Line, sc.Title, indent(b.Source),
							indent(b.Want), indent(got))
					}
				}
			}
			if *rewrite && !t.Failed() {
				write(t, s.Name, s.Format())
			}
		})
	}
}

// TestScripts checks the scripts without a broker.
func TestScripts(t *testing.T) {
	steps := 0
	all := scripts(t)
	for _, s := range all {
		steps += s.Steps()
		text, err := os.ReadFile(filepath.Join(folder, s.Name))
		if err != nil {
			t.Fatal(err)
		}
		if s.Format() != string(text) {
			t.Errorf("%s is not formatted as -rewrite writes it", s.Name)
		}
	}
	t.Logf("%d steps in %d scripts", steps, len(all))
	if steps < minSteps && *only == "" {
		t.Errorf("%d steps, want %d or more", steps, minSteps)
	}
	for _, d := range readDifferences(t) {
		if d.Reason == "" {
			t.Errorf("differences.txt gives no reason for %q", d.key())
		}
	}
}

func scripts(t *testing.T) []*Script {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []*Script
	for _, name := range names {
		base := filepath.Base(name)
		if base == "differences.txt" || !strings.Contains(base, *only) {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(base, string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func readDifferences(t *testing.T) []*Difference {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "differences.txt"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := ParseDifferences(string(text))
	if err != nil {
		t.Fatalf("differences.txt: %v", err)
	}
	return all
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func indent(lines []string) string {
	if len(lines) == 0 {
		return "    (nothing)"
	}
	return "    " + strings.Join(lines, "\n    ")
}
