package cdr_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

// The seconds of 2000-01-01T00:00:00Z and 9999-12-31T23:59:59Z, and one late
// second that has a year of four digits in every zone.
const (
	firstSecond   = 946684800
	lastSecond    = 253402300799
	lastInAnyZone = lastSecond - 86400
)

func answered(t *testing.T, at string) (time.Time, bool) {
	t.Helper()
	c, fault := decode(t, plus(`"answered_at":"`+at+`"`))
	if fault != nil && (fault.Reason != rating.BadField || fault.Field != "answered_at") {
		t.Fatalf("%s: %v", at, fault)
	}
	return c.AnsweredAt, fault == nil
}

// sameAsTimeParse holds for texts without the few things that time.Parse takes
// and RFC 3339 does not: a comma, an hour of one digit, offsets over a day.
func sameAsTimeParse(t *testing.T, at string) {
	t.Helper()
	got, ok := answered(t, at)
	want, err := time.Parse(time.RFC3339Nano, at)
	want = want.UTC()
	wantOK := err == nil && want.Unix() >= firstSecond && want.Unix() <= lastSecond
	if ok != wantOK {
		t.Fatalf("%s: accepted %t; time.Parse gives %v, %v", at, ok, want, err)
	}
	if ok && (got != want || got.Location() != time.UTC) {
		t.Fatalf("%s: got %v, want %v", at, got, want)
	}
}

func TestAnsweredAtAgreesWithTimeParse(t *testing.T) {
	t.Parallel()
	// Numbers one beyond what is allowed on both sides, so that both outcomes are common.
	rapid.Check(t, func(rt *rapid.T) {
		year := rapid.OneOf(rapid.IntRange(1998, 2110), rapid.IntRange(0, 9999), rapid.IntRange(9998, 9999)).Draw(rt, "year")
		zone := "Z"
		if rapid.Bool().Draw(rt, "offset") {
			zone = fmt.Sprintf("%s%02d:%02d", rapid.SampledFrom([]string{"+", "-"}).Draw(rt, "sign"),
				rapid.IntRange(0, 23).Draw(rt, "zone hour"), rapid.IntRange(0, 59).Draw(rt, "zone minute"))
		}
		sameAsTimeParse(t, fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d%s%s", year,
			rapid.IntRange(0, 13).Draw(rt, "month"), rapid.IntRange(0, 32).Draw(rt, "day"),
			rapid.IntRange(0, 24).Draw(rt, "hour"), rapid.IntRange(0, 60).Draw(rt, "minute"),
			rapid.IntRange(0, 60).Draw(rt, "second"),
			rapid.StringMatching(`(\.[0-9]{0,9})?`).Draw(rt, "fraction"), zone))
	})
}

func TestAnsweredAtKnowsTheCalendar(t *testing.T) {
	t.Parallel()
	years := []int{1999, 2000, 2001, 2004, 2023, 2024, 2026, 2100, 2200, 2300, 2400, 4000, 9996, 9999}
	for _, year := range years {
		for month := range 14 {
			for day := range 33 {
				sameAsTimeParse(t, fmt.Sprintf("%04d-%02d-%02dT12:00:00Z", year, month, day))
			}
		}
	}
}

func TestAnsweredAtReadsAnyInstant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := time.Unix(
			rapid.Int64Range(firstSecond, lastInAnyZone).Draw(rt, "second"), rapid.Int64Range(0, 999_999_999).Draw(rt, "nanos"),
		).UTC()
		at := instant(rt, want)
		if got, ok := answered(t, at); !ok || got != want {
			rt.Fatalf("%s: got %v, %t, want %v", at, got, ok, want)
		}
	})
}

// One byte of a good time replaced: it is the same as time.Parse says, or refused.
func TestAnsweredAtIsStrict(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"2026-11-22T07:00:00Z", "2024-02-29T23:59:59.999999999+01:30", "2026-11-22T07:00:00.5-00:00"} {
		sameAsTimeParse(t, good)
		for i := range good {
			for b := byte(' '); b < 0x7f; b++ {
				if b == '"' || b == '\\' {
					continue
				}
				at := good[:i] + string(rune(b)) + good[i+1:]
				got, ok := answered(t, at)
				if !ok {
					continue
				}
				want, err := time.Parse(time.RFC3339Nano, at)
				if err != nil || got != want.UTC() {
					t.Fatalf("%s: got %v, time.Parse gives %v, %v", at, got, want, err)
				}
			}
		}
	}
}
