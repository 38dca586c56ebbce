package config

import "strings"

// A Setting is one entry of the table.
type Setting struct {
	// Key is the name in the file. A last word that begins with $ stands for any word: listeners.tcp.$name is a list with
	// an entry for each key listeners.tcp.something.
	Key string
	// Default is written as in the file. Of a list, it is "part = value", comma separated; "" is an empty one.
	Default string
	// Doc says what the setting does, in sentences, with the unit.
	Doc string
	// Set stores value. part is the word in the place of $, otherwise "". An error says what would fit; the caller adds
	// where it was.
	Set func(c *Config, part, value string) error
	// Clear, if not nil, forgets the default when the first entry of a list is about to be set.
	Clear func(c *Config)
}

// A Group is a heading of the documentation and its settings.
type Group struct {
	Title    string
	Settings []Setting
}

// Groups returns the table, for documentation.
func Groups() []Group { return groups() }

// all returns the settings of all groups, in the table's order.
func all() []Setting {
	var out []Setting
	for _, g := range groups() {
		out = append(out, g.Settings...)
	}
	return out
}

// List reports whether the key's last word is free.
func (s *Setting) List() bool { return strings.Contains(s.Key, ".$") }

type entry struct{ part, value string }

// defaults takes Default apart. A plain setting has one, without a part.
func (s *Setting) defaults() []entry {
	if !s.List() {
		return []entry{{value: s.Default}}
	}
	var out []entry
	for d := range strings.SplitSeq(s.Default, ",") {
		part, value, _ := strings.Cut(d, "=")
		out = append(out, entry{strings.TrimSpace(part), strings.TrimSpace(value)})
	}
	return out
}

// match reports whether key is this setting's, and the word in the place of $.
func (s *Setting) match(key string) (part string, ok bool) {
	stem, _, list := strings.Cut(s.Key, "$")
	if !list {
		return "", s.Key == key
	}
	part, ok = strings.CutPrefix(key, stem)
	return part, ok && part != ""
}
