package rating_test

import (
	"os"
	"testing"

	"github.com/creditstream/creditstream/rating"
)

func typicalCalls() []rating.CDR {
	return []rating.CDR{
		{Kind: rating.UserOut, Callee: "+14255550123", AnsweredAt: answered, DurationMillis: 61_234},
		{Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: answered, DurationMillis: 61_234},
		{Kind: rating.ConferenceOut, Callee: "sip:0033123456789@example.com;user=phone", AnsweredAt: answered, DurationMillis: 3_600_000},
		{Kind: rating.TollFreeIn, Callee: "+1 800 555 0100", Home: "GB", AnsweredAt: answered, DurationMillis: 5_000},
		{Kind: rating.UserIn, AnsweredAt: answered, DurationMillis: 5_000},
		{Kind: rating.Emergency, Callee: "112", AnsweredAt: answered, DurationMillis: 5_000},
	}
}

func TestPriceDoesNotAllocate(t *testing.T) {
	d := load(t, os.DirFS("testdata/example"))
	for _, c := range typicalCalls() {
		if n := testing.AllocsPerRun(100, func() {
			if _, err := d.Price(&c); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.Kind, n)
		}
	}
}

func BenchmarkPrice(b *testing.B) {
	d := load(b, os.DirFS("testdata/example"))
	calls := typicalCalls()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := d.Price(&calls[i%len(calls)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPriceInternational(b *testing.B) {
	d := load(b, os.DirFS("testdata/example"))
	c := &typicalCalls()[1]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Price(c); err != nil {
			b.Fatal(err)
		}
	}
}
