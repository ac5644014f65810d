package cdr

import (
	"time"

	"github.com/creditstream/creditstream/rating"
)

// A stamp is a date and time of day as written.
type stamp struct {
	year, month, day, hour, minute, second, nanos int

	zoned bool
	east  time.Duration // of UTC, if zoned
}

// instant returns the time that a slot holds, in UTC: a date and time of day with
// or without zone, or digits since 1970. Without a zone it is in the plan's zone,
// or in UTC where the format says so. ok is false when there is none: absent,
// empty, or one of the values that switches write for "never": years 0 and 1, and
// 1970-01-01T00:00:00.
func (r *row) instant(slot int, zone *time.Location) (t time.Time, ok bool) {
	b := r.text(slot)
	if len(b) == 0 {
		return t, false
	}
	if _, digits := decimal(b, 1); digits {
		return r.epoch(slot, time.Second)
	}
	s, problem := readStamp(b)
	if problem != "" {
		r.fail(rating.BadField, slot, problem)
		return t, false
	}
	if s.never() {
		return t, false
	}
	switch {
	case s.zoned:
		t = s.in(time.UTC).Add(-s.east)
	case zone == nil:
		r.fail(rating.NoZone, slot, "has no time zone; expected the source's zone in the mapping (zone: Europe/Paris) or with --zone")
		return t, false
	default:
		t = s.local(zone)
	}
	return r.believed(slot, t)
}

// readStamp reads 2006-01-02 15:04:05, with T or a space, a year of two digits
// (of this century), a fraction, and a zone as Z, +01:00 or +0100.
func readStamp(b []byte) (s stamp, problem string) {
	const layout = "06-01-02 15:04:05"
	const unlike = "is not a time; expected one such as 2026-11-22 07:00:00 or 2026-11-22T07:00:00.125Z"
	century := 20
	if len(b) > 4 && b[4] == '-' {
		if century = two(b); century < 0 {
			return s, unlike
		}
		b = b[2:]
	}
	if len(b) < len(layout) || b[2] != '-' || b[5] != '-' || b[8] != ' ' && b[8] != 'T' || b[11] != ':' || b[14] != ':' {
		return s, unlike
	}
	year := two(b)
	s = stamp{
		year: century*100 + year, month: two(b[3:]), day: two(b[6:]),
		hour: two(b[9:]), minute: two(b[12:]), second: two(b[15:]),
	}
	if b = b[len(layout):]; len(b) > 0 {
		if s.nanos, b, problem = fraction(b); problem != "" {
			return s, problem
		}
	}
	if s.zoned = len(b) > 0; s.zoned {
		if s.east, problem = east(b); problem != "" {
			return s, problem
		}
	}
	switch {
	case year < 0:
		return s, unlike
	case s.never():
	case s.month < 1 || s.month > 12 || s.day < 1 || s.day > daysIn(s.year, s.month):
		return s, "has a date that is in no calendar"
	case s.hour < 0 || s.hour > 23 || s.minute < 0 || s.minute > 59 || s.second < 0 || s.second > 59:
		return s, "has a time of day outside 00:00:00 to 23:59:59"
	}
	return s, ""
}

// east reads all of b as a zone, RFC 3339 or the same without the colon.
func east(b []byte) (d time.Duration, problem string) {
	if len(b) == len("+0100") {
		b = []byte{b[0], b[1], b[2], ':', b[3], b[4]}
	}
	d, ok := offset(b)
	if !ok {
		return 0, "has something after the seconds that is no zone; expected Z, or an offset such as +01:00"
	}
	return d, ""
}

// never reports whether the stamp is one that switches write for no time.
func (s *stamp) never() bool {
	return s.year <= 1 || *s == stamp{year: 1970, month: 1, day: 1, zoned: s.zoned}
}

// none reports whether a text stands for no time: empty, zero, or a stamp that
// switches write for never.
func none(text []byte) bool {
	if nanos, digits := decimal(text, time.Second); digits || len(text) == 0 {
		return nanos == 0
	}
	s, problem := readStamp(text)
	return problem == "" && s.never()
}

func (s *stamp) in(zone *time.Location) time.Time {
	return time.Date(s.year, time.Month(s.month), s.day, s.hour, s.minute, s.second, s.nanos, zone)
}

// local returns the time at which clocks of a zone showed the stamp: the first
// time where they showed it twice (the hour that is repeated in autumn); where they
// never showed it (the hour that is left out in spring), the time that a clock
// which had not been changed yet would have had.
func (s *stamp) local(zone *time.Location) time.Time {
	shown := s.in(time.UTC)
	offsetAt := func(t time.Time) time.Duration {
		_, seconds := t.In(zone).Zone()
		return time.Duration(seconds) * time.Second
	}
	before, after := offsetAt(shown.Add(-24*time.Hour)), offsetAt(shown.Add(24*time.Hour))
	unchanged, changed := shown.Add(-before), shown.Add(-after)
	if !shows(unchanged, zone, shown) && shows(changed, zone, shown) {
		return changed
	}
	return unchanged // where clocks were set back both show it, and this is the first
}

// shownAgain returns the second time at which clocks of a zone show what they show
// at t, where t is in the hour that is repeated in autumn; else t.
func shownAgain(t time.Time, zone *time.Location) time.Time {
	_, offset := t.In(zone).Zone()
	_, later := t.Add(24 * time.Hour).In(zone).Zone()
	again := t.Add(time.Duration(offset-later) * time.Second)
	if _, then := again.In(zone).Zone(); offset > later && then == later {
		return again
	}
	return t
}

// shows reports whether clocks of a zone show, at t, what clocks in UTC show at
// shown.
func shows(t time.Time, zone *time.Location, shown time.Time) bool {
	_, seconds := t.In(zone).Zone()
	return t.Add(time.Duration(seconds) * time.Second).Equal(shown)
}
