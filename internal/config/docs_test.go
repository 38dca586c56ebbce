package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

//go:generate go test -count=1 -run ^TestDocsAreFresh$ . -rewrite

var rewrite = flag.Bool("rewrite", false, "write docs/config.md and docs/warren.conf.sample")

// The pages that come from the table say what the table says.
func TestDocsAreFresh(t *testing.T) {
	for _, page := range []struct{ file, want string }{
		{"../../docs/config.md", reference()},
		{"../../docs/warren.conf.sample", sample()},
	} {
		if *rewrite {
			if err := os.WriteFile(page.file, []byte(page.want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(page.file); err != nil || string(got) != page.want {
			t.Errorf("%s is not what the settings table says (%v): run `make generate`", page.file, err)
		}
	}
}

// The sample with every comment sign in front of a setting removed loads, and changes nothing but what its examples say.
func TestSampleLoads(t *testing.T) {
	if _, warnings, err := load(t, sample()); err != nil || warnings != "" {
		t.Errorf("the sample as it is: %v, %s", err, warnings)
	}
	var b strings.Builder
	for line := range strings.Lines(sample()) {
		if setting, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(setting, " ") && !strings.HasSuffix(setting, "=\n") {
			b.WriteString(setting)
		}
	}
	if _, warnings, err := load(t, b.String()); err != nil || warnings != "" {
		t.Errorf("the sample in force: %v, %s", err, warnings)
	}
}

// reference is docs/config.md.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- From the table in internal/config/settings.go, by make generate. -->

Warren reads a RabbitMQ configuration file (` + "`rabbitmq.conf`" + `: a ` + "`key = value`" + ` a line, ` + "`#`" + ` begins a comment). Keys that RabbitMQ
has keep its name, default and unit; Warren's own begin with ` + "`warren.`" + `. ` + "`docs/warren.conf.sample`" + ` lists all of them, ready to be changed.

- A key that Warren does not know is ignored with a warning in the log; a value that does not fit stops the start, with file and line.
- A value that holds a ` + "`#`" + `, or is empty, stands in single quotes.
- Sizes are bytes, or have a unit: ` + "`50MB`" + ` is 50,000,000, ` + "`50MiB`" + ` and ` + "`50M`" + ` are 52,428,800.
- Times are numbers in the unit the setting names, or have one: ` + "`500ms`, `90s`, `30m`, `1h`" + `.
- A key that ends in ` + "`$name`, `$n`, `$tag` or `$user`" + ` may be given many times, each with another word in that place. The first one replaces the
  default, except where it says otherwise.
- The environment wins over the file: ` + "`WARREN_`" + `, then the key in capitals with two underscores for each dot, as in
  ` + "`WARREN_LOG__CONSOLE__LEVEL=debug`" + `; Warren's own keys without their first word, as in ` + "`WARREN_DATA_DIR`" + `.
`)
	for _, g := range Groups() {
		fmt.Fprintf(&b, "\n## %s\n\n| key | default | |\n|---|---|---|\n", g.Title)
		for _, s := range g.Settings {
			def := ""
			if s.Default != "" {
				def = "`" + s.Default + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Key, def, s.doc())
		}
	}
	return b.String()
}

// sample is docs/warren.conf.sample: "# " begins what is to be read, "#" alone what may be put in force.
func sample() string {
	var b strings.Builder
	b.WriteString("# Warren's settings with their defaults. Remove the # in front of what you change.\n" +
		"# docs/config.md says how this file is read.\n")
	for _, g := range Groups() {
		fmt.Fprintf(&b, "\n# ---- %s ----\n", g.Title)
		for _, s := range g.Settings {
			b.WriteByte('\n')
			for _, line := range wrap(strings.ReplaceAll(s.doc(), "`", ""), 98) {
				b.WriteString("# " + line + "\n")
			}
			if s.Default == "" {
				fmt.Fprintf(&b, "#%s =\n", strings.ReplaceAll(s.Key, "$", ""))
				continue
			}
			stem, _, _ := strings.Cut(s.Key, "$")
			for _, d := range s.defaults() {
				fmt.Fprintf(&b, "#%s = %s\n", stem+d.part, d.value)
			}
		}
	}
	return b.String()
}

// doc is Doc, and for a setting without effect the reason.
func (s *Setting) doc() string {
	if none, ok := s.Set(Default(), "x", "").(noEffect); ok {
		return s.Doc + " This key " + none.Error() + "."
	}
	return s.Doc
}

func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		if *last != "" && len(*last)+1+len(word) > width {
			lines = append(lines, word)
		} else {
			*last = strings.TrimSpace(*last + " " + word)
		}
	}
	return lines
}
