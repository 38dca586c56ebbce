package config

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxFileBytes limits what Load reads; a settings file beyond it is a mistake.
const maxFileBytes = 1 << 20

// A Warning is about a setting that Load read and did not use.
type Warning struct {
	Where string // file:line, or the environment variable
	Text  string
}

// String returns both, as a log shows them.
func (w Warning) String() string { return w.Where + ": " + w.Text }

// Load returns the defaults, overlaid by file (none if ""), overlaid by the environment in env, whose entries are
// "NAME=value" as os.Environ returns them.
//
// A variable is the key in capitals behind WARREN_, with two underscores for each dot: WARREN_LOG__CONSOLE__LEVEL. The
// word "warren." at the beginning of Warren's own keys is left out: WARREN_DATA_DIR.
//
// The error, if any, holds every fault of both, one a line, each with its place.
func Load(file string, env []string) (*Config, []Warning, error) {
	l := loader{c: Default(), table: all(), cleared: map[string]bool{}}
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, fmt.Errorf("open the settings: %w", err)
		}
		defer f.Close()
		l.readFile(file, f)
	}
	l.readEnv(env)
	l.check()
	if err := errors.Join(l.faults...); err != nil {
		return nil, l.warnings, err
	}
	return l.c, l.warnings, nil
}

// A loader is one Load under way.
type loader struct {
	c        *Config
	table    []Setting
	cleared  map[string]bool // lists of which the default is gone
	warnings []Warning
	faults   []error
}

func (l *loader) readFile(name string, f io.Reader) {
	lines := bufio.NewScanner(io.LimitReader(f, maxFileBytes+1))
	lines.Buffer(nil, maxFileBytes)
	n, size := 0, 0
	for lines.Scan() {
		n++
		size += len(lines.Bytes()) + 1
		where := fmt.Sprintf("%s:%d", name, n)
		key, value, err := splitLine(lines.Text())
		if err != nil {
			l.fault(where, err)
		} else if key != "" {
			l.set(where, key, value)
		}
	}
	if err := lines.Err(); err != nil {
		l.fault(name, err)
	}
	if size > maxFileBytes+1 {
		l.fault(name, fmt.Errorf("longer than %d bytes", maxFileBytes))
	}
}

// splitLine takes a line of the file apart; an empty key is an empty line or a comment. As in RabbitMQ a # begins a
// comment anywhere, so that a value that holds one has to stand in single quotes.
func splitLine(line string) (key, value string, err error) {
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	if line == "" || line[0] == '#' {
		return "", "", nil
	}
	key, value, found := strings.Cut(line, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !found || key == "" || strings.ContainsAny(key, " \t#'\"") {
		return "", "", errors.New("expected `key = value`")
	}
	if quoted, ok := strings.CutPrefix(value, "'"); ok {
		inside, rest, closed := strings.Cut(quoted, "'")
		rest = strings.TrimSpace(rest)
		if closed && (rest == "" || rest[0] == '#') {
			return key, inside, nil
		}
	}
	value, _, _ = strings.Cut(value, "#")
	if value = strings.TrimSpace(value); value == "" {
		return "", "", fmt.Errorf("%s has no value", key)
	}
	return key, value, nil
}

func (l *loader) readEnv(env []string) {
	const prefix = "WARREN_"
	env = slices.Sorted(slices.Values(env)) // so that a run's warnings are the next run's, too
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		key, ok := strings.CutPrefix(name, prefix)
		if !ok || name == FileVariable {
			continue
		}
		key = strings.ReplaceAll(strings.ToLower(key), "__", ".")
		if s, _ := l.find("warren." + key); s != nil {
			key = "warren." + key
		}
		l.set(name, key, value)
	}
}

// FileVariable is the environment variable that names the settings file when the command line does not. Load leaves it
// to its caller.
const FileVariable = "WARREN_CONFIG_FILE"

// find returns the setting that key belongs to, preferring one without a free word, or nil.
func (l *loader) find(key string) (s *Setting, part string) {
	for i := range l.table {
		p, ok := l.table[i].match(key)
		if ok && (s == nil || s.List()) {
			s, part = &l.table[i], p
		}
	}
	return s, part
}

func (l *loader) set(where, key, value string) {
	s, part := l.find(key)
	if s == nil {
		l.warn(where, fmt.Sprintf("unknown setting %s is ignored%s", key, l.nearest(key)))
		return
	}
	if s.Clear != nil && !l.cleared[s.Key] {
		l.cleared[s.Key] = true
		s.Clear(l.c)
	}
	err := s.Set(l.c, part, value)
	var none noEffect
	switch {
	case errors.As(err, &none):
		l.warn(where, key+" "+none.Error())
	case err != nil:
		l.fault(where, fmt.Errorf("%s: %w", key, err))
	}
}

// check finds settings that fit alone and not together.
func (l *loader) check() {
	if len(l.c.TLSListeners) > 0 && (l.c.TLS.CertFile == "" || l.c.TLS.KeyFile == "") {
		l.fault("listeners.ssl."+l.c.TLSListeners[0].Name, errors.New("needs ssl_options.certfile and ssl_options.keyfile"))
	}
	if l.c.TLS.VerifyPeer && l.c.TLS.CAFile == "" {
		l.fault("ssl_options.verify", errors.New("verify_peer needs ssl_options.cacertfile"))
	}
	if l.c.TLS.RequirePeerCert && !l.c.TLS.VerifyPeer {
		l.warn("ssl_options.fail_if_no_peer_cert", "has no effect without ssl_options.verify = verify_peer")
	}
}

func (l *loader) warn(where, text string) { l.warnings = append(l.warnings, Warning{where, text}) }

func (l *loader) fault(where string, err error) {
	l.faults = append(l.faults, fmt.Errorf("%s: %w", where, err))
}

// nearest proposes the known key that key was probably meant to be, or nothing if none is close.
func (l *loader) nearest(key string) string {
	best, least := "", 1+len(key)/8
	for i := range l.table {
		stem, _, list := strings.Cut(l.table[i].Key, "$")
		known := stem
		if list { // compare up to the free word
			at := strings.LastIndexByte(key, '.')
			known = stem + key[at+1:]
		}
		if d := distance(key, known); d <= least && (best == "" || d < least) {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of bytes to insert, delete or replace to make a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
