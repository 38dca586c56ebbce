package auth

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/warrenmq/warren/amqp"
)

// An Operation is one of the three things that a permission is about.
type Operation uint8

// Configure is declaring and deleting, Write is publishing and being bound to a source, Read is consuming and being
// bound from. A topic permission has Write and Read.
const (
	Configure Operation = iota
	Write
	Read

	operations
)

// A Permission is what a user may do in a vhost: for each operation a regular expression, matched anywhere in the name
// of the queue or exchange unless it says ^ and $. An empty one matches only the empty name, which nothing has.
type Permission struct {
	Configure, Write, Read string
}

// A TopicPermission is which routing keys (Write) and binding keys (Read) a user may use with an exchange. {username},
// {vhost} and {client_id} stand for those of the session; they are taken literally, where RabbitMQ would let a user name
// such as ".*" act as an expression.
type TopicPermission struct {
	Write, Read string
}

// A pattern is a compiled expression. The zero pattern matches nothing.
type pattern struct {
	all    bool           // matches everything; re is not asked
	re     *regexp.Regexp // nil if all, or if nothing is allowed, or if source has variables
	source string         // of a topic pattern with variables, which each session compiles for itself
}

func (p *pattern) match(s string) bool { return p.all || p.re != nil && p.re.MatchString(s) }

// An InvalidPatternError is an expression that cannot be used. Expressions are Go's (RE2): RabbitMQ's look-ahead and back
// references do not exist here, because their cost has no bound and a publisher pays it.
type InvalidPatternError struct {
	Pattern string
	Reason  error
}

// Error says what is wrong with the expression.
func (e *InvalidPatternError) Error() string {
	return fmt.Sprintf("invalid regular expression '%s': %v", e.Pattern, e.Reason)
}

// Unwrap returns the reason.
func (e *InvalidPatternError) Unwrap() error { return e.Reason }

// compile makes a pattern of an expression without variables.
func compile(source string) (pattern, error) {
	switch source {
	case "":
		source = "^$" // RabbitMQ's reading of an empty expression
	case ".*", "^.*", ".*$", "^.*$":
		return pattern{all: true}, nil
	}
	re, err := regexp.Compile(source)
	if err != nil {
		return pattern{}, &InvalidPatternError{source, err}
	}
	return pattern{re: re}, nil
}

func (p Permission) compile() (may [operations]pattern, err error) {
	for op, source := range [operations]string{Configure: p.Configure, Write: p.Write, Read: p.Read} {
		if may[op], err = compile(source); err != nil {
			return may, err
		}
	}
	return may, nil
}

// compile leaves expressions with variables to expand, after a try with something in their place.
func (p TopicPermission) compile() (may [operations]pattern, err error) {
	for op, source := range map[Operation]string{Write: p.Write, Read: p.Read} {
		expanded := expand(source, "u", "v", "c")
		if may[op], err = compile(expanded); err != nil {
			return may, &InvalidPatternError{source, err.(*InvalidPatternError).Reason}
		}
		if expanded != source {
			may[op] = pattern{source: source}
		}
	}
	return may, nil
}

// expand puts a session's values in the place of the variables. {client_id} stays as it is where there is none.
func expand(source, user, vhost, clientID string) string {
	pairs := []string{"{username}", regexp.QuoteMeta(user), "{vhost}", regexp.QuoteMeta(vhost)}
	if clientID != "" {
		pairs = append(pairs, "{client_id}", regexp.QuoteMeta(clientID))
	}
	return strings.NewReplacer(pairs...).Replace(source)
}

// A Kind is what a permission is asked for, in the word of the reply texts.
type Kind string

// The kinds of resource.
const (
	Queue    Kind = "queue"
	Exchange Kind = "exchange"
)

// defaultExchange is the name by which permissions know the exchange without a name.
const defaultExchange = "amq.default"

// Refused is what a client is told whose Session may not do something with a queue or an exchange. It closes the channel.
func Refused(kind Kind, name, vhost, user string) *amqp.Error {
	if name == "" {
		name = defaultExchange
	}
	return amqp.Errorf(amqp.AccessRefused, "access to %s '%s' in vhost '%s' refused for user '%s'", kind, name, vhost, user)
}

// RefusedTopic is what a client is told whose Session may not use a routing or binding key. It closes the channel.
func RefusedTopic(key, exchange, vhost, user string) *amqp.Error {
	return amqp.Errorf(amqp.AccessRefused, "access to topic '%s' in exchange '%s' in vhost '%s' refused for user '%s'",
		key, exchange, vhost, user)
}

// RefusedVhost is what a client is told whose Session may not open a vhost. It closes the connection.
func RefusedVhost(vhost, user string) *amqp.Error {
	return amqp.Errorf(amqp.NotAllowed, "access to vhost '%s' refused for user '%s'", vhost, user)
}
