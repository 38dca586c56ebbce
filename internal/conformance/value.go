package conformance

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/warrenmq/warren/amqp"
)

// Values are written the same way in commands and in answers:
//
//	5          a signed 32 bit integer (I)       true false   a boolean (t)
//	text       a string (S)                      "a b"        a string, with Go's escapes
//	l:5        a number of another letter        x:00ff       bytes, in hex
//	D:2:314    a decimal: scale, value           null         no value (V)
//	{a=1 b=x}  a table (F), in wire order        [1 x {}]     an array (A)
//	rep(x,300) a string of 300 times x

// parseTable reads a table literal.
func parseTable(s string) (amqp.Table, error) {
	v, err := parseValue(s)
	if err != nil {
		return nil, err
	}
	t, ok := v.(amqp.Table)
	if !ok {
		return nil, fmt.Errorf("%s is no table", s)
	}
	return t, nil
}

// parseValue reads one value literal.
func parseValue(s string) (any, error) {
	switch {
	case s == "":
		return "", nil
	case s == "null":
		return nil, nil
	case s == "true" || s == "false":
		return s == "true", nil
	case s[0] == '{' && s[len(s)-1] == '}':
		words, err := splitWords(s[1 : len(s)-1])
		if err != nil {
			return nil, err
		}
		t := amqp.Table{}
		for _, w := range words {
			name, value, err := splitField(w)
			if err != nil {
				return nil, err
			}
			v, err := parseValue(value)
			if err != nil {
				return nil, err
			}
			t = append(t, amqp.Field{Name: name, Value: v})
		}
		return t, nil
	case s[0] == '[' && s[len(s)-1] == ']':
		words, err := splitWords(s[1 : len(s)-1])
		if err != nil {
			return nil, err
		}
		a := amqp.Array{}
		for _, w := range words {
			v, err := parseValue(w)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		return a, nil
	case len(s) > 2 && s[1] == ':' && strings.IndexByte("bBsuIildfDTx", s[0]) >= 0:
		return parseLettered(s[0], s[2:])
	}
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return int32(n), nil
	}
	return unquote(s), nil
}

// parseLettered reads the text of a number or of bytes whose type letter is kind.
func parseLettered(kind byte, s string) (v any, err error) {
	integer := func(bits int) int64 {
		n, e := strconv.ParseInt(s, 10, bits)
		err = e
		return n
	}
	natural := func(bits int) uint64 {
		n, e := strconv.ParseUint(s, 10, bits)
		err = e
		return n
	}
	switch kind {
	case 'b':
		v = int8(integer(8))
	case 'B':
		v = uint8(natural(8))
	case 's':
		v = int16(integer(16))
	case 'u':
		v = uint16(natural(16))
	case 'I':
		v = int32(integer(32))
	case 'i':
		v = uint32(natural(32))
	case 'l':
		v = integer(64)
	case 'T':
		v = amqp.Timestamp(natural(64))
	case 'f':
		f, e := strconv.ParseFloat(s, 32)
		v, err = float32(f), e
	case 'd':
		v, err = strconv.ParseFloat(s, 64)
	case 'x':
		v, err = hex.DecodeString(s)
	case 'D':
		scale, value, ok := strings.Cut(s, ":")
		n, e1 := strconv.ParseUint(scale, 10, 8)
		i, e2 := strconv.ParseInt(value, 10, 32)
		if !ok || e1 != nil || e2 != nil {
			return nil, fmt.Errorf("no decimal: %q", s)
		}
		v = amqp.Decimal{Scale: uint8(n), Value: int32(i)}
	}
	return v, err
}

// splitField cuts name=value; the name may be quoted. A name alone has the value "true".
func splitField(s string) (name, value string, err error) {
	if strings.HasPrefix(s, `"`) {
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			return "", "", fmt.Errorf("a string without end: %s", s)
		}
		rest, ok := strings.CutPrefix(s[len(quoted):], "=")
		if !ok {
			return "", "", fmt.Errorf("%s has no value", s)
		}
		return unquote(quoted), rest, nil
	}
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		value = "true"
	}
	return name, value, nil
}

// unquote returns what a string literal stands for; what is not quoted stands for itself.
func unquote(s string) string {
	if strings.HasPrefix(s, `"`) {
		if u, err := strconv.Unquote(s); err == nil {
			return u
		}
	}
	if strings.HasPrefix(s, "rep(") && strings.HasSuffix(s, ")") {
		if what, times, ok := strings.Cut(s[len("rep("):len(s)-1], ","); ok {
			if n, err := strconv.Atoi(times); err == nil && n >= 0 && n*len(what) <= 64<<20 {
				return strings.Repeat(what, n)
			}
		}
	}
	return s
}

// quote writes a string so that unquote gives it back: bare if that is possible.
func quote(s string) string {
	if n := len(s); n >= 40 && strings.Count(s, s[:1]) == n && isPlain(s[:1]) {
		return fmt.Sprintf("rep(%s,%d)", s[:1], n)
	}
	if s == "" || !isPlain(s) || unquote(s) != s {
		return strconv.Quote(s)
	}
	return s
}

// isPlain reports whether s is one word without characters that mean something in a script.
func isPlain(s string) bool {
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd || strings.ContainsRune(`"{}[]`, r) {
			return false
		}
	}
	return true
}

// formatValue writes a table's value as parseValue reads it.
func formatValue(v any) string {
	switch n := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(n)
	case int32:
		return strconv.Itoa(int(n))
	case int8:
		return fmt.Sprintf("b:%d", n)
	case uint8:
		return fmt.Sprintf("B:%d", n)
	case int16:
		return fmt.Sprintf("s:%d", n)
	case uint16:
		return fmt.Sprintf("u:%d", n)
	case uint32:
		return fmt.Sprintf("i:%d", n)
	case int64:
		return fmt.Sprintf("l:%d", n)
	case amqp.Timestamp:
		return fmt.Sprintf("T:%d", uint64(n))
	case float32:
		return "f:" + strconv.FormatFloat(float64(n), 'g', -1, 32)
	case float64:
		return "d:" + strconv.FormatFloat(n, 'g', -1, 64)
	case amqp.Decimal:
		return fmt.Sprintf("D:%d:%d", n.Scale, n.Value)
	case []byte:
		return fmt.Sprintf("x:%x", n)
	case amqp.Table:
		return formatTable(n)
	case amqp.Array:
		var words []string
		for _, e := range n {
			words = append(words, formatValue(e))
		}
		return "[" + strings.Join(words, " ") + "]"
	case string:
		// A string that would be read as another type is quoted.
		if back, err := parseValue(n); err != nil || back != any(n) {
			return strconv.Quote(n)
		}
		return quote(n)
	}
	return fmt.Sprintf("?%T", v)
}

func formatTable(t amqp.Table) string {
	var words []string
	for _, f := range t {
		name := f.Name
		if !isPlain(name) || name == "" || strings.Contains(name, "=") {
			name = strconv.Quote(name)
		}
		words = append(words, name+"="+formatValue(f.Value))
	}
	return "{" + strings.Join(words, " ") + "}"
}
