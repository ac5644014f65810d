package decks_test

import (
	"testing"
	"time"

	"github.com/creditstream/creditstream/deploy/decks"
	"github.com/creditstream/creditstream/rating"
)

func load(t *testing.T) *rating.Decks {
	t.Helper()
	d, err := rating.Load(decks.Sample())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSampleIsOneDeck(t *testing.T) {
	versions := load(t).Versions()
	if len(versions) != 1 {
		t.Fatalf("%d decks, want 1", len(versions))
	}
	v := versions[0]
	if v.ID != "sample" || v.Currency != "USD" || !v.ValidFrom.Equal(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", v)
	}
}

// Every kind has a price or is free, from a known and from an unknown country.
func TestSamplePricesEveryKind(t *testing.T) {
	d := load(t)
	free := map[rating.Kind]bool{rating.TollIn: true, rating.UserIn: true, rating.Emergency: true, rating.Internal: true}
	for _, kind := range rating.Kinds() {
		for _, home := range []string{"", "GB", "BR"} {
			callee := "+442079460000"
			if kind == rating.TollFreeIn {
				callee = "+18005550100"
			}
			got, err := d.Price(&rating.CDR{
				Kind: kind, Callee: callee, Home: home, DurationMillis: 61_000,
				AnsweredAt: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
			})
			if err != nil {
				t.Errorf("%s from %q: %v", kind, home, err)
			} else if (got.Amount == 0) != free[kind] {
				t.Errorf("%s from %q: charged %s", kind, home, got.Amount)
			}
		}
	}
}

func TestSampleScopes(t *testing.T) {
	d := load(t)
	for _, test := range []struct{ home, callee, want string }{
		{"", "+14255550123", "Domestic United States and Canada"},
		{"CA", "+14255550123", "Domestic United States and Canada"},
		{"", "+18765550123", "Jamaica"},
		{"JM", "+18765550123", "Jamaica"},
		{"", "+442079460000", "United Kingdom London"},
		{"GB", "+442079460000", "Domestic United Kingdom"},
		{"GB", "+447700900123", "Domestic United Kingdom mobile"},
		{"FR", "+491512345678", "Germany mobile"},
		{"", "+881612345678", "Satellite"},
		{"", "+5511987654321", "Rest of the world"},
	} {
		got, err := d.Price(&rating.CDR{
			Kind: rating.UserOut, Callee: test.callee, Home: test.home, DurationMillis: 1000,
			AnsweredAt: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		})
		if err != nil || got.Destination != test.want {
			t.Errorf("from %q to %s: %q, %v, want %q", test.home, test.callee, got.Destination, err, test.want)
		}
	}
}
