package rating_test

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

// What follows prices calls again, slowly and obviously: it walks a call increment
// by increment with the clock of package time, and adds fractions.

type refBand struct {
	name     string
	days     []string // mon ... sun, holidays
	from, to string   // "08:00"
}

type refRow struct {
	prefix     string
	fee        int64 // micros
	steps      []refStep
	grace      int64
	max        int64 // micros; -1: none
	band       string
	from, to   time.Time
	lineNumber int
}

type refStep struct {
	from, by int64
	price    int64 // micros
}

type refDeck struct {
	zone     *time.Location
	bands    []refBand
	holidays []string
	split    bool
	rows     []refRow
}

func (d *refDeck) dayName(t time.Time) string {
	if slices.Contains(d.holidays, t.Format(time.DateOnly)) {
		return "holidays"
	}
	return strings.ToLower(t.Weekday().String()[:3])
}

func (d *refDeck) bandAt(t time.Time) string {
	local := t.In(d.zone)
	year, month, day := local.Date()
	yesterday := time.Date(year, month, day-1, 12, 0, 0, 0, time.UTC)
	today := time.Date(year, month, day, 12, 0, 0, 0, time.UTC)
	clock := local.Format("15:04")
	for _, b := range d.bands {
		in := func(t time.Time) bool { return slices.Contains(b.days, d.dayName(t)) }
		if b.from < b.to && in(today) && b.from <= clock && clock < b.to ||
			b.from >= b.to && (in(today) && clock >= b.from || in(yesterday) && clock < b.to) {
			return b.name
		}
	}
	return ""
}

func (d *refDeck) rowAt(digits string, t time.Time) *refRow {
	var best *refRow
	band := d.bandAt(t)
	for i := range d.rows {
		r := &d.rows[i]
		if !strings.HasPrefix(digits, r.prefix) || r.band != "" && r.band != band ||
			t.Before(r.from) || !r.to.IsZero() && !t.Before(r.to) {
			continue
		}
		if best == nil || len(r.prefix) > len(best.prefix) || len(r.prefix) == len(best.prefix) &&
			(r.band != "" && best.band == "" || (r.band != "") == (best.band != "") && r.from.After(best.from)) {
			best = r
		}
	}
	return best
}

// price returns the row at answer time, nil if there is none, the charge and the
// seconds that it is for.
func (d *refDeck) price(digits string, answered time.Time, millis int64) (*refRow, int64, int64) {
	first := d.rowAt(digits, answered)
	if first == nil {
		return nil, 0, 0
	}
	seconds := (millis + 999) / 1000
	if seconds <= first.grace {
		return first, 0, 0
	}
	sum := big.NewRat(first.fee, 1)
	row, pos := first, int64(0)
	for pos < seconds {
		if now := d.rowAt(digits, answered.Add(time.Duration(pos)*time.Second)); d.split && now != nil {
			row = now
		}
		in := row.steps[0]
		for _, s := range row.steps {
			if s.from <= pos {
				in = s
			}
		}
		sum.Add(sum, big.NewRat(in.price*in.by, 60))
		pos += in.by
	}
	sum.Add(sum, big.NewRat(1, 2)) // half up
	amount := new(big.Int).Quo(sum.Num(), sum.Denom()).Int64()
	if first.max >= 0 {
		amount = min(amount, first.max)
	}
	return first, amount, pos
}

func drawRefDeck(t *rapid.T) *refDeck {
	zone, err := rating.LoadZone(rapid.SampledFrom([]string{"UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}).Draw(t, "zone"))
	if err != nil {
		t.Fatal(err)
	}
	d := &refDeck{zone: zone, split: rapid.Bool().Draw(t, "split")}
	days := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun", "holidays"}
	clock := rapid.SampledFrom([]string{"00:00", "02:00", "02:30", "03:00", "08:00", "12:15", "19:00", "23:59"})
	for i := range rapid.IntRange(0, 3).Draw(t, "bands") {
		b := refBand{name: fmt.Sprint("b", i), from: clock.Draw(t, "from"), to: clock.Draw(t, "to")}
		b.days = rapid.SliceOfNDistinct(rapid.SampledFrom(days), 1, 8, rapid.ID).Draw(t, "days")
		if b.from != b.to {
			d.bands = append(d.bands, b)
		}
	}
	d.holidays = rapid.SliceOfN(rapid.SampledFrom([]string{"2026-03-29", "2026-03-30", "2026-03-08", "2026-10-25", "2026-06-01"}), 0, 3).Draw(t, "holidays")
	taken := map[string]bool{}
	for i := range rapid.IntRange(1, 12).Draw(t, "rows") {
		r := refRow{
			prefix: rapid.SampledFrom([]string{"", "1", "12", "123", "2"}).Draw(t, "prefix"),
			fee:    rapid.Int64Range(0, 2_000_000).Draw(t, "fee"), steps: drawSteps(t),
			grace: rapid.SampledFrom([]int64{0, 0, 5, 100}).Draw(t, "grace"), max: rapid.SampledFrom([]int64{-1, -1, 0, 5_000_000}).Draw(t, "max"),
			from: instantOrNone(t, "from"), to: instantOrNone(t, "to"), lineNumber: i,
		}
		if len(d.bands) > 0 && rapid.Bool().Draw(t, "banded") {
			r.band = rapid.SampledFrom(d.bands).Draw(t, "band").name
		}
		key := r.prefix + "/" + r.band + "/" + r.from.String()
		if taken[key] || !r.to.IsZero() && !r.from.Before(r.to) {
			continue
		}
		taken[key] = true
		d.rows = append(d.rows, r)
	}
	return d
}

func drawSteps(t *rapid.T) []refStep {
	var steps []refStep
	from := int64(0)
	for range rapid.IntRange(1, 3).Draw(t, "steps") {
		s := refStep{from, rapid.SampledFrom([]int64{1, 6, 20, 60, 3600}).Draw(t, "by"), rapid.Int64Range(0, 3_000_000).Draw(t, "price")}
		steps = append(steps, s)
		from += s.by * rapid.Int64Range(1, 5).Draw(t, "increments")
	}
	return steps
}

// instantOrNone draws a time near a change of the clock or in the middle of a
// month, or the zero time.
func instantOrNone(t *rapid.T, label string) time.Time {
	return rapid.SampledFrom([]time.Time{
		{},
		{},
		time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC),
		time.Date(2026, 3, 29, 1, 0, 0, 500_000, time.UTC),
		time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC),
		time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
	}).Draw(t, label)
}

// files writes the deck as an operator would.
func (d *refDeck) files() (more, table string) {
	var b strings.Builder
	fmt.Fprintf(&b, "timezone: %s\nsplit_at_band: %v\nholidays: [%s]\n", d.zone, d.split, strings.Join(d.holidays, ", "))
	if len(d.bands) > 0 {
		b.WriteString("bands:\n")
	}
	for _, band := range d.bands {
		fmt.Fprintf(&b, "  %s: {days: [%s], from: %q, to: %q}\n", band.name, strings.Join(band.days, ", "), band.from, band.to)
	}
	var csv strings.Builder
	csv.WriteString("prefix,destination,setup_fee,steps,grace,max_charge,band,valid_from,valid_to\n")
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.RFC3339Nano)
	}
	for _, r := range d.rows {
		var steps []string
		for _, s := range r.steps {
			steps = append(steps, fmt.Sprintf("%d:%s/%d", s.from, rating.Micros(s.price), s.by))
		}
		limit := ""
		if r.max >= 0 {
			limit = rating.Micros(r.max).String()
		}
		fmt.Fprintf(&csv, "%s,%d,%s,%s,%d,%s,%s,%s,%s\n", r.prefix, r.lineNumber, rating.Micros(r.fee), strings.Join(steps, ";"),
			r.grace, limit, r.band, stamp(r.from), stamp(r.to))
	}
	return b.String(), csv.String()
}

func TestPriceAgreesWithAReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := drawRefDeck(t)
		if len(ref.rows) == 0 {
			return // nothing valid was drawn
		}
		d, err := rating.Load(oneTable(ref.files()))
		if err != nil {
			t.Fatal(err)
		}
		near := rapid.SampledFrom([]time.Time{
			time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC), time.Date(2026, 3, 8, 6, 0, 0, 0, time.UTC),
			time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 5, 0, 0, 0, time.UTC),
			time.Date(2026, 4, 4, 14, 0, 0, 0, time.UTC), time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC),
		})
		for range 4 {
			digits := rapid.SampledFrom([]string{"123456", "129999", "199999", "299999", "399999"}).Draw(t, "callee")
			answered := near.Draw(t, "near").Add(time.Duration(rapid.Int64Range(0, int64(14*time.Hour)).Draw(t, "after")))
			if rapid.Bool().Draw(t, "whole seconds") {
				answered = answered.Truncate(time.Second)
			}
			millis := rapid.OneOf(rapid.Int64Range(1, 300_000), rapid.Int64Range(1, 100_000_000)).Draw(t, "millis")
			row, amount, seconds := ref.price(digits, answered, millis)
			got, err := d.Price(&rating.CDR{Kind: rating.UserOut, Callee: "+" + digits, AnsweredAt: answered, DurationMillis: millis})
			if row == nil {
				if reasonOf(err) != rating.NoRate {
					t.Fatalf("%s at %s: got %+v, %v, want no_rate", digits, answered, got, err)
				}
				continue
			}
			if err != nil || int64(got.Amount) != amount || got.ChargedSeconds != seconds || got.Destination != strconv.Itoa(row.lineNumber) || got.Band != row.band {
				t.Fatalf("%s at %s for %d ms: got %+v, %v, want row %d, %d micros, %d s", digits, answered, millis, got, err, row.lineNumber, amount, seconds)
			}
			longer := millis + rapid.Int64Range(0, 5_000_000).Draw(t, "longer")
			more, err := d.Price(&rating.CDR{Kind: rating.UserOut, Callee: "+" + digits, AnsweredAt: answered, DurationMillis: longer})
			if err != nil || more.Amount < got.Amount || more.ChargedSeconds < got.ChargedSeconds || got.Amount < 0 {
				t.Fatalf("%s at %s: %d ms: %+v; %d ms: %+v, %v", digits, answered, millis, got, longer, more, err)
			}
		}
	})
}
