package rating_test

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

// A line is a rate as a test draws it.
type line struct {
	prefix      string
	fee, price  int64 // picos
	first, next int64
	from, to    time.Time
}

func picos(n int64) string { return fmt.Sprintf("%d.%012d", n/1_000_000_000_000, n%1_000_000_000_000) }

func drawLine(t *rapid.T) line {
	return line{
		prefix: rapid.StringOfN(rapid.RuneFrom([]rune("012")), 0, 5, -1).Draw(t, "prefix"),
		fee:    rapid.Int64Range(0, 2_000_000_000_000).Draw(t, "fee"),
		price:  rapid.Int64Range(0, 60_000_000_000_000).Draw(t, "price"),
		first:  rapid.Int64Range(1, 90).Draw(t, "first"),
		next:   rapid.Int64Range(1, 90).Draw(t, "next"),
	}
}

// monthOrNone draws the start of a month of 2026, or the zero time.
func monthOrNone(t *rapid.T, label string) time.Time {
	month := time.Month(rapid.IntRange(0, 12).Draw(t, label))
	if month == 0 {
		return time.Time{}
	}
	return time.Date(2026, month, 1, 0, 0, 0, 0, time.UTC)
}

func deckOf(rounding string, lines []line) fstest.MapFS {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339)
	}
	var table strings.Builder
	table.WriteString("prefix,destination,country,setup_fee,price,first,next,valid_from,valid_to\n")
	for i, l := range lines {
		fmt.Fprintf(&table, "%s,%d,,%s,%s,%d,%d,%s,%s\n", l.prefix, i, picos(l.fee), picos(l.price), l.first, l.next, stamp(l.from), stamp(l.to))
	}
	return oneTable(rounding, table.String())
}

func loadDrawn(t *rapid.T, fsys fstest.MapFS) *rating.Decks {
	d, err := rating.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// exact is the charge by fractions, rounded to digits; mode is the deck's.
func exact(l line, millis int64, digits int, mode string) rating.Micros {
	seconds := (millis + 999) / 1000
	charged := l.first
	for charged < seconds {
		charged += l.next
	}
	sum := big.NewRat(l.price*charged, 60)
	sum.Add(sum, new(big.Rat).SetInt64(l.fee))
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(12-digits)), nil)
	sum.Quo(sum, new(big.Rat).SetInt(unit))
	n, rest := new(big.Int).QuoRem(sum.Num(), sum.Denom(), new(big.Int))
	twice := new(big.Int).Lsh(rest, 1).Cmp(sum.Denom())
	if mode == "up" && rest.Sign() > 0 || mode == "half_up" && twice >= 0 ||
		mode == "half_even" && (twice > 0 || twice == 0 && n.Bit(0) == 1) {
		n.Add(n, big.NewInt(1))
	}
	for range 6 - digits {
		n.Mul(n, big.NewInt(10))
	}
	return rating.Micros(n.Int64())
}

func TestAmountAgreesWithFractions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLine(t)
		l.prefix = ""
		if rapid.Bool().Draw(t, "round numbers") { // else ties are never drawn
			l.price -= l.price % 30_000_000_000_000
			l.fee -= l.fee % 500_000_000_000
		}
		digits := rapid.IntRange(0, 6).Draw(t, "digits")
		mode := rapid.SampledFrom([]string{"half_up", "half_even", "up", "down"}).Draw(t, "mode")
		millis := rapid.Int64Range(1, 8_000_000).Draw(t, "millis")
		d := loadDrawn(t, deckOf(fmt.Sprintf("rounding: {digits: %d, mode: %s}", digits, mode), []line{l}))
		got, err := d.Price(userOut(millis))
		if want := exact(l, millis, digits, mode); err != nil || got.Amount != want {
			t.Fatalf("got %s, %v, want %s", got.Amount, err, want)
		}
	})
}

func TestChargesGrowWithDurationAndAreNeverNegative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLine(t)
		l.prefix = ""
		d := loadDrawn(t, deckOf("", []line{l}))
		shorter := rapid.Int64Range(0, 1<<45).Draw(t, "millis")
		longer := shorter + rapid.OneOf(rapid.Int64Range(0, 5000), rapid.Int64Range(0, 1<<62)).Draw(t, "more")
		a, errA := d.Price(userOut(shorter))
		b, errB := d.Price(userOut(longer))
		switch {
		case errB != nil:
			if reasonOf(errB) != rating.OutOfBounds {
				t.Fatal(errB)
			}
		case errA != nil:
			t.Fatalf("%d ms is priced, %d ms is not: %v", longer, shorter, errA)
		case a.Amount < 0 || a.Amount > b.Amount || b.Amount > rating.MaxTotal || a.ChargedSeconds > b.ChargedSeconds:
			t.Fatalf("%d ms: %+v; %d ms: %+v", shorter, a, longer, b)
		case b.ChargedSeconds*1000 < longer:
			t.Fatalf("%d ms: %+v", longer, b)
		}
	})
}

// scan is the slow, obvious lookup: the index of the best line, or -1.
func scan(lines []line, digits string, at time.Time) int {
	best := -1
	for i, l := range lines {
		valid := !at.Before(l.from) && (l.to.IsZero() || at.Before(l.to))
		if !valid || !strings.HasPrefix(digits, l.prefix) {
			continue
		}
		if best < 0 || len(l.prefix) > len(lines[best].prefix) ||
			len(l.prefix) == len(lines[best].prefix) && l.from.After(lines[best].from) {
			best = i
		}
	}
	return best
}

func TestLookupAgreesWithScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lines []line
		taken := make(map[string]bool)
		for range rapid.IntRange(1, 40).Draw(t, "lines") {
			l := drawLine(t)
			l.from, l.to = monthOrNone(t, "from"), monthOrNone(t, "to")
			key := l.prefix + l.from.String()
			if taken[key] || strings.HasPrefix(l.prefix, "00") || !l.to.IsZero() && !l.from.Before(l.to) {
				continue
			}
			taken[key] = true
			lines = append(lines, l)
		}
		if len(lines) == 0 {
			t.Skip("no lines left")
		}
		d := loadDrawn(t, deckOf("", lines))
		for range 20 {
			c := userOut(1000)
			digits := rapid.StringOfN(rapid.RuneFrom([]rune("0123")), 1, 20, -1).Draw(t, "callee")
			if c.Callee = "+" + digits; digits[0] == '0' {
				c.Callee = strings.TrimLeft(digits, "0") // no country code begins with 0
				if digits = c.Callee; digits == "" {
					continue
				}
			}
			c.AnsweredAt = time.Date(2026, time.Month(rapid.IntRange(1, 12).Draw(t, "month")), rapid.IntRange(1, 2).Draw(t, "day"), 0, 0, 0, 0, time.UTC)
			got, err := d.Price(c)
			best := scan(lines, digits, c.AnsweredAt)
			if best < 0 {
				if reasonOf(err) != rating.NoRate {
					t.Fatalf("%s: got %+v, %v, want no_rate", c.Callee, got, err)
				}
				continue
			}
			if err != nil || got.Destination != strconv.Itoa(best) || got.Prefix != lines[best].prefix {
				t.Fatalf("%s: got %+v, %v, want line %d", c.Callee, got, err, best)
			}
		}
	})
}
