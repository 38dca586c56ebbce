package broker

import (
	"fmt"
	"strings"
	"time"

	"github.com/warrenmq/warren/amqp"
	"github.com/warrenmq/warren/internal/store"
	"github.com/warrenmq/warren/queue"
)

// queueArguments are the arguments of queue.declare that have a meaning, in the order in which they are checked; others
// are kept and ignored. check returns what RabbitMQ prints as the reason, an Erlang term, or "".
var queueArguments = []struct {
	name  string
	check func(v any, args amqp.Table) string
	only  string // the type of queue that takes it, if not all do
}{
	{"x-expires", checkExpires, ""},
	{"x-message-ttl", checkTTL, ""},
	{"x-dead-letter-exchange", checkString, ""},
	{"x-dead-letter-routing-key", checkDLKey, ""},
	{"x-dead-letter-strategy", oneOf(`invalid_dlx_strategy`, "at-most-once", "at-least-once"), ""},
	{"x-max-length", checkNonNegative, ""},
	{"x-max-length-bytes", checkNonNegative, ""},
	{"x-max-in-memory-length", checkNonNegative, "quorum"},
	{"x-max-in-memory-bytes", checkNonNegative, "quorum"},
	{"x-max-priority", checkMaxPriority, "classic"},
	{"x-overflow", oneOf("invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx"), ""},
	{"x-queue-mode", oneOf(`"unsupported queue mode '%s'"`, "default", "lazy"), "classic"},
	{"x-queue-version", checkVersion, "classic"},
	{"x-single-active-consumer", checkBool, ""},
	{"x-queue-type", checkType, ""},
	{"x-quorum-initial-group-size", checkGroupSize, "quorum"},
	{"x-delivery-limit", checkLimit, ""},
	{"x-queue-master-locator", oneOf(`"unsupported queue master locator '%s'"`, "min-masters", "client-local", "random"), "classic"},
	{"x-queue-leader-locator", checkString, ""},
	{"x-expire-anywhere", checkBool, ""},
	{"x-flush", oneOf("invalid_flush", "sync", "interval", "none"), ""},
	{"x-max-age", checkString, "stream"},
	{"x-stream-max-segment-size-bytes", checkNonNegative, "stream"},
	{"x-initial-cluster-size", checkGroupSize, "stream"},
}

// configure checks the arguments of a queue to be made and reads them.
func (v *VHost) configure(s QueueSpec) (queue.Config, queue.Settings, error) {
	cfg := queue.Config{VHost: v.Name, Name: s.Name, Durable: s.Durable, AutoDelete: s.AutoDelete, Exclusive: s.Exclusive, Args: s.Args}
	resource := cfg.String()
	kind := "classic"
	if t, ok := s.Args.Lookup("x-queue-type"); ok && t == "quorum" {
		kind, cfg.Quorum = "quorum", true
	}
	if dlx, ok := s.Args.Lookup("x-dead-letter-exchange"); ok {
		if _, ok := dlx.(string); !ok {
			return cfg, queue.Settings{}, amqp.Errorf(amqp.PreconditionFailed, "invalid type '%s' for arg 'x-dead-letter-exchange' in %s",
				amqp.TypeName(dlx), resource)
		}
	}
	for _, a := range queueArguments {
		val, ok := s.Args.Lookup(a.name)
		if !ok {
			continue
		}
		if a.only != "" && a.only != kind {
			return cfg, queue.Settings{}, amqp.Errorf(amqp.PreconditionFailed, "invalid arg '%s' for %s of queue type rabbit_%s_queue",
				a.name, resource, kind)
		}
		if reason := a.check(val, s.Args); reason != "" {
			return cfg, queue.Settings{}, amqp.Errorf(amqp.PreconditionFailed, "invalid arg '%s' for %s: %s", a.name, resource, reason)
		}
	}
	if cfg.Quorum {
		for _, p := range []struct {
			set  bool
			name string
		}{{s.Exclusive, "exclusive-owner"}, {!s.Durable, "non-durable"}, {s.AutoDelete, "auto-delete"}} {
			if p.set {
				return cfg, queue.Settings{}, amqp.Errorf(amqp.PreconditionFailed, "invalid property '%s' for %s", p.name, resource)
			}
		}
	}
	if n, ok := intArg(s.Args, "x-max-priority"); ok {
		cfg.MaxPriority = uint8(n)
	}
	cfg.SingleActive = boolArg(s.Args, "x-single-active-consumer")
	return cfg, settings(s.Args), nil
}

// settings reads those arguments, already checked, that a policy can set too.
func settings(args amqp.Table) queue.Settings {
	set := queue.NoSettings()
	if ms, ok := intArg(args, "x-message-ttl"); ok {
		set.TTL = time.Duration(ms) * time.Millisecond
	}
	if ms, ok := intArg(args, "x-expires"); ok {
		set.Expires = time.Duration(ms) * time.Millisecond
	}
	if n, ok := intArg(args, "x-max-length"); ok {
		set.MaxLength = n
	}
	if n, ok := intArg(args, "x-max-length-bytes"); ok {
		set.MaxBytes = n
	}
	if n, ok := intArg(args, "x-delivery-limit"); ok {
		set.DeliveryLimit = n
	}
	switch v, _ := args.Lookup("x-overflow"); v {
	case "reject-publish":
		set.Overflow = queue.RejectPublish
	case "reject-publish-dlx":
		set.Overflow = queue.RejectPublishDLX
	}
	if v, ok := args.Lookup("x-dead-letter-exchange"); ok {
		set.DLX, set.DeadLetter = v.(string), true
	}
	if v, ok := args.Lookup("x-dead-letter-routing-key"); ok {
		set.DLKey, set.HasDLKey = v.(string), true
	}
	set.ExpireAnywhere = boolArg(args, "x-expire-anywhere")
	switch v, _ := args.Lookup("x-flush"); v {
	case "interval":
		set.Flush = store.FlushInterval
	case "none":
		set.Flush = store.FlushNone
	}
	return set
}

func intArg(args amqp.Table, name string) (int64, bool) {
	v, _ := args.Lookup(name)
	return amqp.Int(v)
}

func boolArg(args amqp.Table, name string) bool {
	v, _ := args.Lookup(name)
	b, _ := v.(bool)
	return b
}

func checkInt(v any) string {
	if _, ok := amqp.Int(v); !ok {
		return fmt.Sprintf(`"expected integer, got %s"`, amqp.TypeName(v))
	}
	return ""
}

func checkNonNegative(v any, _ amqp.Table) string {
	if reason := checkInt(v); reason != "" {
		return reason
	}
	if n, _ := amqp.Int(v); n < 0 {
		return fmt.Sprintf("{value_negative,%d}", n)
	}
	return ""
}

// checkLimit takes a negative delivery limit too: none.
func checkLimit(v any, _ amqp.Table) string { return checkInt(v) }

func checkTTL(v any, args amqp.Table) string {
	if reason := checkNonNegative(v, args); reason != "" {
		return reason
	}
	if n, _ := amqp.Int(v); n > amqp.MaxExpiration {
		return fmt.Sprintf("{value_too_large,%d}", n)
	}
	return ""
}

func checkExpires(v any, args amqp.Table) string {
	if n, ok := amqp.Int(v); ok && n == 0 {
		return "{value_zero,0}"
	}
	return checkTTL(v, args)
}

func checkGroupSize(v any, args amqp.Table) string {
	if n, ok := amqp.Int(v); ok && n == 0 {
		return "{value_zero,0}"
	}
	return checkNonNegative(v, args)
}

func checkMaxPriority(v any, args amqp.Table) string {
	if reason := checkNonNegative(v, args); reason != "" {
		return reason
	}
	if n, _ := amqp.Int(v); n > 255 {
		return fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	return ""
}

func checkBool(v any, _ amqp.Table) string {
	if _, ok := v.(bool); !ok {
		return fmt.Sprintf("{unacceptable_type,%s}", amqp.TypeName(v))
	}
	return ""
}

func checkString(v any, _ amqp.Table) string {
	if _, ok := v.(string); !ok {
		return fmt.Sprintf("{unacceptable_type,%s}", amqp.TypeName(v))
	}
	return ""
}

func checkDLKey(v any, args amqp.Table) string {
	if reason := checkString(v, args); reason != "" {
		return reason
	}
	if _, ok := args.Lookup("x-dead-letter-exchange"); !ok {
		return "routing_key_but_no_dlx_defined"
	}
	return ""
}

func oneOf(otherwise string, values ...string) func(any, amqp.Table) string {
	return func(v any, args amqp.Table) string {
		if reason := checkString(v, args); reason != "" {
			return reason
		}
		for _, ok := range values {
			if v == ok {
				return ""
			}
		}
		return strings.Replace(otherwise, "%s", v.(string), 1)
	}
}

func checkVersion(v any, args amqp.Table) string {
	if reason := checkNonNegative(v, args); reason != "" {
		return reason
	}
	if n, _ := amqp.Int(v); n != 1 && n != 2 {
		return fmt.Sprintf(`"unsupported queue version '%d'"`, n)
	}
	return ""
}

func checkType(v any, args amqp.Table) string {
	if reason := checkString(v, args); reason != "" {
		return reason
	}
	if v != "classic" && v != "quorum" {
		return fmt.Sprintf(`"unsupported queue type '%s'"`, v)
	}
	return ""
}

// sameField refuses a redeclaration that differs in a flag.
func sameField(resource, name string, current, received bool) error {
	if current == received {
		return nil
	}
	return amqp.Errorf(amqp.PreconditionFailed, "inequivalent arg '%s' for %s: received '%t' but current is '%t'",
		name, resource, received, current)
}

// sameArgument refuses a redeclaration that differs in an argument. Integers are compared by value, whatever their width.
func sameArgument(resource, name string, current, received amqp.Table) error {
	cur, hasCur := current.Lookup(name)
	rec, hasRec := received.Lookup(name)
	if name == "x-queue-type" { // classic is as good as none
		if !hasCur && rec == "classic" || !hasRec && cur == "classic" {
			return nil
		}
	}
	if !hasCur && !hasRec {
		return nil
	}
	curInt, curIsInt := amqp.Int(cur)
	recInt, recIsInt := amqp.Int(rec)
	if hasCur && hasRec && (curIsInt && recIsInt && curInt == recInt || cur == rec) {
		return nil
	}
	show := func(v any, has, typed bool) string {
		switch {
		case !has:
			return "none"
		case typed:
			return fmt.Sprintf("the value '%v' of type '%s'", v, amqp.TypeName(v))
		}
		return fmt.Sprintf("'%v'", v)
	}
	typed := !hasCur || !hasRec
	return amqp.Errorf(amqp.PreconditionFailed, "inequivalent arg '%s' for %s: received %s but current is %s", name, resource,
		show(rec, hasRec, typed), show(cur, hasCur, typed))
}
