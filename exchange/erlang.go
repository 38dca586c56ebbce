package exchange

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/warrenmq/warren/amqp"
)

// RabbitMQ's reply texts print values as Erlang terms. These functions do so too, for the texts of this package.

// erlangText prints a field's value as an Erlang program prints text: a string as it is, all else as a term.
func erlangText(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return erlangTerm(v)
}

// erlangTerm prints a field's value as Erlang's ~p does, but on one line.
func erlangTerm(v any) string {
	switch n := v.(type) {
	case nil:
		return "undefined"
	case string:
		return erlangBinary(n)
	case []byte:
		return erlangBinary(string(n))
	case float32:
		return erlangFloat(float64(n))
	case float64:
		return erlangFloat(n)
	case amqp.Decimal:
		return fmt.Sprintf("{%d,%d}", n.Scale, uint32(n.Value))
	case amqp.Array:
		items := make([]string, len(n))
		for i, e := range n {
			items[i] = fmt.Sprintf("{%s,%s}", amqp.TypeName(e), erlangTerm(e))
		}
		return "[" + strings.Join(items, ",") + "]"
	case amqp.Table:
		items := make([]string, len(n))
		for i, f := range n {
			items[i] = fmt.Sprintf("{%s,%s,%s}", erlangBinary(f.Name), amqp.TypeName(f.Value), erlangTerm(f.Value))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return fmt.Sprint(v) // integers, booleans, timestamps
}

// erlangBinary prints printable text in quotes, and the bytes of any other.
func erlangBinary(s string) string {
	if s == "" {
		return "<<>>"
	}
	printable := utf8.ValidString(s) && strings.IndexFunc(s, func(c rune) bool {
		return c < ' ' && !strings.ContainsRune("\n\r\t\v\b\f\x1b", c) || c >= 0x7f && c < 0xa0
	}) < 0
	if printable {
		return `<<"` + erlangEscapes.Replace(s) + `">>`
	}
	numbers := make([]string, len(s))
	for i := range len(s) {
		numbers[i] = strconv.Itoa(int(s[i]))
	}
	return "<<" + strings.Join(numbers, ",") + ">>"
}

var erlangEscapes = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`, "\b", `\b`,
	"\f", `\f`, "\x1b", `\e`)

// erlangFloat prints the fewest digits that read back as f, always with a point: with an exponent if that is shorter, or
// if f is beyond the integers that a float can tell apart.
func erlangFloat(f float64) string {
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	scientific := mantissa + "e" + strconv.Itoa(n)
	if len(scientific) < len(plain) || math.Abs(f) >= 1<<53 {
		return scientific
	}
	return plain
}
