package exchange

import (
	"fmt"
	"strings"

	"github.com/warrenmq/warren/amqp"
)

const alternateArg = "alternate-exchange"

// resource names an exchange as reply texts do.
func resource(exchange, vhost string) string {
	return fmt.Sprintf("exchange '%s' in vhost '%s'", exchange, vhost)
}

// Declare adds an exchange. An unknown type is COMMAND_INVALID, arguments that its type refuses are PRECONDITION_FAILED.
// If the name is taken, Declare checks nothing and returns t: whether the old exchange will do is Equivalent's to say,
// and whether the name may be had is the caller's.
func (t *Table) Declare(s Spec) (*Table, error) {
	if _, taken := t.Exchange(s.Name); taken {
		return t, nil
	}
	if err := CheckType(s.Type); err != nil {
		return nil, err
	}
	k := kinds[s.Type]
	alternate, err := t.stringArg(&s, alternateArg)
	if err == nil && k.check != nil {
		err = k.check(t, &s)
	}
	if err != nil {
		return nil, err
	}
	n := *t
	x := &Exchange{Spec: s, kind: k, alternate: alternate, vhost: t.vhost, matcher: k.empty(&s)}
	x.id, n.ids = n.ids.take()
	n.exchanges = n.exchanges.set(s.Name, x)
	return &n, nil
}

// stringArg returns the argument called name, "" if there is none.
func (t *Table) stringArg(s *Spec, name string) (string, error) {
	v, ok := s.Args.Lookup(name)
	if !ok {
		return "", nil
	}
	str, ok := v.(string)
	if !ok {
		return "", amqp.Errorf(amqp.PreconditionFailed, "invalid type '%s' for arg '%s' in %s", amqp.TypeName(v), name, resource(s.Name, t.vhost))
	}
	return str, nil
}

// Equivalent returns PRECONDITION_FAILED if a declaration of x as s does not agree with what x is, and COMMAND_INVALID if
// it names no type. Of the arguments only the alternate exchange counts.
func (x *Exchange) Equivalent(s Spec) error {
	if err := CheckType(s.Type); err != nil {
		return err
	}
	for _, f := range []struct{ name, received, current string }{
		{"type", erlangAtom(s.Type), erlangAtom(x.Type)},
		{"durable", fmt.Sprint(s.Durable), fmt.Sprint(x.Durable)},
		{"auto_delete", fmt.Sprint(s.AutoDelete), fmt.Sprint(x.AutoDelete)},
		{"internal", fmt.Sprint(s.Internal), fmt.Sprint(x.Internal)},
	} {
		if f.received != f.current {
			return x.inequivalent(f.name, quoted(f.received), quoted(f.current))
		}
	}
	received, isReceived := s.Args.Lookup(alternateArg)
	current, isCurrent := x.Args.Lookup(alternateArg)
	if isReceived && isCurrent { // current is a string: Declare has seen to that
		if received == current {
			return nil
		}
		return x.inequivalent(alternateArg, quoted(erlangText(received)), quoted(erlangText(current)))
	}
	if isReceived || isCurrent {
		return x.inequivalent(alternateArg, typed(received, isReceived), typed(current, isCurrent))
	}
	return nil
}

func (x *Exchange) inequivalent(arg, received, current string) error {
	return amqp.Errorf(amqp.PreconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s",
		arg, resource(x.Name, x.vhost), received, current)
}

func quoted(s string) string { return "'" + s + "'" }

func typed(v any, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprintf("the value '%s' of type '%s'", erlangText(v), amqp.TypeName(v))
}

// erlangAtom writes an atom as Erlang's ~p does, in quotes if it is not a plain word: a quirk of RabbitMQ's texts.
func erlangAtom(s string) string {
	plain := s != "" && s[0] >= 'a' && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@") == ""
	if plain {
		return s
	}
	return "'" + s + "'"
}
