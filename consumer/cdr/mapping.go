package cdr

import (
	"bytes"
	"math"
	"slices"
	"time"
)

// A Mapping says how the fields of each source give the members of a CDR. See
// LoadMapping.
type Mapping struct {
	sources map[string][]*version // newest first
	begins  int64                 // append time (ms) of the oldest version of any source
}

// A version is what a mapping says of one source from some append time on.
type version struct {
	format     Format
	activeFrom time.Time // zero: ever since
	plan       *plan
}

// at reports whether v counts for records of an append time, unless a newer one
// does.
func (v *version) at(appendMillis int64) bool { return v.fromMillis() <= appendMillis }

func (v *version) fromMillis() int64 {
	if v.activeFrom.IsZero() {
		return math.MinInt64
	}
	return v.activeFrom.UnixMilli()
}

// Sources returns how many sources the mapping has.
func (m *Mapping) Sources() int { return len(m.sources) }

// active returns the version of a source at an append time, or nil when the
// mapping has no such source then.
func (m *Mapping) active(source []byte, appendMillis int64) *version {
	for _, v := range m.sources[string(source)] {
		if v.at(appendMillis) {
			return v
		}
	}
	return nil
}

// only returns the one source whose records have a format at an append time.
// n is how many have it. One that begins later is none yet.
func (m *Mapping) only(f Format, appendMillis int64) (found *version, n int) {
	for _, versions := range m.sources {
		for _, v := range versions {
			if !v.at(appendMillis) {
				continue
			}
			if v.format == f {
				found = v
				n++
			}
			break
		}
	}
	return found, n
}

// A choice is one rule of a mapping. It has a value alone; or fields, whose text
// it gives; or fields with texts or prefixes, and gives value when one fits; or
// fields with a table, and gives what the table has for their text.
type choice struct {
	slots    []int
	texts    []string
	prefixes []string
	table    map[string][]byte
	value    []byte
}

// ruled returns what the first of choices that applies gives; a nil text if none
// does.
func (r *row) ruled(choices []choice) value {
	for i := range choices {
		if v := r.chosen(&choices[i]); v.text != nil {
			return v
		}
	}
	return value{}
}

func (r *row) chosen(c *choice) value {
	if len(c.slots) == 0 {
		return value{text: c.value, slot: -1}
	}
	v := r.joined(c.slots)
	switch {
	case c.table != nil:
		return value{c.table[string(v.text)], v.at, -1}
	case c.texts == nil && c.prefixes == nil:
		if len(v.text) == 0 {
			return value{}
		}
		return v
	}
	if slices.Contains(c.texts, string(v.text)) {
		return value{c.value, v.at, -1}
	}
	for _, prefix := range c.prefixes {
		if len(v.text) >= len(prefix) && string(v.text[:len(prefix)]) == prefix {
			return value{c.value, v.at, -1}
		}
	}
	return value{}
}

// mapped gives the members what the mapping says.
func (r *row) mapped() {
	for f := range unknown {
		if choices := r.plan.rules[f]; choices != nil {
			r.members[f] = r.ruled(choices)
		}
	}
	switch { // a source is what the configuration calls it, before what it calls itself
	case r.plan.source != nil:
		r.members[source] = value{text: r.plan.source, slot: -1}
	case r.named != nil:
		r.members[source] = value{text: r.named, slot: -1}
	}
	for _, f := range [...]field{caller, callee} {
		r.members[f] = r.plan.numbers.e164(r, r.members[f])
	}
}

// numbers says how a source writes numbers that are not international.
type numbers struct {
	country        string   // country code, digits
	international  []string // what is dialled before a country code, longest first
	national       string   // what is dialled before a national number
	nationalDigits int      // of a national number, without what is dialled before it; 0: any
}

// e164 returns v in E.164 with its "+", if it is a number and the source says how
// it is to be read; else v.
func (n *numbers) e164(r *row, v value) value {
	if n.country == "" && n.international == nil || len(v.text) == 0 {
		return v
	}
	for _, c := range v.text {
		if c-'0' > 9 {
			return v
		}
	}
	for _, prefix := range n.international {
		if rest, ok := bytes.CutPrefix(v.text, []byte(prefix)); ok && len(rest) > 0 {
			return r.rewritten(v, "", rest)
		}
	}
	if n.country == "" {
		return v
	}
	rest, ok := bytes.CutPrefix(v.text, []byte(n.national))
	switch {
	case n.national != "" && ok && len(rest) > 0 && (n.nationalDigits == 0 || len(rest) == n.nationalDigits):
		return r.rewritten(v, n.country, rest)
	case n.nationalDigits > 0 && len(v.text) == n.nationalDigits:
		return r.rewritten(v, n.country, v.text)
	}
	return v
}

func (r *row) rewritten(v value, country string, rest []byte) value {
	from := len(r.arena)
	r.arena = append(r.arena, '+')
	r.arena = append(r.arena, country...)
	r.arena = append(r.arena, rest...)
	return value{r.arena[from:], v.at, v.slot}
}
