package rating_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// What changed between the two decks of testdata/diff.
func TestDiff(t *testing.T) {
	a, b := load(t, os.DirFS("testdata/diff/a")), load(t, os.DirFS("testdata/diff/b"))
	d, err := rating.Diff(a, b, b.Versions()[0].ValidFrom)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "diff/changes.golden", written(d))
}

// written is a line for each difference.
func written(d *rating.Difference) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s to %s, prices compared: %t\n", d.Before.ID, d.After.ID, d.Compared)
	for _, line := range d.Terms {
		fmt.Fprintf(&out, "deck.yaml: %s\n", line)
	}
	for _, c := range d.Changes {
		fmt.Fprintf(&out, "%s %s %q %q %q: %s to %s\n", c.Kind, c.Table, c.Prefix, c.Destination, c.Band, offer(c.Before), offer(c.After))
	}
	fmt.Fprintf(&out, "%d the same\n", d.Same)
	return out.String()
}

func offer(o *rating.Offer) string {
	if o == nil {
		return "nothing"
	}
	return fmt.Sprintf("%s (%s by %q %q)", o.Minute, o.Terms, o.Prefix, o.Band)
}

// Nothing differs from itself, and what is dearer one way is cheaper the other.
func TestDiffIsSymmetric(t *testing.T) {
	a, b := load(t, os.DirFS("testdata/diff/a")), load(t, os.DirFS("testdata/diff/b"))
	at := b.Versions()[0].ValidFrom
	for _, decks := range []*rating.Decks{a, b} {
		d, err := rating.Diff(decks, decks, at)
		if err != nil || len(d.Terms)+len(d.Changes) > 0 || d.Same == 0 {
			t.Errorf("against itself: %+v, %v", d, err)
		}
	}
	there, err := rating.Diff(a, b, at)
	if err != nil {
		t.Fatal(err)
	}
	back, err := rating.Diff(b, a, at)
	if err != nil {
		t.Fatal(err)
	}
	opposite := map[rating.ChangeKind]rating.ChangeKind{
		rating.Dearer: rating.Cheaper, rating.Cheaper: rating.Dearer, rating.Changed: rating.Changed,
		rating.New: rating.Gone, rating.Gone: rating.New,
	}
	if len(there.Changes) != len(back.Changes) || there.Same != back.Same {
		t.Fatalf("%d changes there, %d back", len(there.Changes), len(back.Changes))
	}
	for _, c := range there.Changes {
		if !slices.ContainsFunc(back.Changes, func(o rating.Change) bool {
			return o.Kind == opposite[c.Kind] && o.Table == c.Table && o.Prefix == c.Prefix && o.Band == c.Band
		}) {
			t.Errorf("%+v has no opposite", c)
		}
	}
}

func TestDiffOfDeckFiles(t *testing.T) {
	const rates = "prefix,price\n33,0.1\n34,0.1\n"
	deckOf := func(currency, more, table string) *rating.Decks {
		return load(t, fstest.MapFS{
			"deck.yaml": {Data: []byte("id: d\ncurrency: " + currency + "\nvalid_from: 2026-01-01T00:00:00Z\nhome_country: US\n" +
				"rules: [{kinds: [user_out], table: t.csv}]\n" + more)},
			"t.csv": {Data: []byte(table)},
		})
	}
	base := deckOf("USD", "", rates)
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		after *rating.Decks
		want  string
	}{
		"currency": {deckOf("EUR", "", "prefix,price\n33,9\n35,0.1\n"), `d to d, prices compared: false
deck.yaml: currency: EUR, before USD
new t.csv "35" "" "": nothing to 0.100000 (0.1/min 60/60 by "35" "")
gone t.csv "34" "" "": 0.100000 (0.1/min 60/60 by "34" "") to nothing
0 the same
`},
		"deck.yaml": {deckOf("USD", "country_groups: [[US, CA], [GG, GB]]\ntimezone: Asia/Tokyo\nsplit_at_band: true\nunrated: free\n"+
			"holidays: [2026-12-25]\nbands: {night: {from: \"22:00\", to: \"06:00\"}}\n", rates), `d to d, prices compared: true
deck.yaml: country_groups: [CA, US], [GB, GG], before none
deck.yaml: timezone: Asia/Tokyo, before UTC
deck.yaml: split_at_band: true, before false
deck.yaml: unrated: free, before park
deck.yaml: holidays: 1 days, before 0: they are not the same
deck.yaml: bands: [night], before []
2 the same
`},
		"terms that no sample call shows": {deckOf("USD", "", "prefix,price,max_charge\n33,0.1,100\n34,0.1,\n"), `d to d, prices compared: true
changed t.csv "33" "" "": 0.100000 (0.1/min 60/60 by "33" "") to 0.100000 (0.1/min 60/60 at most 100.000000 by "33" "")
1 the same
`},
	} {
		d, err := rating.Diff(base, tt.after, at)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := written(d); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tt.want)
		}
	}
	for want, decks := range map[string][2]*rating.Decks{
		"before: no deck is valid at 2025-01-01T00:00:00Z: the first is from 2026-01-01T00:00:00Z": {base, base},
		"before: no deck is valid at 2025-01-01T00:00:00Z: none is loaded":                         {{}, base},
	} {
		if d, err := rating.Diff(decks[0], decks[1], time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil || err.Error() != want {
			t.Errorf("got %+v, %v; want %s", d, err, want)
		}
	}
}
