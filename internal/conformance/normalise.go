package conformance

import (
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/warrenmq/warren/amqp"
)

// What differs from run to run, or from broker to broker by its nature, is made the same here:
//
//   - names that the broker made: amq.gen-*, amq.ctag-*, amq.rabbitmq.reply-to.*
//   - names that the script keeps: $name
//   - times of the last hour: T:now
//   - the server properties that say who is serving
//   - the order of the fields of a death in x-death, which RabbitMQ changes when it counts up
var (
	madeName  = regexp.MustCompile(`amq\.(gen|ctag)-[A-Za-z0-9_-]{22}`)
	replyName = regexp.MustCompile(`amq\.rabbitmq\.reply-to\.[A-Za-z0-9+/=_.-]{20,}`)
	timeValue = regexp.MustCompile(`T:(\d+)`)
)

var identity = []string{"product", "version", "platform", "copyright", "information", "cluster_name"}

// normalise makes a printed line the same for every run.
func normalise(line string, vars map[string]string) string {
	names := make([]string, 0, len(vars))
	for name, value := range vars {
		if len(value) > 8 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		line = strings.ReplaceAll(line, vars[name], "$"+name)
	}
	line = madeName.ReplaceAllString(line, "amq.$1-*")
	line = replyName.ReplaceAllString(line, "amq.rabbitmq.reply-to.*")
	return timeValue.ReplaceAllStringFunc(line, func(s string) string {
		n, err := strconv.ParseInt(s[2:], 10, 64)
		if err != nil || time.Since(time.Unix(n, 0)).Abs() > time.Hour {
			return s
		}
		return "T:now"
	})
}

// normaliseStart hides who serves, and sorts the properties: their order means nothing.
func normaliseStart(m *amqp.ConnectionStart) {
	for _, name := range identity {
		if _, ok := m.ServerProperties.Lookup(name); ok {
			m.ServerProperties = m.ServerProperties.With(name, "*")
		}
	}
	sortTable(m.ServerProperties)
	if v, ok := m.ServerProperties.Lookup("capabilities"); ok {
		sortTable(v)
	}
}

// normaliseDeaths sorts the fields of each death in a message's x-death.
func normaliseDeaths(p *amqp.Properties) {
	v, _ := p.Headers.Lookup("x-death")
	deaths, _ := v.(amqp.Array)
	for _, d := range deaths {
		sortTable(d)
	}
}

// sortTable sorts the fields of v by name if it is a table.
func sortTable(v any) {
	if t, ok := v.(amqp.Table); ok {
		sort.SliceStable(t, func(i, j int) bool { return t[i].Name < t[j].Name })
	}
}
