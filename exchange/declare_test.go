package exchange

import (
	"errors"
	"slices"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

func args(nameValue ...any) (t amqp.Table) {
	for i := 0; i < len(nameValue); i += 2 {
		t = append(t, amqp.Field{Name: nameValue[i].(string), Value: nameValue[i+1]})
	}
	return t
}

// text is what a client is told, "" for no error.
func text(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *amqp.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *amqp.Error", err)
	}
	return e.ReplyText()
}

func TestDeclareRefuses(t *testing.T) {
	for _, tt := range []struct {
		typ  string
		args amqp.Table
		want string
	}{
		{"direct", args("anything", int32(1)), ""},
		{"no-such-type", nil, "COMMAND_INVALID - unknown exchange type 'no-such-type'"},
		{"direct", args("alternate-exchange", "no such exchange"), ""},
		{"direct", args("alternate-exchange", int32(5)), "PRECONDITION_FAILED - invalid type 'signedint' for arg 'alternate-exchange' in exchange 'x' in vhost 'v'"},
		{"x-consistent-hash", args("hash-header", "h"), ""},
		{"x-consistent-hash", args("hash-property", "message_id"), ""},
		{"x-consistent-hash", args("hash-property", "app_id"), "PRECONDITION_FAILED - Unsupported property: app_id"},
		{"x-consistent-hash", args("hash-header", "h", "hash-property", "message_id"), "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"},
		{"x-consistent-hash", args("hash-header", true), "PRECONDITION_FAILED - invalid type 'bool' for arg 'hash-header' in exchange 'x' in vhost 'v'"},
		{"x-recent-history", args("x-recent-history-length", int64(1)), ""},
		{"x-recent-history", args("x-recent-history-length", int8(0)), "PRECONDITION_FAILED - Invalid argument 0, 'x-recent-history-length' must be a positive integer"},
		{"x-recent-history", args("x-recent-history-length", "5"), "PRECONDITION_FAILED - Invalid argument <<\"5\">>, 'x-recent-history-length' must be a positive integer"},
	} {
		_, err := NewTable("v").Declare(Spec{Name: "x", Type: tt.typ, Args: tt.args})
		if got := text(t, err); got != tt.want {
			t.Errorf("Declare(%s, %v):\ngot  %s\nwant %s", tt.typ, tt.args, got, tt.want)
		}
	}
}

func TestEquivalent(t *testing.T) {
	const pre = "PRECONDITION_FAILED - inequivalent arg "
	ae := "alternate-exchange"
	for _, tt := range []struct {
		current, received Spec
		want              string
	}{
		{Spec{Type: "direct"}, Spec{Type: "direct", Args: args("x-unknown", int32(5))}, ""},
		{Spec{Type: "direct"}, Spec{Type: "none"}, "COMMAND_INVALID - unknown exchange type 'none'"},
		{Spec{Type: "direct"}, Spec{Type: "fanout", Durable: true}, pre + "'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'"},
		{Spec{Type: "direct"}, Spec{Type: "x-random"}, pre + "'type' for exchange 'x' in vhost '/': received ''x-random'' but current is 'direct'"},
		{Spec{Type: "direct"}, Spec{Type: "direct", Durable: true, Internal: true}, pre + "'durable' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{Spec{Type: "direct", AutoDelete: true}, Spec{Type: "direct", Internal: true}, pre + "'auto_delete' for exchange 'x' in vhost '/': received 'false' but current is 'true'"},
		{Spec{Type: "direct"}, Spec{Type: "direct", Internal: true, Args: args(ae, "a")}, pre + "'internal' for exchange 'x' in vhost '/': received 'true' but current is 'false'"},
		{Spec{Type: "direct", Args: args(ae, "a")}, Spec{Type: "direct", Args: args("b", int32(1), ae, "a")}, ""},
		{Spec{Type: "direct", Args: args(ae, "a")}, Spec{Type: "direct", Args: args(ae, "b")}, pre + "'alternate-exchange' for exchange 'x' in vhost '/': received 'b' but current is 'a'"},
		{Spec{Type: "direct"}, Spec{Type: "direct", Args: args(ae, "a")}, pre + "'alternate-exchange' for exchange 'x' in vhost '/': received the value 'a' of type 'longstr' but current is none"},
		{Spec{Type: "direct", Args: args(ae, "a")}, Spec{Type: "direct"}, pre + "'alternate-exchange' for exchange 'x' in vhost '/': received none but current is the value 'a' of type 'longstr'"},
		{Spec{Type: "direct"}, Spec{Type: "direct", Args: args(ae, amqp.Table{{Name: "k", Value: "v"}})}, pre + "'alternate-exchange' for exchange 'x' in vhost '/': received the value '[{<<\"k\">>,longstr,<<\"v\">>}]' of type 'table' but current is none"},
	} {
		tt.current.Name = "x"
		tab, err := NewTable("/").Declare(tt.current)
		if err != nil {
			t.Fatal(err)
		}
		x, _ := tab.Exchange("x")
		if got := text(t, x.Equivalent(tt.received)); got != tt.want {
			t.Errorf("%+v as %+v:\ngot  %s\nwant %s", tt.current, tt.received, got, tt.want)
		}
	}
}

func TestBindRefuses(t *testing.T) {
	tab := queues(1)
	for name, typ := range map[string]string{"h": "headers", "c": "x-consistent-hash"} {
		tab, _ = tab.Declare(Spec{Name: name, Type: typ})
	}
	for _, tt := range []struct {
		b    Binding
		want string
	}{
		{Binding{Source: "no", Destination: "q0"}, "NOT_FOUND - no exchange 'no' in vhost '/'"},
		{Binding{Source: "h", Destination: "no"}, "NOT_FOUND - no queue 'no' in vhost '/'"},
		{Binding{Source: "no", Destination: "none"}, "NOT_FOUND - no exchange 'no' in vhost '/'"},
		{Binding{Source: "h", Destination: "no", ToExchange: true}, "NOT_FOUND - no exchange 'no' in vhost '/'"},
		{Binding{Source: "", Destination: "q0"}, "ACCESS_REFUSED - operation not permitted on the default exchange"},
		{Binding{Source: "h", ToExchange: true}, "ACCESS_REFUSED - operation not permitted on the default exchange"},
		{Binding{Source: "h", Destination: "q0", Args: args("x-match", "any-with-x")}, ""},
		{Binding{Source: "h", Destination: "q0", Args: args("x-match", "some")}, "PRECONDITION_FAILED - Invalid x-match field value <<\"some\">>; expected all, any, all-with-x, or any-with-x"},
		{Binding{Source: "h", Destination: "q0", Args: args("x-match", "a\x01")}, "PRECONDITION_FAILED - Invalid x-match field value <<97,1>>; expected all, any, all-with-x, or any-with-x"},
		{Binding{Source: "h", Destination: "q0", Args: args("x-match", true)}, "PRECONDITION_FAILED - Invalid x-match field type bool (value true); expected longstr"},
		{Binding{Source: "amq.direct", Destination: "q0", Args: args("x-match", true)}, ""},
		{Binding{Source: "c", Destination: "q0", Key: "10"}, ""},
		{Binding{Source: "c", Destination: "q0", Key: "0"}, "PRECONDITION_FAILED - The binding key must be greater than 0"},
		{Binding{Source: "c", Destination: "q0", Key: "-3"}, "PRECONDITION_FAILED - The binding key must be greater than 0"},
		{Binding{Source: "c", Destination: "q0", Key: "abc"}, "PRECONDITION_FAILED - The binding key must be an integer: <<\"abc\">>"},
		{Binding{Source: "c", Destination: "q0"}, "PRECONDITION_FAILED - The binding key must be an integer: <<>>"},
	} {
		_, _, err := tab.Bind(tt.b)
		if got := text(t, err); got != tt.want {
			t.Errorf("Bind(%+v):\ngot  %s\nwant %s", tt.b, got, tt.want)
		}
	}
}

// The terms as Erlang 25 prints them.
func TestErlangTerm(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want string
	}{
		{nil, "undefined"}, {int8(-5), "-5"}, {amqp.Timestamp(7), "7"}, {true, "true"},
		{1.5, "1.5"}, {1e30, "1.0e30"}, {float32(2), "2.0"}, {1e-5, "1.0e-5"}, {100.0, "100.0"}, {1000.0, "1.0e3"},
		{0.0001, "0.0001"}, {0.00012, "1.2e-4"}, {12345.0, "12345.0"}, {0.0, "0.0"}, {9007199254740992.0, "9.007199254740992e15"},
		{amqp.Decimal{Scale: 2, Value: 5}, "{2,5}"},
		{"", "<<>>"}, {"hé", `<<"hé">>`}, {"a\"b\\c\n", `<<"a\"b\\c\n">>`}, {[]byte{1, 2}, "<<1,2>>"}, {"\xff", "<<255>>"},
		{amqp.Array{"v", true, nil}, `[{longstr,<<"v">>},{bool,true},{void,undefined}]`},
		{args("k", int64(2)), `[{<<"k">>,long,2}]`},
	} {
		if got := erlangTerm(tt.v); got != tt.want {
			t.Errorf("erlangTerm(%#v) = %s, want %s", tt.v, got, tt.want)
		}
	}
}

func TestPredeclared(t *testing.T) {
	tab := NewTable("/")
	var got []string
	for x := range tab.Exchanges() {
		if !x.Durable || x.AutoDelete || x.Internal != (x.Name == "amq.rabbitmq.trace") {
			t.Errorf("predeclared %+v", x.Spec)
		}
		got = append(got, x.Name+" "+x.Type)
	}
	slices.Sort(got)
	want := []string{" direct", "amq.direct direct", "amq.fanout fanout", "amq.headers headers", "amq.match headers", "amq.rabbitmq.trace topic", "amq.topic topic"}
	if !slices.Equal(got, want) {
		t.Errorf("exchanges = %q, want %q", got, want)
	}
}

func TestListings(t *testing.T) {
	tab := queues(2)
	tab = mustBind(t, tab, Binding{Source: "amq.direct", Destination: "q0", Key: "k", Args: args("a", int32(1), "b", "c")})
	again, added, err := tab.Bind(Binding{Source: "amq.direct", Destination: "q0", Key: "k", Args: args("b", "c", "a", int32(1))})
	if added || err != nil || again != tab {
		t.Errorf("a binding with its arguments in another order was added: %v, %v", added, err)
	}
	tab = mustBind(t, tab, Binding{Source: "amq.direct", Destination: "amq.fanout", ToExchange: true})
	count := func(seq func(func(Binding) bool)) int { return len(slices.Collect(seq)) }
	for _, tt := range []struct {
		name      string
		got, want int
	}{
		{"all", count(tab.Bindings()), 2},
		{"from amq.direct", count(tab.BindingsFrom("amq.direct")), 2},
		{"from the default exchange", count(tab.BindingsFrom("")), 2},
		{"from a missing exchange", count(tab.BindingsFrom("no")), 0},
		{"to q0", count(tab.BindingsToQueue("q0")), 2},
		{"to q1", count(tab.BindingsToQueue("q1")), 1},
		{"to amq.fanout", count(tab.BindingsToExchange("amq.fanout")), 1},
	} {
		if tt.got != tt.want {
			t.Errorf("bindings %s: %d, want %d", tt.name, tt.got, tt.want)
		}
	}
}
