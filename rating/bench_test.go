package rating_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

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
	small, banded := load(t, os.DirFS("testdata/example")), bigDeck(200, bandedBig)
	for _, d := range []*rating.Decks{small, load(t, banded.files)} {
		for _, c := range slices.Concat(typicalCalls(), banded.calls[:10]) {
			if n := testing.AllocsPerRun(100, func() {
				_, _ = d.Price(&c)
			}); n != 0 && reasonOf(second(d.Price(&c))) == rating.NotParked {
				t.Errorf("%s: %v allocations", c.Kind, n)
			}
		}
	}
}

func second[A, B any](_ A, b B) B { return b }

// A priceList is a deck of many prefixes, as a carrier's price list, and calls to it.
type priceList struct {
	files    fstest.MapFS
	prefixes []string
	calls    []rating.CDR
}

// The kinds of big decks.
const (
	flatBig   = ""
	bandedBig = "timezone: Europe/Paris\nbands:\n  peak: {days: mon-fri, from: \"08:00\", to: \"19:00\"}\n  night: {from: \"22:00\", to: \"06:00\"}\n" +
		"holidays: [2026-01-01, 2026-05-01, 2026-12-25]\n"
	splitBig = bandedBig + "split_at_band: true\n"
)

// bigDeck draws a deck of n prefixes, the same ones for the same n. More is added
// to its deck.yaml; if that has bands, each prefix has a rate for peak beside the
// one for any time.
func bigDeck(n int, more string) *priceList {
	draw := rand.New(rand.NewPCG(1, uint64(n)))
	b := &priceList{}
	taken := map[string]bool{}
	var table strings.Builder
	table.WriteString("prefix,destination,country,setup_fee,price,first,next,band\n")
	increments := []string{"60,60", "30,6", "1,1", "6,6"}
	for len(taken) < n {
		// A country code, then an area, then ever finer ranges of it.
		prefix := strconv.Itoa(20+draw.IntN(80)) + digits(draw, draw.IntN(7))
		if taken[prefix] {
			continue
		}
		taken[prefix] = true
		b.prefixes = append(b.prefixes, prefix)
		name := fmt.Sprintf("Destination %d", draw.IntN(1+n/25))
		row := func(band string) {
			fmt.Fprintf(&table, "%s,%s,FR,0,0.%04d,%s,%s\n", prefix, name, draw.IntN(10_000), increments[draw.IntN(len(increments))], band)
		}
		row("")
		if more != "" {
			row("peak")
		}
	}
	for range 4096 {
		at := time.Date(2026, 4, 1, 0, 0, draw.IntN(3600*24*60), 0, time.UTC)
		prefix := b.prefixes[draw.IntN(n)]
		callee := prefix + digits(draw, 11-len(prefix))
		b.calls = append(b.calls, rating.CDR{
			Kind: rating.UserOut, Callee: "+" + callee, AnsweredAt: at, DurationMillis: draw.Int64N(600_000) + 1,
		})
	}
	b.files = oneTable(more, table.String())
	return b
}

func digits(draw *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0' + byte(draw.IntN(10))
	}
	return string(b)
}

const carrier = 50_000 // prefixes of a carrier's price list

// BenchmarkPrice prices calls by a deck of 50,000 prefixes. What a call costs is
// to be found in at most 300 ns, 600 with bands, without an allocation.
func BenchmarkPrice(b *testing.B) {
	for _, kind := range []struct{ name, more string }{{"flat", flatBig}, {"bands", bandedBig}, {"split", splitBig}} {
		deck := bigDeck(carrier, kind.more)
		d := load(b, deck.files)
		b.Run(kind.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := d.Price(&deck.calls[i%len(deck.calls)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReach finds how long a call may last: with money for the longest, and
// with so little that it has to be searched for.
func BenchmarkReach(b *testing.B) {
	for _, kind := range []struct{ name, more string }{{"flat", flatBig}, {"split", splitBig}} {
		deck := bigDeck(carrier, kind.more)
		d := load(b, deck.files)
		for _, money := range []struct {
			name   string
			micros rating.Micros
		}{{"rich", rating.MaxTotal}, {"poor", 500_000}} {
			b.Run(kind.name+"/"+money.name, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					if _, err := d.Reach(&deck.calls[i%len(deck.calls)], money.micros, 4*60*60); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLookup compares finding a rate with what a map for each length of
// prefix takes, the least that anybody would write.
func BenchmarkLookup(b *testing.B) {
	deck := bigDeck(carrier, flatBig)
	numbers := make([][]byte, len(deck.calls))
	for i := range deck.calls {
		numbers[i] = []byte(deck.calls[i].Callee[1:])
	}
	b.Run("table", func(b *testing.B) {
		find := rating.Lookup(load(b, deck.files), rating.UserOut, answered)
		for i := 0; b.Loop(); i++ {
			if find(numbers[i%len(numbers)]) == "" {
				b.Fatal("not found")
			}
		}
	})
	b.Run("map", func(b *testing.B) {
		var byLength [16]map[string]string
		for _, p := range deck.prefixes {
			if byLength[len(p)] == nil {
				byLength[len(p)] = make(map[string]string)
			}
			byLength[len(p)][p] = p
		}
		for i := 0; b.Loop(); i++ {
			number, found := numbers[i%len(numbers)], ""
			for n := len(number); n > 0 && found == ""; n-- {
				found = byLength[n][string(number[:n])]
			}
			if found == "" {
				b.Fatal("not found")
			}
		}
	})
}

// BenchmarkLoad reads and validates a deck of 50,000 prefixes and reports what it
// keeps in memory: at most 120 bytes a prefix.
func BenchmarkLoad(b *testing.B) {
	for _, kind := range []struct{ name, more string }{{"flat", flatBig}, {"bands", bandedBig}} {
		b.Run(kind.name, func(b *testing.B) {
			files := bigDeck(carrier, kind.more).files
			var before, after runtime.MemStats
			var kept *rating.Decks
			runtime.GC()
			runtime.ReadMemStats(&before)
			kept = load(b, files)
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				load(b, files)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/carrier, "bytes/prefix")
			runtime.KeepAlive(kept)
		})
	}
}
