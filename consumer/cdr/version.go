package cdr

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// A Version is one piece of the configuration that says what records mean from an
// append time on: a version of a source, or what Options say of all of them.
type Version struct {
	Source     string    // "": Format and Zone of Options
	ID         string    // of a source: hash of what its version means; else the format and the zone, if there is one
	ActiveFrom time.Time // append time; zero: ever since
}

// Versions returns all that the meaning of records depends on. Two processes read
// every record alike if it is the same for both.
func (o *Options) Versions() []Version {
	settings := string(cmp.Or(o.Format, CanonicalJSON))
	if o.Zone != nil {
		settings += "," + o.Zone.String()
	}
	all := []Version{{ID: settings}}
	if o.Mapping == nil {
		return all
	}
	for _, name := range slices.Sorted(maps.Keys(o.Mapping.sources)) {
		for _, v := range slices.Backward(o.Mapping.sources[name]) {
			all = append(all, Version{Source: name, ID: v.id(), ActiveFrom: v.activeFrom})
		}
	}
	return all
}

// Changes returns the append times (ms) after one and up to another from which on
// records may mean something else, in order.
func (d *Decoder) Changes(after, until int64) []int64 {
	if d.opt.Mapping == nil {
		return nil
	}
	var all []int64
	for _, versions := range d.opt.Mapping.sources {
		for _, v := range versions {
			if at := v.fromMillis(); at > after && at <= until {
				all = append(all, at)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// id is the first 16 hex digits of SHA-256 of what a version means: not of how it
// is written. Stores keep it, so what goes in must not change.
func (v *version) id() string {
	var w writing
	p := v.plan
	zone := ""
	if p.zone != nil {
		zone = p.zone.String()
	}
	w.texts(string(p.source), string(v.format), v.activeFrom.UTC().Format(time.RFC3339Nano), zone)
	w.texts(p.given...)
	for f := range unknown {
		if p.rules[f] != nil {
			w.choices(ruleOf(f).name, p, p.rules[f])
		}
	}
	w.choices("skip", p, p.skips)
	w.texts(p.numbers.country, p.numbers.national, strconv.Itoa(p.numbers.nationalDigits))
	w.texts(p.numbers.international...)
	sum := sha256.Sum256(w.Bytes())
	return hex.EncodeToString(sum[:])[:16]
}

// A writing is a text that no two meanings share.
type writing struct{ bytes.Buffer }

func (w *writing) texts(texts ...string) {
	fmt.Fprintf(&w.Buffer, "%d:", len(texts))
	for _, text := range texts {
		fmt.Fprintf(&w.Buffer, "%d:%s", len(text), text)
	}
}

func (w *writing) choices(name string, p *plan, choices []choice) {
	w.texts(name, strconv.Itoa(len(choices)))
	for i := range choices {
		c := &choices[i]
		fields := make([]string, len(c.slots))
		for k, slot := range c.slots {
			fields[k] = p.names[slot]
		}
		w.texts(fields...)
		w.texts(c.texts...)
		w.texts(c.prefixes...)
		for _, from := range slices.Sorted(maps.Keys(c.table)) {
			w.texts(from, string(c.table[from]))
		}
		w.texts(string(c.value))
	}
}
