package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A table gathers the figures of all runs.
type table struct {
	brokers []*broker
	figures map[cell][]figure
	faults  []string
}

// A cell is where a figure belongs: row i of a case, for a broker.
type cell struct {
	name   string
	row    int
	broker string
}

func (t *table) add(name string, row int, b *broker, f figure) {
	if t.figures == nil {
		t.figures = make(map[cell][]figure)
	}
	c := cell{name, row, b.name}
	t.figures[c] = append(t.figures[c], f)
}

// median returns the run in the middle; ok is false if there is none.
func (t *table) median(name string, row int, broker string) (f figure, ok bool) {
	all := slices.Clone(t.figures[cell{name, row, broker}])
	if len(all) == 0 {
		return f, false
	}
	slices.SortFunc(all, func(a, b figure) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	return all[len(all)/2], true
}

// markdown returns the table as it is printed and as it stands in the documentation.
func (t *table) markdown(chosen []benchCase) string {
	var s strings.Builder
	for _, b := range t.brokers {
		fmt.Fprintf(&s, "%s, ", b.title)
	}
	fmt.Fprintf(&s, "%d CPUs, %s, %s.\n\n", runtime.NumCPU(), runtime.Version(), time.Now().Format(time.DateOnly))
	lines := [][]string{{
		"case", "unit", "Warren", "RabbitMQ", "ratio", "goal", "met", "Warren /s", "RabbitMQ /s", "generator", "other CPUs",
	}}
	for _, c := range chosen {
		for i, r := range c.rows {
			w, hasW := t.median(c.name, i, "Warren")
			q, hasQ := t.median(c.name, i, "RabbitMQ")
			lines = append(lines, []string{
				strings.TrimSpace(c.name + " " + r.name), r.unit, number(w.value, hasW), number(q.value, hasQ),
				ratio(w.value, q.value, hasW && hasQ), r.goal.String(), r.goal.met(w.value, q.value, hasW, hasQ),
				rate(w.rate), rate(q.rate), pairOf(w.client, q.client, hasW, hasQ), pairOf(w.other, q.other, hasW, hasQ),
			})
		}
	}
	writeAligned(&s, lines)
	for _, f := range t.faults {
		fmt.Fprintf(&s, "\nFailed: %s\n", strings.TrimSpace(f))
	}
	return s.String()
}

// writeAligned writes lines, the first of which is the head, as a Markdown table that also reads well as plain text.
func writeAligned(s *strings.Builder, lines [][]string) {
	width := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, v := range l {
			width[i] = max(width[i], len([]rune(v)), 3)
		}
	}
	const left = 2 // columns of words
	for n, l := range lines {
		for i, v := range l {
			pad := strings.Repeat(" ", width[i]-len([]rune(v)))
			if i < left {
				fmt.Fprintf(s, "| %s%s ", v, pad)
			} else {
				fmt.Fprintf(s, "| %s%s ", pad, v)
			}
		}
		s.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i, w := range width {
			if i < left {
				fmt.Fprintf(s, "|-%s-", strings.Repeat("-", w))
			} else {
				fmt.Fprintf(s, "|-%s:", strings.Repeat("-", w))
			}
		}
		s.WriteString("|\n")
	}
}

const absent = "–"

// number writes three digits that count, or more before the point.
func number(v float64, has bool) string {
	switch {
	case !has:
		return absent
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// rate writes a number of things a second with marks between thousands.
func rate(v float64) string {
	if v == 0 {
		return absent
	}
	s := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// ratio writes w/q, as a part of one if it is less than that.
func ratio(w, q float64, has bool) string {
	switch {
	case !has || q <= 0 || w <= 0:
		return absent
	case w < q:
		return "1/" + strconv.FormatFloat(q/w, 'f', 1, 64)
	}
	return strconv.FormatFloat(w/q, 'f', 2, 64)
}

func pairOf(w, q float64, hasW, hasQ bool) string {
	if (!hasW || w == 0) && (!hasQ || q == 0) {
		return absent
	}
	return number(w, hasW) + " / " + number(q, hasQ)
}

// String writes a goal as its column has it.
func (g goal) String() string {
	switch {
	case g.limit > 0:
		return "≤ " + strconv.FormatFloat(g.limit, 'g', -1, 64)
	case g.share == 1:
		return "≤ 1"
	case g.share > 0:
		return "1/" + strconv.FormatFloat(g.share, 'g', -1, 64)
	}
	return absent
}

// met says "yes" or "no", or that it cannot be told.
func (g goal) met(w, q float64, hasW, hasQ bool) string {
	var ok bool
	switch {
	case g == goal{} || !hasW || g.share > 0 && !hasQ:
		return absent
	case g.limit > 0:
		ok = w <= g.limit
	default:
		ok = w*g.share <= q
	}
	if ok {
		return "yes"
	}
	return "no"
}

// The lines between which the document holds the table.
const (
	tableBegin = "<!-- table of make bench: begin -->\n"
	tableEnd   = "<!-- table of make bench: end -->\n"
)

// writeDoc puts the table into docs/performance.md.
func writeDoc(text string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	path := filepath.Join(root, "docs", "performance.md")
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out, err := replaceTable(string(doc), text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(out), 0o644)
}

// replaceTable puts text in place of what doc has between the two marks.
func replaceTable(doc, text string) (string, error) {
	before, rest, ok1 := strings.Cut(doc, tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("the marks around the table are missing")
	}
	return before + tableBegin + "\n" + strings.TrimSpace(text) + "\n\n" + tableEnd + after, nil
}
