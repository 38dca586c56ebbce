package conformance

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A Command is one line of a script: [do] [actor] verb [arguments] [=> name:field].
//
// The actor is a connection (a) or a channel of one (a.1). Both open themselves, silently, when they are first used, and
// a channel again after it was closed. Verbs:
//
//	class.method f=v ...   sends the method and waits for its answer; what has no answer is followed by a round trip
//	publish f=v ...        basic.publish with exchange= key= mandatory immediate props={} body=
//	send class.method ...  sends the method as it is: opens nothing, waits for nothing
//	open f=v ...           a handshake: user password vhost mechanism response locale client-properties capabilities
//	                       channel-max frame-max heartbeat
//	dial                   a TCP connection, and nothing said on it
//	raw BYTES ...          bytes, as hex or as "text"
//	frame f=v ...          a frame: type= payload= (a string), and to damage it size= end=
//	header f=v ...         a content header: class= weight= size= props={}
//	body text              a content body frame
//	manual                 from now on channel.close and connection.close are not answered by the runner
//	drop                   cuts the TCP connection
//	wait text              waits until the actor was sent something whose line contains text
//	settle [duration]      waits until nothing came for so long: for silence that nothing else proves (100ms)
//	sleep duration         lets so much time pass: for leases and deadlines
//	until text command     repeats the command until its answer contains text; only the last answer counts
//
// "do" marks a preparation: the method's plain ok is not printed, and it is no step. "=> name:field" keeps a field of the
// last answer; $name stands for it in later commands, and in answers.
type Command struct {
	Do      bool
	Conn    string
	Channel uint16
	Verb    string
	Method  string // of send
	Args    []string
	Until   string   // text of until
	Repeat  *Command // command of until
	Save    string   // variable's name
	Field   string   // what is kept in it
	Line    string   // as written
}

// verbs are those that are not methods, and how many arguments they take at least.
var verbs = map[string]int{
	"publish": 0, "send": 1, "open": 0, "dial": 0, "raw": 1, "frame": 1, "header": 1, "body": 1, "manual": 0, "drop": 0,
	"wait": 1, "settle": 0, "sleep": 1, "until": 2,
}

// waits reports whether the command only waits.
func (c *Command) waits() bool {
	switch c.Verb {
	case "wait", "settle", "sleep", "manual":
		return true
	}
	return false
}

var (
	actorForm = regexp.MustCompile(`^([a-z])(?:\.(\d+))?$`)
	saveForm  = regexp.MustCompile(`^(.*\S)\s+=> ([a-z0-9]+):([a-z-]+)$`)
)

func parseCommand(line string) (*Command, error) {
	c := &Command{Line: line}
	text := line
	if m := saveForm.FindStringSubmatch(text); m != nil {
		text, c.Save, c.Field = m[1], m[2], m[3]
	}
	words, err := splitWords(text)
	if err != nil {
		return nil, err
	}
	if len(words) > 0 && words[0] == "do" {
		c.Do, words = true, words[1:]
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no command in %q", line)
	}
	if m := actorForm.FindStringSubmatch(words[0]); m != nil {
		c.Conn = m[1]
		if m[2] != "" {
			n, err := strconv.ParseUint(m[2], 10, 16)
			if err != nil {
				return nil, fmt.Errorf("no channel number: %q", m[2])
			}
			c.Channel = uint16(n)
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("no verb in %q", line)
	}
	c.Verb, c.Args = words[0], words[1:]
	least, known := verbs[c.Verb]
	switch {
	case !known:
		if _, err := newMethod(c.Verb); err != nil {
			return nil, err
		}
	case len(c.Args) < least:
		return nil, fmt.Errorf("%s takes %d arguments or more", c.Verb, least)
	}
	switch c.Verb {
	case "settle", "sleep":
		return c, nil
	case "until":
		c.Until = unquote(c.Args[0])
		c.Repeat, err = parseCommand(strings.Join(c.Args[1:], " "))
		return c, err
	case "send":
		c.Method, c.Args = c.Args[0], c.Args[1:]
		if _, err := newMethod(c.Method); err != nil {
			return nil, err
		}
	}
	if c.Conn == "" {
		return nil, fmt.Errorf("%s needs a connection", c.Verb)
	}
	return c, nil
}

// splitWords cuts a line at its blanks; quoted strings, tables in braces and arrays in brackets stay whole.
func splitWords(line string) ([]string, error) {
	var words []string
	depth, start := 0, -1
	for i := 0; i < len(line); i++ {
		if start < 0 && line[i] != ' ' {
			start = i
		}
		switch line[i] {
		case '"':
			quoted, err := strconv.QuotedPrefix(line[i:])
			if err != nil {
				return nil, fmt.Errorf("a string without end in %q", line)
			}
			i += len(quoted) - 1
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ' ':
			if depth == 0 && start >= 0 {
				words, start = append(words, line[start:i]), -1
			}
		}
	}
	if depth != 0 {
		return nil, fmt.Errorf("brackets do not match in %q", line)
	}
	if start >= 0 {
		words = append(words, line[start:])
	}
	return words, nil
}
