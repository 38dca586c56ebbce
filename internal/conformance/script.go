// Package conformance runs one set of scripts against Warren and against RabbitMQ and compares what they answer.
//
// A script (testdata/conformance/*.txt) is a list of scenarios. A scenario begins with "== " and a sentence that states
// the rule it shows; it starts on fresh connections and everything it declares is deleted after it. Inside are blocks:
// commands, "----", and what the broker sent while they ran. Answers are grouped by channel, because the order between
// channels means nothing in AMQP; within a channel they stand in the order of arrival.
//
//	== A requeued message returns to its place.
//	do a.1 queue.declare queue=q
//	a.1 publish key=q body=m1
//	a.1 basic.get queue=q
//	----
//	a.1 <- basic.get-ok delivery-tag=1 routing-key=q message-count=0 body=m1
//
// The golden answers come from RabbitMQ 3.10.8. Where Warren answers otherwise, differences.txt in the same folder says
// so and why; a difference that is not listed there fails the test, and so does a listed one that is gone.
//
// Only this package's tests use it. Commands are described above type Command; what is volatile in an answer (generated
// names, times, versions) is made constant in normalise.go and nowhere else.
package conformance

import (
	"bufio"
	"fmt"
	"strings"
)

// A Script is one file of scenarios.
type Script struct {
	Name      string   // the file's base name
	Head      []string // the lines in front of the first scenario
	Scenarios []*Scenario
}

// A Scenario is a rule and the blocks that show it.
type Scenario struct {
	Title  string
	Line   int
	Blocks []*Block
}

// A Block is some commands and what they make the broker send.
type Block struct {
	Line     int      // of the first command
	Source   []string // the commands as written, comments between them included
	Commands []*Command
	Want     []string // the golden answer, a line for each thing the broker sent
}

const (
	titleMark = "== "
	rule      = "----"
)

// Parse reads a script. Errors name the line.
func Parse(name, text string) (*Script, error) {
	s := &Script{Name: name}
	var sc *Scenario
	var b *Block
	answering := false
	// end closes the block at hand.
	end := func(line int) error {
		if b == nil {
			return nil
		}
		if len(b.Commands) > 0 && !answering {
			return fmt.Errorf("%s:%d: a block without %s", name, line, rule)
		}
		if len(b.Commands) > 0 {
			sc.Blocks = append(sc.Blocks, b)
		} else if len(b.Source) > 0 && len(sc.Blocks) > 0 {
			return fmt.Errorf("%s:%d: a block of comments only", name, line)
		} else if len(b.Source) > 0 {
			return fmt.Errorf("%s:%d: comments belong in front of a command", name, line)
		}
		b, answering = nil, false
		return nil
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	n := 0
	for lines.Scan() {
		n++
		line := strings.TrimRight(lines.Text(), " \t")
		switch {
		case strings.HasPrefix(line, titleMark):
			if err := end(n); err != nil {
				return nil, err
			}
			sc = &Scenario{Title: strings.TrimPrefix(line, titleMark), Line: n}
			for _, other := range s.Scenarios {
				if other.Title == sc.Title {
					return nil, fmt.Errorf("%s:%d: this title is taken by line %d", name, n, other.Line)
				}
			}
			s.Scenarios = append(s.Scenarios, sc)
		case sc == nil:
			if line != "" && !strings.HasPrefix(line, "#") {
				return nil, fmt.Errorf("%s:%d: a command in front of the first %q", name, n, titleMark)
			}
			s.Head = append(s.Head, line)
		case line == "":
			if err := end(n); err != nil {
				return nil, err
			}
		case line == rule:
			if b == nil || len(b.Commands) == 0 || answering {
				return nil, fmt.Errorf("%s:%d: %s without a command in front", name, n, rule)
			}
			answering = true
		case answering:
			b.Want = append(b.Want, line)
		default:
			if b == nil {
				b = &Block{Line: n}
			}
			b.Source = append(b.Source, line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			c, err := parseCommand(line)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", name, n, err)
			}
			b.Commands = append(b.Commands, c)
		}
	}
	if err := end(n); err != nil {
		return nil, err
	}
	return s, lines.Err()
}

// Format writes the script as Parse reads it. Parse and Format give back the same text but for surplus blank lines.
func (s *Script) Format() string {
	var out strings.Builder
	put := func(lines []string) {
		for _, l := range lines {
			out.WriteString(l)
			out.WriteByte('\n')
		}
	}
	head := s.Head
	for len(head) > 0 && head[len(head)-1] == "" {
		head = head[:len(head)-1]
	}
	put(head)
	for _, sc := range s.Scenarios {
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		put([]string{titleMark + sc.Title})
		for i, b := range sc.Blocks {
			if i > 0 {
				out.WriteByte('\n')
			}
			put(b.Source)
			put([]string{rule})
			put(b.Want)
		}
	}
	return out.String()
}

// Steps counts the commands whose answer is checked: all but those that only prepare ("do") or wait.
func (s *Script) Steps() int {
	n := 0
	for _, sc := range s.Scenarios {
		for _, b := range sc.Blocks {
			for _, c := range b.Commands {
				if !c.Do && !c.waits() {
					n++
				}
			}
		}
	}
	return n
}
