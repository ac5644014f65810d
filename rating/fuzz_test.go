package rating_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/rating"
)

// Whatever a table holds, it is either refused with places, or prices calls
// without a negative charge.
func FuzzTable(f *testing.F) {
	for _, dir := range []string{"steps", "bands", "split", "caps", "scopes", "validity"} {
		table, err := os.ReadFile("testdata/rules/" + dir + "/outbound.csv")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(table), int64(61_000))
	}
	f.Add("prefix,price\n,\"1\n", int64(1))
	f.Add("prefix;price\n;1,5\n", int64(1))
	f.Fuzz(func(t *testing.T, table string, millis int64) {
		if millis < 0 {
			return
		}
		d, err := rating.Load(oneTable(bandedBig, table))
		if err != nil {
			var problems rating.Problems
			if d != nil || !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("got %v, %v", d, err)
			}
			for _, p := range problems {
				if p.File == "" || p.Message == "" || strings.Contains(p.Message, "%!") {
					t.Errorf("%+v", p)
				}
			}
			return
		}
		for _, callee := range []string{"+442079460000", "+1", "+0"} {
			c := userOut(millis)
			c.Callee = callee
			got, err := d.Price(c)
			if got.Amount < 0 || got.Amount > rating.MaxTotal || got.ChargedSeconds < 0 || err != nil && got != (rating.Charge{}) {
				t.Errorf("%s: got %+v, %v", callee, got, err)
			}
		}
	})
}

// A deck.yaml is refused with places, or loads.
func FuzzDeck(f *testing.F) {
	for _, dir := range []string{"rules/bands", "rules/scopes", "broken", "broken_bands"} {
		deck, err := os.ReadFile("testdata/" + dir + "/deck.yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(deck))
	}
	f.Fuzz(func(t *testing.T, deck string) {
		files := oneTable("", header+",All,FR,0,1\n")
		files["deck.yaml"].Data = []byte(deck)
		files["outbound.csv"] = files["out.csv"]
		d, err := rating.Load(files)
		if (d == nil) == (err == nil) {
			t.Fatalf("got %v, %v", d, err)
		}
		if err == nil {
			_, _ = d.Price(userOut(1000))
		}
	})
}

// A number is read into digits alone, and reading it again gives the same.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{"+44 20 7946-0000", "0044", "tel:+1-425;ext=1", "sip:+1@example.com", "+33****", "(0)20", "\u0661"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := rating.Digits(s)
		if ok != (got != "") || strings.Trim(got, "0123456789") != "" {
			t.Fatalf("%q: got %q, %v", s, got, ok)
		}
		if again, _ := rating.Digits(got); ok && !strings.HasPrefix(got, "00") && again != got {
			t.Fatalf("%q: %q became %q", s, got, again)
		}
	})
}
