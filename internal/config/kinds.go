package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The functions below make a Setting's Set for one kind of value. Each takes a function that says which field of a Config
// the value goes to, and the limits of the value, both included.

type setter = func(c *Config, part, value string) error

type integer interface {
	~int | ~int64 | ~uint16 | ~uint32
}

func text(field func(*Config) *string) setter {
	return func(c *Config, _, value string) error {
		*field(c) = value
		return nil
	}
}

func boolean(field func(*Config) *bool) setter {
	return func(c *Config, _, value string) error {
		switch value {
		case "true", "false":
			*field(c) = value == "true"
			return nil
		}
		return fmt.Errorf("%q is neither true nor false", value)
	}
}

func oneOf(store func(c *Config, value string), allowed ...string) setter {
	return func(c *Config, _, value string) error {
		if !slices.Contains(allowed, value) {
			return fmt.Errorf("%q is not one of %s", value, strings.Join(allowed, ", "))
		}
		store(c, value)
		return nil
	}
}

// none accepts the one word that empties a list.
func none(clear func(*Config)) setter {
	return oneOf(func(c *Config, _ string) { clear(c) }, "none")
}

// limit takes a whole number, or infinity, stored as 0.
func limit[N integer](least, most int64, field func(*Config) *N) setter {
	return func(c *Config, _, value string) error {
		if value == "infinity" {
			value = "0"
		}
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", value)
		}
		return store(n, least, most, field(c))
	}
}

func store[N integer](n, least, most int64, to *N) error {
	if n < least || n > most {
		return fmt.Errorf("%d is not between %d and %d", n, least, most)
	}
	*to = N(n)
	return nil
}

// bytes takes a whole number of bytes, with a unit if there is one behind it.
func bytes[N integer](least, most int64, field func(*Config) *N) setter {
	return func(c *Config, _, value string) error {
		n, err := ParseBytes(value)
		if err != nil {
			return err
		}
		return store(n, least, most, field(c))
	}
}

var byteUnits = map[string]int64{
	"": 1, "b": 1,
	"k": 1 << 10, "ki": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mi": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gi": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "ti": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// ParseBytes reads a size as RabbitMQ does: 1000, 50MB (millions), 50MiB and 50M (times 1,048,576), in either case. Units
// go to TiB, where RabbitMQ stops at GiB.
func ParseBytes(s string) (int64, error) {
	lower := strings.ToLower(s) // of another length than s, for some letters
	digits := strings.TrimRight(lower, "bikmgt")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, ok := byteUnits[lower[len(digits):]]
	if err != nil || !ok || n < 0 {
		return 0, fmt.Errorf("%q is not a size such as 4096, 50MB or 1GiB", s)
	}
	if n > (1<<63-1)/unit {
		return 0, fmt.Errorf("%q is larger than this machine can count", s)
	}
	return n * unit, nil
}

// duration takes a whole number of units, or one with a unit of its own: 500ms, 90s, 30m, 1h.
func duration(unit time.Duration, field func(*Config) *time.Duration) setter {
	return func(c *Config, _, value string) error {
		d, err := time.ParseDuration(value)
		if n, e := strconv.ParseInt(value, 10, 64); e == nil {
			if n > int64(1<<63-1)/int64(unit) {
				return fmt.Errorf("%q is longer than this machine can count", value)
			}
			d, err = time.Duration(n)*unit, nil
		}
		if err != nil || d < 0 {
			return fmt.Errorf("%q is neither a whole number of %s nor a duration such as 90s", value, unitNames[unit])
		}
		*field(c) = d
		return nil
	}
}

var unitNames = map[time.Duration]string{time.Millisecond: "milliseconds", time.Second: "seconds"}

// seconds16 takes a duration that connection.tune can carry: whole seconds, at most 65535.
func seconds16(field func(*Config) *time.Duration) setter {
	return func(c *Config, _, value string) error {
		var d time.Duration
		if err := duration(time.Second, func(*Config) *time.Duration { return &d })(c, "", value); err != nil {
			return err
		}
		if d%time.Second != 0 || d > 65535*time.Second {
			return fmt.Errorf("%q is not a whole number of seconds up to 65535", value)
		}
		*field(c) = d
		return nil
	}
}

// orInfinity takes infinity, stored as 0, besides what set takes. RabbitMQ's word for it is undefined.
func orInfinity(set setter) setter {
	return func(c *Config, part, value string) error {
		if value == "infinity" || value == "undefined" {
			value = "0"
		}
		return set(c, part, value)
	}
}

func ratio(least, most float64, field func(*Config) *float64) setter {
	return func(c *Config, _, value string) error {
		f, err := strconv.ParseFloat(value, 64)
		if err != nil || !(f >= least && f <= most) {
			return fmt.Errorf("%q is not a number between %g and %g", value, least, most)
		}
		*field(c) = f
		return nil
	}
}

// names keeps a sorted set of words: the key's last word is in it if the value is true.
func names(field func(*Config) *[]string) setter {
	return func(c *Config, part, value string) error {
		var in bool
		if err := boolean(func(*Config) *bool { return &in })(c, part, value); err != nil {
			return err
		}
		set := field(c)
		at, found := slices.BinarySearch(*set, part)
		switch {
		case in && !found:
			*set = slices.Insert(*set, at, part)
		case !in && found:
			*set = slices.Delete(*set, at, at+1)
		}
		return nil
	}
}

// listener takes port, host:port or ipv6:port. A later line with the same name replaces the earlier.
func listener(field func(*Config) *[]Listener) setter {
	return func(c *Config, part, value string) error {
		host, port := "", value
		if at := strings.LastIndexByte(value, ':'); at >= 0 {
			host, port = strings.Trim(value[:at], "[]"), value[at+1:]
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strings.ContainsAny(host, "[] ") {
			return fmt.Errorf("%q is not a port, host:port or [ipv6]:port", value)
		} else {
			port = strconv.FormatUint(n, 10)
		}
		l := Listener{Name: part, Addr: net.JoinHostPort(host, port)}
		list := field(c)
		if at := slices.IndexFunc(*list, func(o Listener) bool { return o.Name == part }); at >= 0 {
			(*list)[at] = l
		} else {
			*list = append(*list, l)
		}
		return nil
	}
}

// noEffect is what the Set of an ignored setting returns: a warning in an error's clothes.
type noEffect struct{ why string }

func (e noEffect) Error() string { return "has no effect in Warren: " + e.why }

// ignored is for keys that are common in a rabbitmq.conf and mean nothing here.
func ignored(why string) setter {
	return func(*Config, string, string) error { return noEffect{why} }
}
