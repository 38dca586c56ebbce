package conformance

import (
	"fmt"
	"strconv"
	"strings"
)

// A Difference is a block to which Warren answers otherwise than RabbitMQ, on purpose.
type Difference struct {
	Script string
	Title  string // of the scenario
	Block  int    // from 1
	Reason string // one sentence or more
	Answer []string
}

// key identifies the block.
func (d *Difference) key() string { return fmt.Sprintf("%s: %s #%d", d.Script, d.Title, d.Block) }

// ParseDifferences reads differences.txt:
//
//	== script.txt: The scenario's title. #2
//	reason: why Warren does otherwise
//	----
//	what Warren answers
func ParseDifferences(text string) ([]*Difference, error) {
	var all []*Difference
	var d *Difference
	answering := false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		switch {
		case strings.HasPrefix(line, titleMark):
			script, rest, ok := strings.Cut(strings.TrimPrefix(line, titleMark), ": ")
			at := strings.LastIndex(rest, " #")
			if !ok || at < 0 {
				return nil, fmt.Errorf("line %d: want %sscript: title #block", i+1, titleMark)
			}
			n, err := strconv.Atoi(rest[at+2:])
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
			d, answering = &Difference{Script: script, Title: rest[:at], Block: n}, false
			all = append(all, d)
		case line == "" || d == nil && strings.HasPrefix(line, "#"):
		case d == nil:
			return nil, fmt.Errorf("line %d: text in front of the first %q", i+1, titleMark)
		case line == rule:
			answering = true
		case answering:
			d.Answer = append(d.Answer, line)
		case strings.HasPrefix(line, "reason:"):
			d.Reason = strings.TrimSpace(strings.TrimPrefix(line, "reason:"))
		default:
			d.Reason += " " + strings.TrimSpace(line)
		}
	}
	return all, nil
}

// FormatDifferences writes what ParseDifferences reads.
func FormatDifferences(all []*Difference) string {
	var out strings.Builder
	out.WriteString("# Where Warren answers otherwise than RabbitMQ 3.10.8, and why.\n" +
		"# The test fails if a difference is not listed here, and if a listed one is gone.\n")
	for _, d := range all {
		fmt.Fprintf(&out, "\n%s%s\n%s\n%s\n", titleMark, d.key(), strings.TrimRight("reason: "+d.Reason, " "), rule)
		for _, l := range d.Answer {
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}
