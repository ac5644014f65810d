package rating

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A deckFile is what a deck.yaml says. The tables that its rules name are not
// read yet.
type deckFile struct {
	report

	deck         *deck
	validFrom    *yaml.Node // where deck.ValidFrom is written
	rules        []ruleLine
	decimalComma bool // in tables
}

// A ruleLine is an entry of "rules".
type ruleLine struct {
	kinds []Kind
	scope scope
	table string     // empty: charge: free
	place *yaml.Node // of table, or of the entry
}

// A key is a key of a YAML mapping and the reader of its value, which returns
// what it wants instead, or "".
type key struct {
	name     string
	required bool
	read     func(*yaml.Node) string
}

func (f *deckFile) read(content []byte) {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			f.at(0, 0, "the file is empty: want the keys of a deck")
			return
		}
		line := 0
		_, _ = fmt.Sscanf(err.Error(), "yaml: line %d:", &line) // for the place alone; without it 0 is right
		f.at(line, 0, "not YAML: %v", err)
		return
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		f.at(0, 0, "want one YAML document")
	}
	dk := f.deck
	dk.park = true
	digits, mode := microsPlaces, halfUp
	var times calendarLines
	f.mapping(document.Content[0], []key{
		{"id", true, text(&dk.ID, "a name", func(s string) bool { return s != "" })},
		{"currency", true, text(&dk.Currency, "three capital letters, as in ISO 4217", isCurrency)},
		{"valid_from", true, func(n *yaml.Node) string {
			f.validFrom = n
			return timestamp(&dk.ValidFrom)(n)
		}},
		{"home_country", true, countryInto(&dk.home)},
		{"country_groups", false, f.readGroups},
		{"timezone", false, zoneInto(&times.zone)},
		{"bands", false, func(n *yaml.Node) string { return f.readBands(n, &times) }},
		{"holidays", false, func(n *yaml.Node) string { return f.readHolidays(n, &times) }},
		{"split_at_band", false, truth(&dk.split)},
		{"decimal_comma", false, truth(&f.decimalComma)},
		{"unrated", false, func(n *yaml.Node) string {
			dk.park = scalar(n) != "free"
			return wantUnless(!dk.park || scalar(n) == "park", "park or free")
		}},
		{"rounding", false, func(n *yaml.Node) string { return f.readRounding(n, &digits, &mode) }},
		{"rules", true, f.readRules},
	})
	dk.rounding = newRounding(digits, mode)
	dk.calendar = times.calendar()
}

// mapping reads n key by key.
func (f *deckFile) mapping(n *yaml.Node, keys []key) {
	if n.Kind != yaml.MappingNode {
		f.at(n.Line, n.Column, "want a mapping of keys to values")
		return
	}
	seen := make(map[string]bool)
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		k := slices.IndexFunc(keys, func(k key) bool { return k.name == scalar(name) })
		switch {
		case k < 0:
			f.at(name.Line, name.Column, "unknown key %q: want one of %s", name.Value, keyNames(keys))
		case seen[name.Value]:
			f.at(name.Line, name.Column, "%s is there twice", name.Value)
		default:
			if want := keys[k].read(value); want != "" {
				f.at(value.Line, value.Column, "%s: want %s", name.Value, want)
			}
		}
		seen[name.Value] = true
	}
	for _, k := range keys {
		if k.required && !seen[k.name] {
			f.at(n.Line, n.Column, "%s is missing", k.name)
		}
	}
}

func keyNames(keys []key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return strings.Join(names, ", ")
}

func (f *deckFile) readGroups(n *yaml.Node) string {
	const want = "lists of countries, such as [[US, CA]]"
	if n.Kind != yaml.SequenceNode {
		return want
	}
	f.deck.groups = make(map[country]country)
	for _, group := range n.Content {
		if group.Kind != yaml.SequenceNode {
			return want
		}
		var first country
		for i, member := range group.Content {
			var c country
			if want := countryInto(&c)(member); want != "" {
				f.at(member.Line, member.Column, "country_groups: want %s", want)
				continue
			}
			if i == 0 {
				first = c
			}
			if _, twice := f.deck.groups[c]; twice {
				f.at(member.Line, member.Column, "country_groups: %s is there twice", member.Value)
			}
			f.deck.groups[c] = first
		}
	}
	return ""
}

func (f *deckFile) readRounding(n *yaml.Node, digits *int, mode *roundMode) string {
	f.mapping(n, []key{
		{"digits", false, func(n *yaml.Node) string {
			d, err := strconv.Atoi(scalar(n))
			if err != nil || d < 0 || d > microsPlaces {
				return "0 to 6"
			}
			*digits = d
			return ""
		}},
		{"mode", false, func(n *yaml.Node) string {
			var ok bool
			*mode, ok = parseRoundMode(scalar(n))
			return wantUnless(ok, "half_up, half_even, up or down")
		}},
	})
	return ""
}

func (f *deckFile) readRules(n *yaml.Node) string {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return "a list of rules"
	}
	closed := make(map[Kind]bool)
	for _, entry := range n.Content {
		line := f.readRule(entry)
		for _, kind := range line.kinds {
			if closed[kind] {
				f.at(entry.Line, entry.Column, "rules: %s never gets here, a rule above takes all of it", kind)
			}
			if kind.AlwaysFree() && line.place != entry {
				f.at(entry.Line, entry.Column, "rules: %s is free whatever a deck says: take it out", kind)
			}
		}
		if line.scope == anywhere {
			for _, kind := range line.kinds {
				closed[kind] = true
			}
		}
		f.rules = append(f.rules, line)
	}
	return ""
}

func (f *deckFile) readRule(entry *yaml.Node) ruleLine {
	line := ruleLine{place: entry}
	free, scoped := false, false
	f.mapping(entry, []key{
		{"kinds", true, func(n *yaml.Node) string { return f.readKinds(n, &line.kinds) }},
		{"scope", false, func(n *yaml.Node) string {
			scoped = true
			var ok bool
			line.scope, ok = parseScope(scalar(n))
			return wantUnless(ok, "international, domestic or any")
		}},
		{"table", false, func(n *yaml.Node) string {
			line.place = n
			return text(&line.table, "the path of a CSV file below the deck's directory", isTablePath)(n)
		}},
		{"match", false, func(n *yaml.Node) string {
			scoped = true
			return wantUnless(scalar(n) == "callee", "callee")
		}},
		{"charge", false, func(n *yaml.Node) string {
			free = true
			return wantUnless(scalar(n) == "free", "free, or a table instead")
		}},
	})
	priced := line.place != entry
	switch {
	case free == priced && entry.Kind == yaml.MappingNode:
		f.at(entry.Line, entry.Column, "rules: want either table or charge: free")
	case free && scoped:
		f.at(entry.Line, entry.Column, "rules: scope and match need a table")
	}
	return line
}

func (f *deckFile) readKinds(n *yaml.Node, kinds *[]Kind) string {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return "a list of kinds of call"
	}
	for _, item := range n.Content {
		kind := Kind(scalar(item))
		if !kind.Valid() {
			f.at(item.Line, item.Column, "kinds: %q is not a kind: want one of %v", item.Value, Kinds())
			continue
		}
		*kinds = append(*kinds, kind)
	}
	return ""
}

// text reads a scalar that ok accepts.
func text(into *string, want string, ok func(string) bool) func(*yaml.Node) string {
	return func(n *yaml.Node) string {
		if !ok(scalar(n)) {
			return want
		}
		*into = n.Value
		return ""
	}
}

func timestamp(into *time.Time) func(*yaml.Node) string {
	return func(n *yaml.Node) string {
		var ok bool
		*into, ok = parseTime(scalar(n))
		return wantUnless(ok, "a time such as 2026-01-31T00:00:00Z (RFC 3339)")
	}
}

func truth(into *bool) func(*yaml.Node) string {
	return func(n *yaml.Node) string {
		*into = scalar(n) == "true"
		return wantUnless(*into || scalar(n) == "false", "true or false")
	}
}

func countryInto(into *country) func(*yaml.Node) string {
	return func(n *yaml.Node) string {
		var ok bool
		*into, ok = parseCountry(scalar(n))
		return wantUnless(ok, "a country of two letters")
	}
}

// scalar returns the text of n; it is empty for anything else, an alias too.
func scalar(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func wantUnless(ok bool, want string) string { //nolint:revive // ok is the outcome of a check, not a mode
	if ok {
		return ""
	}
	return want
}

// parseTime reads RFC 3339 and returns UTC. The zero time means "not set"
// elsewhere, so it is not accepted; nor is a part of a microsecond, which is what
// times are compared in.
func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, s)
	return t.UTC(), err == nil && !t.IsZero() && t.Nanosecond()%1000 == 0
}

func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func isTablePath(s string) bool { return fs.ValidPath(s) && s != "." && s != deckName }
