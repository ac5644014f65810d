package rating

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A ChangeKind says what became of a rate. The set is closed: see ChangeKinds.
type ChangeKind string

// What may become of a rate.
const (
	Dearer  ChangeKind = "dearer"  // some sample call costs more, and none less
	Cheaper ChangeKind = "cheaper" // some sample call costs less, and none more
	Changed ChangeKind = "changed" // other terms, but neither dearer nor cheaper
	New     ChangeKind = "new"     // it is in the second deck alone
	Gone    ChangeKind = "gone"    // it is in the first deck alone
)

// ChangeKinds returns every kind of change, in the order that Diff sorts by.
func ChangeKinds() []ChangeKind { return []ChangeKind{Dearer, Cheaper, Changed, New, Gone} }

// sampleCalls are the lengths of the calls that Diff compares, in seconds.
func sampleCalls() []int64 { return []int64{1, 30, 60, 180, 600, 3600} }

// A Difference is what two decks charge differently at one time.
type Difference struct {
	Before, After DeckVersion // the decks in force then
	// Terms are the differences between the two deck.yaml, a line each: what no
	// single rate shows.
	Terms []string
	// Compared reports whether prices were: not with two currencies.
	Compared bool
	// Changes are ordered by kind, table, prefix and band.
	Changes []Change
	// Same is how many rates are in both and did not change.
	Same int
}

// A Change is what became of one rate: the row of a table for a prefix and a band.
type Change struct {
	Kind        ChangeKind
	Table       string // its file
	Prefix      string // digits; empty: the default rate
	Destination string
	Band        string // empty: any time
	// Before and After are what its numbers are charged: by the rate itself or,
	// where the deck has no such rate, by a less special one. Nil: there is none.
	Before, After *Offer
}

// An Offer is what one rate charges.
type Offer struct {
	Minute Micros // for a call of 60 s
	Terms  string // such as "0.05/min 60/60 fee 0.1"
	Prefix string // of the rate
	Band   string // of the rate
}

// Diff compares what two decks charge for calls answered at a time, rate by rate.
// Rates are told apart by table, prefix and band; those not valid at the time are
// left out, and so are names and countries of destinations. Whether a rate is
// dearer is told by the rounded charges of calls of 1, 30, 60, 180, 600 and 3600 s
// that stay in one band. It is an error if one of the two has no deck for the
// time.
func Diff(a, b *Decks, at time.Time) (*Difference, error) {
	before, err := sideAt("before", a, at)
	if err != nil {
		return nil, err
	}
	after, err := sideAt("after", b, at)
	if err != nil {
		return nil, err
	}
	diff := &Difference{
		Before: before.deck.DeckVersion, After: after.deck.DeckVersion,
		Terms:    diffTerms(before.deck, after.deck),
		Compared: before.deck.Currency == after.deck.Currency,
	}
	rates := before.rates()
	maps.Copy(rates, after.rates())
	for id, destination := range rates {
		kind, change, err := compare(id, before, after)
		if err != nil {
			return nil, err
		}
		change.Destination = destination
		switch {
		case kind == "", !diff.Compared && kind != New && kind != Gone:
			diff.Same++
		default:
			change.Kind = kind
			diff.Changes = append(diff.Changes, change)
		}
	}
	if !diff.Compared {
		diff.Same = 0 // nobody knows
	}
	order := ChangeKinds()
	slices.SortFunc(diff.Changes, func(x, y Change) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, x.Kind), slices.Index(order, y.Kind)),
			cmp.Compare(x.Table, y.Table), cmp.Compare(x.Prefix, y.Prefix), cmp.Compare(x.Band, y.Band),
		)
	})
	return diff, nil
}

// compare says what became of one rate; no kind if nothing did.
func compare(id rateID, before, after *side) (ChangeKind, Change, error) {
	change := Change{Table: id.table, Prefix: id.prefix, Band: id.band}
	was, had, err := before.offer(id)
	if err != nil {
		return "", change, err
	}
	is, has, err := after.offer(id)
	if err != nil {
		return "", change, err
	}
	if was != nil {
		change.Before = &was.Offer
	}
	if is != nil {
		change.After = &is.Offer
	}
	switch {
	case !had:
		return New, change, nil
	case !has:
		return Gone, change, nil
	}
	more, less := false, false
	for i := range was.charges {
		more = more || is.charges[i] > was.charges[i]
		less = less || is.charges[i] < was.charges[i]
	}
	switch {
	case more && !less:
		return Dearer, change, nil
	case less && !more:
		return Cheaper, change, nil
	case more || was.Terms != is.Terms:
		return Changed, change, nil
	}
	return "", change, nil
}

// A rateID is what tells the rates of a deck apart that are valid at one time.
type rateID struct{ table, prefix, band string }

// A side is one deck of a comparison.
type side struct {
	deck   *deck
	whole  *deck // the same, but it does not split calls
	at     time.Time
	tables map[string]*table
}

func sideAt(name string, decks *Decks, at time.Time) (*side, error) {
	dk := decks.at(at)
	if dk == nil {
		first := "none is loaded"
		if versions := decks.Versions(); len(versions) > 0 {
			first = "the first is from " + versions[0].ValidFrom.Format(time.RFC3339)
		}
		return nil, fmt.Errorf("%s: no deck is valid at %s: %s", name, at.Format(time.RFC3339), first)
	}
	whole := *dk
	whole.split = false
	s := &side{dk, &whole, at, make(map[string]*table)}
	for _, rules := range dk.rules {
		for _, r := range rules {
			if r.table != nil {
				s.tables[r.tableName] = r.table
			}
		}
	}
	return s, nil
}

// rates returns the rates that are valid, with their destinations.
func (s *side) rates() map[rateID]string {
	found := make(map[rateID]string)
	for name, t := range s.tables {
		for i := range t.rows {
			r := &t.rows[i]
			id := rateID{name, t.prefix(r), s.deck.bandName(r.band)}
			v := t.validities[r.validity]
			if now := s.at.UnixMicro(); v.from <= now && now < v.to {
				found[id] = t.destination(r)
			}
		}
	}
	return found
}

// A sampled offer is compared by the charges of sampleCalls.
type sampled struct {
	Offer

	charges []Micros
}

// offer returns what the numbers of a rate are charged, nil if nothing is, and
// whether that rate itself does it.
func (s *side) offer(id rateID) (*sampled, bool, error) {
	t := s.tables[id.table]
	if t == nil {
		return nil, false, nil
	}
	band := slices.IndexFunc(s.deck.calendar.bands, func(b band) bool { return b.name == id.band }) // -1 is noBand
	r := t.find([]byte(id.prefix), moment{s.at.UnixMicro(), band})
	if r == nil {
		return nil, false, nil
	}
	o := &sampled{Offer: Offer{Terms: t.terms(r), Prefix: t.prefix(r), Band: s.deck.bandName(r.band)}}
	for _, seconds := range sampleCalls() {
		charge, err := s.whole.charge(&CDR{AnsweredAt: s.at, DurationMillis: seconds * 1000}, match{rule: &rule{table: t}, row: r}, nil)
		if err != nil {
			return nil, false, fmt.Errorf("%s: prefix %q: a call of %d s: %w", id.table, id.prefix, seconds, err)
		}
		o.charges = append(o.charges, charge.Amount)
		if seconds == 60 {
			o.Minute = charge.Amount
		}
	}
	return o, o.Prefix == id.prefix && o.Band == id.band, nil
}

// terms writes what r charges, for people.
func (t *table) terms(r *row) string {
	f := t.tariff(r)
	words := []string{t.steps(f).terms()}
	if f.fee > 0 {
		words = append(words, "fee "+picos(f.fee))
	}
	if f.grace > 0 {
		words = append(words, fmt.Sprintf("grace %d", f.grace))
	}
	if f.max != noMax {
		words = append(words, "at most "+f.max.String())
	}
	return strings.Join(words, " ")
}

// terms writes price, first and next, or else the steps as tables do.
func (all steps) terms() string {
	switch {
	case len(all) == 1:
		return fmt.Sprintf("%s/min %d/%d", picos(all[0].price), all[0].by, all[0].by)
	case len(all) == 2 && all[0].price == all[1].price && all[0].by == all[1].from:
		return fmt.Sprintf("%s/min %d/%d", picos(all[0].price), all[0].by, all[1].by)
	}
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = fmt.Sprintf("%d:%s/%d", s.from, picos(s.price), s.by)
	}
	return strings.Join(words, ";")
}
