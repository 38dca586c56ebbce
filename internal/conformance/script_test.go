package conformance

import (
	"reflect"
	"strings"
	"testing"

	"github.com/warrenmq/warren/amqp"
)

func TestParseScript(t *testing.T) {
	const text = `# What this file is about.

== The first rule.
do a.1 queue.declare queue=q
# why
a.1 publish key=q body="a b"
----

a.1 basic.get queue=q
----
a.1 <- basic.get-empty

== The second rule.
settle 10ms
a drop
----
`
	s, err := Parse("x.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Format(); got != text {
		t.Errorf("Format gives\n%s\nwant\n%s", got, text)
	}
	if len(s.Scenarios) != 2 || len(s.Scenarios[0].Blocks) != 2 || s.Scenarios[1].Title != "The second rule." {
		t.Fatalf("parsed %+v", s)
	}
	b := s.Scenarios[0].Blocks[0]
	if b.Line != 4 || len(b.Commands) != 2 || !b.Commands[0].Do || b.Commands[1].Channel != 1 || b.Want != nil {
		t.Errorf("block %+v", b)
	}
	if want := []string{"a.1 <- basic.get-empty"}; !reflect.DeepEqual(s.Scenarios[0].Blocks[1].Want, want) {
		t.Errorf("answer %q, want %q", s.Scenarios[0].Blocks[1].Want, want)
	}
	if got := s.Steps(); got != 3 { // publish, get, drop
		t.Errorf("Steps() = %d, want 3", got)
	}
}

func TestParseScriptErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a command in front of the first scenario", "a drop\n", "x.txt:1"},
		{"a block without an answer", "== T\na drop\n\na drop\n----\n", "without ----"},
		{"an answer without commands", "== T\n----\n", "without a command"},
		{"two answers", "== T\na drop\n----\n----\n", "without a command"},
		{"a title twice", "== T\na drop\n----\n\n== T\n", "taken by line 1"},
		{"comments alone", "== T\n# hm\n\na drop\n----\n", "comments"},
		{"an unknown verb", "== T\na frobnicate\n----\n", `"frobnicate"`},
	} {
		_, err := Parse("x.txt", tt.text)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestParseCommand(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Command
	}{
		{"a drop", Command{Conn: "a", Verb: "drop"}},
		{"b.12 queue.declare queue=q durable", Command{Conn: "b", Channel: 12, Verb: "queue.declare", Args: []string{"queue=q", "durable"}}},
		{"do a.1 tx.select", Command{Do: true, Conn: "a", Channel: 1, Verb: "tx.select"}},
		{`a.1 publish body="x } y" props={headers={a=[1 2] b="}"}}`,
			Command{Conn: "a", Channel: 1, Verb: "publish", Args: []string{`body="x } y"`, `props={headers={a=[1 2] b="}"}}`}}},
		{"a.1 send basic.ack delivery-tag=1", Command{Conn: "a", Channel: 1, Verb: "send", Method: "basic.ack", Args: []string{"delivery-tag=1"}}},
		{"a.1 queue.declare exclusive => q:queue",
			Command{Conn: "a", Channel: 1, Verb: "queue.declare", Args: []string{"exclusive"}, Save: "q", Field: "queue"}},
		{"settle", Command{Verb: "settle"}},
		{"sleep 10ms", Command{Verb: "sleep", Args: []string{"10ms"}}},
		{"until 404 a.1 basic.get", Command{Verb: "until", Args: []string{"404", "a.1", "basic.get"}, Until: "404",
			Repeat: &Command{Conn: "a", Channel: 1, Verb: "basic.get", Line: "a.1 basic.get"}}},
	} {
		tt.want.Line = tt.line
		got, err := parseCommand(tt.line)
		if err != nil {
			t.Errorf("parseCommand(%q): %v", tt.line, err)
			continue
		}
		if len(got.Args) == 0 {
			got.Args = nil
		}
		if r := got.Repeat; r != nil && len(r.Args) == 0 {
			r.Args = nil
		}
		if !reflect.DeepEqual(*got, tt.want) {
			t.Errorf("parseCommand(%q)\n got %+v\nwant %+v", tt.line, *got, tt.want)
		}
	}
	for _, line := range []string{"", "do", "a", "a.1", "drop", "a.99999 drop", "ab drop", "a raw", "a send", "a send nothing",
		`a.1 publish body="open`, "a.1 publish props={", "a.1 publish props=}", "until 404", "a.1 queue.declared"} {
		if c, err := parseCommand(line); err == nil {
			t.Errorf("parseCommand(%q) = %+v, want an error", line, c)
		}
	}
}

// Values read back as they are written.
func TestValues(t *testing.T) {
	for _, tt := range []struct {
		text string
		want any
	}{
		{"text", "text"},
		{"-5", int32(-5)},
		{`"5"`, "5"},
		{`""`, ""},
		{`"a b"`, "a b"},
		{`"true"`, "true"},
		{"true", true},
		{"null", nil},
		{"b:-1", int8(-1)},
		{"B:255", uint8(255)},
		{"s:-2", int16(-2)},
		{"u:65535", uint16(65535)},
		{"i:4294967295", uint32(4294967295)},
		{"l:4294967296", int64(4294967296)},
		{"T:1700000000", amqp.Timestamp(1700000000)},
		{"f:0.5", float32(0.5)},
		{"d:1.5", 1.5},
		{"D:2:314", amqp.Decimal{Scale: 2, Value: 314}},
		{"x:00ff", []byte{0, 255}},
		{"{}", amqp.Table{}},
		{"[]", amqp.Array{}},
		{`{a=1 "b c"=[x {d=null}]}`, amqp.Table{{Name: "a", Value: int32(1)},
			{Name: "b c", Value: amqp.Array{"x", amqp.Table{{Name: "d", Value: nil}}}}}},
		{"rep(x,40)", strings.Repeat("x", 40)},
		{"4294967296", "4294967296"}, // too large for I: a string
	} {
		got, err := parseValue(tt.text)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("parseValue(%s) = %#v, %v, want %#v", tt.text, got, err, tt.want)
			continue
		}
		if back := formatValue(got); back != tt.text {
			t.Errorf("formatValue(%#v) = %s, want %s", got, back, tt.text)
		}
	}
	for _, text := range []string{"b:128", "B:-1", "u:x", "d:one", "x:0", "D:1", "D:x:1", "{a=b:300}", "[b:300]", `{"a" b}`} {
		if v, err := parseValue(text); err == nil {
			t.Errorf("parseValue(%s) = %#v, want an error", text, v)
		}
	}
}

func TestMethodFields(t *testing.T) {
	for name := range methodIDs {
		m, err := newMethod(name)
		if err != nil {
			t.Errorf("newMethod(%q): %v", name, err)
			continue
		}
		if m.ID().String() != name {
			t.Errorf("newMethod(%q) is a %s", name, m.ID())
		}
	}
	m := &amqp.QueueDeclare{}
	if _, err := setFields(m, []string{"queue=q", "auto-delete", "durable=false", "arguments={x-max-length=5}"}); err != nil {
		t.Fatal(err)
	}
	if want := " queue=q auto-delete arguments={x-max-length=5}"; formatFields(m) != want {
		t.Errorf("formatFields = %q, want %q", formatFields(m), want)
	}
	for _, bad := range []string{"no-such=1", "durable=perhaps", "arguments=5", "arguments={a=b:300}"} {
		if _, err := setFields(m, []string{bad}); err == nil {
			t.Errorf("setFields(%q) is accepted", bad)
		}
	}
	if _, err := setFields(&amqp.BasicQos{}, []string{"prefetch-count=65536"}); err == nil {
		t.Error("a prefetch count of 65536 is accepted")
	}
}

func TestProperties(t *testing.T) {
	const text = `{content-type=text/plain content-encoding= headers={a=1} delivery-mode=2 priority=0 correlation-id=c ` +
		`reply-to=r expiration=5 message-id=m timestamp=7 type=t user-id=u app-id=a cluster-id=c}`
	p, err := parseProperties(text)
	if err != nil {
		t.Fatal(err)
	}
	back, err := amqp.ParseProperties(amqp.AppendHeader(nil, &p, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got := formatProperties(&back); got != text {
		t.Errorf("over the wire\n%s\ncomes as\n%s", text, got)
	}
	if back.Flags != 0xfffc {
		t.Errorf("flags %#x, want all", back.Flags)
	}
}

func TestNormalise(t *testing.T) {
	vars := map[string]string{"q": "amq.gen-aaaaaaaaaaaaaaaaaaaaaa", "short": "q"}
	for in, want := range map[string]string{
		"queue=amq.gen-aaaaaaaaaaaaaaaaaaaaaa":                           "queue=$q",
		"queue=amq.gen-bbbb-bbbbbbbbb_bbbbbbb x":                         "queue=amq.gen-* x",
		"tag=amq.ctag-cccccccccccccccccccccc":                            "tag=amq.ctag-*",
		"reply-to=amq.rabbitmq.reply-to.g1hkABBjb25mQGxvY2FsaG9zdA==.x1": "reply-to=amq.rabbitmq.reply-to.*",
		"queue=amq.rabbitmq.reply-to.no-such":                            "queue=amq.rabbitmq.reply-to.no-such",
		"time=T:1000000000":                                              "time=T:1000000000",
	} {
		if got := normalise(in, vars); got != want {
			t.Errorf("normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestConfirmTags(t *testing.T) {
	s := &channelState{confirms: map[uint64]bool{}}
	var all []uint64
	all = append(all, s.confirm(2, false)...)
	all = append(all, s.confirm(4, true)...) // 1 3 4: 2 is known
	all = append(all, s.confirm(6, false)...)
	if got := formatTags(all); got != "1..4 6" {
		t.Errorf("confirmed %s, want 1..4 6", got)
	}
}

func TestDifferencesFile(t *testing.T) {
	d := &Difference{Script: "x.txt", Title: "A rule: with #1 in it.", Block: 2, Reason: "We know better.", Answer: []string{"a <- b", "a <- c"}}
	got, err := ParseDifferences(FormatDifferences([]*Difference{d}))
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], d) {
		t.Errorf("read back %+v, %v", got, err)
	}
	for _, bad := range []string{"text\n", "== x.txt The title #1\n", "== x.txt: The title\n", "== x.txt: The title #one\n"} {
		if _, err := ParseDifferences(bad); err == nil {
			t.Errorf("ParseDifferences(%q) is accepted", bad)
		}
	}
}
