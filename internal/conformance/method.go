package conformance

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/warrenmq/warren/amqp"
)

// methodIDs has every method by its name in the specification. The codec names numbers, so we ask it about all of them.
var methodIDs = func() map[string]amqp.MethodID {
	ids := map[string]amqp.MethodID{}
	for class := amqp.MethodID(10); class <= 90; class++ {
		for method := amqp.MethodID(10); method <= 140; method++ {
			id := class<<16 | method
			if name := id.String(); !strings.HasPrefix(name, "method ") {
				ids[name] = id
			}
		}
	}
	return ids
}()

// newMethod returns an empty method. The codec makes methods only out of payloads; a payload of nothing but zeros is an
// empty method if it has the right length.
func newMethod(name string) (amqp.Method, error) {
	id, ok := methodIDs[name]
	if !ok {
		return nil, fmt.Errorf("no verb and no method: %q", name)
	}
	payload := binary.BigEndian.AppendUint32(nil, uint32(id))
	for range 64 {
		if m, err := amqp.ParseMethod(payload); err == nil {
			return m, nil
		}
		payload = append(payload, 0)
	}
	return nil, fmt.Errorf("%s does not parse", name)
}

// fieldName is a Go field's name as the specification writes it: RoutingKey is routing-key, UserID is user-id.
func fieldName(s string) string {
	var out strings.Builder
	for i, r := range s {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(rune(s[i-1])) {
			out.WriteByte('-')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// setFields fills the struct that p points to from arguments of the form name=value, and returns the names it set.
func setFields(p any, args []string) ([]string, error) {
	v := reflect.ValueOf(p).Elem()
	var set []string
next:
	for _, arg := range args {
		name, value, err := splitField(arg)
		if err != nil {
			return nil, err
		}
		for i := range v.NumField() {
			if fieldName(v.Type().Field(i).Name) == name {
				if err := setField(v.Field(i), value); err != nil {
					return nil, fmt.Errorf("%s: %w", arg, err)
				}
				set = append(set, name)
				continue next
			}
		}
		return nil, fmt.Errorf("%s has no field %q", v.Type().Name(), name)
	}
	return set, nil
}

func setField(f reflect.Value, value string) error {
	switch f.Kind() {
	case reflect.String:
		f.SetString(unquote(value))
	case reflect.Bool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return err
		}
		f.SetBool(b)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(value, 10, f.Type().Bits())
		if err != nil {
			return err
		}
		f.SetUint(n)
	default:
		if f.Type() != reflect.TypeFor[amqp.Table]() {
			return fmt.Errorf("a field of type %s cannot be set", f.Type())
		}
		t, err := parseTable(value)
		if err != nil {
			return err
		}
		f.Set(reflect.ValueOf(t))
	}
	return nil
}

// formatFields writes a method's fields: numbers always, the others if they are not empty.
func formatFields(m amqp.Method) string {
	var out strings.Builder
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		name, f := fieldName(v.Type().Field(i).Name), v.Field(i)
		if f.Kind() == reflect.Bool {
			if f.Bool() {
				out.WriteString(" " + name)
			}
			continue
		}
		if s := formatField(f); s != "" {
			out.WriteString(" " + name + "=" + s)
		}
	}
	return out.String()
}

// formatField writes one field that is no bit, or "" if it is empty.
func formatField(f reflect.Value) string {
	switch {
	case f.Kind() == reflect.String && f.Len() > 0:
		return quote(f.String())
	case f.CanUint():
		return strconv.FormatUint(f.Uint(), 10)
	case f.Type() == reflect.TypeFor[amqp.Table]() && f.Len() > 0:
		return formatTable(f.Interface().(amqp.Table))
	}
	return ""
}

// lookupField returns a field of a method or of properties, as it would be written in a command.
func lookupField(p any, name string) (string, bool) {
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if fieldName(v.Type().Field(i).Name) == name {
			return formatField(v.Field(i)), true
		}
	}
	return "", false
}

// propertyFlag returns the flag of a property's field in amqp.Properties, which lists them in the order of their flags.
func propertyFlag(name string) uint16 {
	t := reflect.TypeFor[amqp.Properties]()
	for i := 1; i < t.NumField(); i++ {
		if fieldName(t.Field(i).Name) == name {
			return 1 << (16 - i)
		}
	}
	return 0
}

// parseProperties reads {content-type=text/plain headers={a=1}}: what is named is present, even if it is empty.
func parseProperties(s string) (amqp.Properties, error) {
	var p amqp.Properties
	if !strings.HasPrefix(s, "{") || !strings.HasSuffix(s, "}") {
		return p, fmt.Errorf("properties stand in braces: %s", s)
	}
	words, err := splitWords(s[1 : len(s)-1])
	if err != nil {
		return p, err
	}
	set, err := setFields(&p, words)
	for _, name := range set {
		p.Flags |= propertyFlag(name)
	}
	return p, err
}

// formatProperties writes the properties that are present; an empty one has nothing behind its "=".
func formatProperties(p *amqp.Properties) string {
	var words []string
	v := reflect.ValueOf(p).Elem()
	for i := 1; i < v.NumField(); i++ {
		name := fieldName(v.Type().Field(i).Name)
		if p.Flags&propertyFlag(name) == 0 {
			continue
		}
		text := formatField(v.Field(i))
		if name == "headers" && text == "" {
			text = "{}"
		}
		words = append(words, name+"="+text)
	}
	return "{" + strings.Join(words, " ") + "}"
}

// answers reports whether b is the answer to a: an ok has the number behind its method's, with two exceptions.
func answers(b, a amqp.MethodID) bool {
	switch a {
	case amqp.IDExchangeUnbind:
		return b == amqp.IDExchangeUnbindOk
	case amqp.IDBasicGet:
		return b == amqp.IDBasicGetOk || b == amqp.IDBasicGetEmpty
	}
	return b == a+1
}

// hasAnswer reports whether the broker answers m if all is well.
func hasAnswer(m amqp.Method) bool {
	if f := reflect.ValueOf(m).Elem().FieldByName("NoWait"); f.IsValid() && f.Bool() {
		return false
	}
	switch m.ID() {
	case amqp.IDExchangeUnbind, amqp.IDBasicGet:
		return true
	}
	return !strings.HasPrefix((m.ID() + 1).String(), "method ")
}
