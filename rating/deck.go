package rating

import "time"

// Decks are all loaded versions of the rate tables. A call is priced by the
// newest one with valid_from at or before its answer time. The zero value holds
// none. Immutable.
type Decks struct {
	newestFirst []*deck
}

// A DeckVersion describes one loaded deck.
type DeckVersion struct {
	ID        string    // as deck.yaml says; not unique
	Version   string    // content hash, what Charge.Deck carries
	ValidFrom time.Time // UTC
	Currency  string    // ISO 4217
	Rows      int       // rates in all its tables
	Prefixes  int       // different ones, table by table
	Countries int       // different ones, in all its tables
}

// Versions lists the loaded decks, the oldest valid_from first.
func (d *Decks) Versions() []DeckVersion {
	list := make([]DeckVersion, len(d.newestFirst))
	for i, dk := range d.newestFirst {
		list[len(list)-1-i] = dk.DeckVersion
	}
	return list
}

// at returns the deck for calls answered at t, or nil.
func (d *Decks) at(t time.Time) *deck {
	for _, dk := range d.newestFirst {
		if !t.Before(dk.ValidFrom) {
			return dk
		}
	}
	return nil
}

// A deck is one version.
type deck struct {
	DeckVersion

	home     country
	groups   map[country]country // member of a group -> the member that stands for it
	park     bool                // a call that no rate matches is parked, else it is free
	rounding rounding
	calendar *calendar
	split    bool            // a call is split where the band or a validity changes
	rules    map[Kind][]rule // in the order of deck.yaml

	countries map[country]bool // of all tables
}

// count adds a table to what the version says of itself.
func (d *deck) count(t *table) {
	if d.countries == nil {
		d.countries = make(map[country]bool)
	}
	d.Rows += len(t.rows)
	for i := range t.nodes {
		if t.nodes[i].count > 0 {
			d.Prefixes++
		}
	}
	for i := range t.rows {
		if c := t.rows[i].country; c != (country{}) {
			d.countries[c] = true
		}
	}
	d.Countries = len(d.countries)
}

// A rule prices the calls of a kind within a scope; the first that matches wins.
type rule struct {
	number    int // in deck.yaml, from 1
	scope     scope
	table     *table // nil: free
	tableName string
}

// moment returns the moment t as the rates of a table look at it.
func (d *deck) moment(t time.Time, in *table) moment {
	m := moment{micros: t.UnixMicro(), band: noBand}
	if in.banded {
		m.band = d.calendar.at(t)
	}
	return m
}

func (d *deck) bandName(band int8) string {
	if band == noBand {
		return ""
	}
	return d.calendar.bands[band].name
}

// A scope says which destinations a rule is for, seen from the home country.
type scope int

const (
	anywhere scope = iota
	domestic
	international
)

func parseScope(s string) (scope, bool) {
	switch s {
	case "any":
		return anywhere, true
	case "domestic":
		return domestic, true
	case "international":
		return international, true
	}
	return domestic, false // not anywhere, or the rules below would count as dead
}

// String is how deck.yaml writes s.
func (s scope) String() string {
	switch s {
	case domestic:
		return "domestic"
	case international:
		return "international"
	case anywhere:
	}
	return "any"
}

// group returns the country that stands for c.
func (d *deck) group(c country) country {
	if g, ok := d.groups[c]; ok {
		return g
	}
	return c
}
