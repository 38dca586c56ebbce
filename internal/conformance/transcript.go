package conformance

import (
	"fmt"
	"sort"

	"github.com/warrenmq/warren/amqp"
)

// A transcript is what the broker sent during one block.
type transcript struct {
	lanes map[lane][]entry
}

// A lane is a channel of a connection.
type lane struct {
	conn    string
	channel amqp.ChannelID
}

// An entry is one line of the answer: an event, or a run of confirms.
type entry struct {
	event event
	tags  []uint64 // of confirms
	nack  bool
}

func newTranscript() *transcript { return &transcript{lanes: map[lane][]entry{}} }

func (t *transcript) add(e event) {
	l := lane{e.conn.name, e.channel}
	t.lanes[l] = append(t.lanes[l], entry{event: e})
}

// addConfirms notes that the publishes tags were confirmed. How a broker groups confirms means nothing, so those of one
// block are one line, which stands where the last of them came.
func (t *transcript) addConfirms(c *conn, ch amqp.ChannelID, tags []uint64, nack bool) {
	l := lane{c.name, ch}
	e := entry{tags: tags, nack: nack}
	for i, old := range t.lanes[l] {
		if old.tags != nil && old.nack == nack {
			e.tags = append(append([]uint64{}, old.tags...), tags...)
			t.lanes[l] = append(t.lanes[l][:i], t.lanes[l][i+1:]...)
			break
		}
	}
	t.lanes[l] = append(t.lanes[l], e)
}

// last returns the newest event on a channel.
func (t *transcript) last(c string, ch amqp.ChannelID) (event, bool) {
	entries := t.lanes[lane{c, ch}]
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].tags == nil {
			return entries[i].event, true
		}
	}
	return event{}, false
}

// forget drops the newest event on a channel.
func (t *transcript) forget(c string, ch amqp.ChannelID) {
	l := lane{c, ch}
	if n := len(t.lanes[l]); n > 0 {
		t.lanes[l] = t.lanes[l][:n-1]
	}
}

// lines prints the transcript, channel by channel.
func (t *transcript) lines(vars map[string]string) []string {
	order := make([]lane, 0, len(t.lanes))
	for l := range t.lanes {
		order = append(order, l)
	}
	sort.Slice(order, func(i, j int) bool {
		a, b := order[i], order[j]
		return a.conn < b.conn || a.conn == b.conn && a.channel < b.channel
	})
	var out []string
	for _, l := range order {
		who := l.conn
		if l.channel != 0 {
			who = fmt.Sprintf("%s.%d", l.conn, l.channel)
		}
		for _, e := range t.lanes[l] {
			out = append(out, normalise(who+" <- "+e.text(), vars))
		}
	}
	return out
}

func (e entry) text() string {
	switch {
	case e.nack:
		return "refused " + formatTags(e.tags)
	case e.tags != nil:
		return "confirmed " + formatTags(e.tags)
	}
	return e.event.text()
}

// text prints an event without the channel.
func (e event) text() string {
	if e.method == nil {
		return e.other
	}
	if start, ok := e.method.(*amqp.ConnectionStart); ok {
		normaliseStart(start)
	}
	s := e.method.ID().String() + formatFields(e.method)
	if e.props != nil {
		normaliseDeaths(e.props)
		if e.props.Flags != 0 {
			s += " props=" + formatProperties(e.props)
		}
		s += " body=" + quote(string(e.body))
	}
	return s
}

// formatTags prints 1..3 5 for 1 2 3 5.
func formatTags(tags []uint64) string {
	sort.Slice(tags, func(i, j int) bool { return tags[i] < tags[j] })
	s := ""
	for i := 0; i < len(tags); {
		j := i
		for j+1 < len(tags) && tags[j+1] == tags[j]+1 {
			j++
		}
		if s != "" {
			s += " "
		}
		if s += fmt.Sprint(tags[i]); j > i {
			s += fmt.Sprintf("..%d", tags[j])
		}
		i = j + 1
	}
	return s
}
