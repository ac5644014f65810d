package cdr

import "time"

// The years, in UTC, in which a call can have been answered. Below lie zeroed
// clocks; above, times that RFC 3339 cannot write.
const (
	minYear = 2000
	maxYear = 9999
)

// parseRFC3339 reads a date and time with zone, as RFC 3339 has it with upper
// case T and Z, up to nine digits of a fraction and no leap second. The result
// is in UTC. When b is none, problem says why and what was expected.
func parseRFC3339(b []byte) (t time.Time, problem string) {
	const layout = "2006-01-02T15:04:05"
	if len(b) <= len(layout) ||
		b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return t, "is not a time of RFC 3339; expected one such as 2026-11-22T07:00:00.125Z"
	}
	century, year := two(b), two(b[2:])
	month, day := two(b[5:]), two(b[8:])
	hour, minute, second := two(b[11:]), two(b[14:]), two(b[17:])
	if min(century, year) < 0 {
		return t, "has a year that is not four digits"
	}
	year += century * 100
	switch {
	case month < 1 || month > 12 || day < 1 || day > daysIn(year, month):
		return t, "has a date that is in no calendar"
	case hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59:
		return t, "has a time of day outside 00:00:00 to 23:59:59"
	}
	nanos, zone, problem := fraction(b[len(layout):])
	if problem != "" {
		return t, problem
	}
	east, ok := offset(zone)
	if !ok {
		return t, "has no zone; expected Z, or an offset such as +01:00"
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).Add(-east)
	// The year is judged in UTC: with an offset it may not be the one written.
	if t.Year() < minYear || t.Year() > maxYear {
		return time.Time{}, "has a year, in UTC, outside 2000 to 9999"
	}
	return t, ""
}

// two returns the value of the two digits that b begins with, or -1.
func two(b []byte) int {
	tens, ones := b[0]-'0', b[1]-'0'
	if tens > 9 || ones > 9 {
		return -1
	}
	return int(tens)*10 + int(ones)
}

// daysIn returns the days of a month, 1 to 12, of the Gregorian calendar.
func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// fraction reads an optional fraction of a second and returns what follows.
func fraction(b []byte) (nanos int, rest []byte, problem string) {
	const maxDigits = 9
	if b[0] != '.' {
		return 0, b, ""
	}
	b = b[1:]
	n := 0
	for n < len(b) && b[n]-'0' <= 9 {
		nanos = nanos*10 + int(b[n]-'0') // may wrap around, but then n is too large
		n++
	}
	if n == 0 || n > maxDigits {
		return 0, nil, "has a fraction of a second that is not 1 to 9 digits"
	}
	for range maxDigits - n {
		nanos *= 10
	}
	return nanos, b[n:], ""
}

// offset reads all of b as Z or as an offset east of UTC.
func offset(b []byte) (time.Duration, bool) {
	if len(b) == 1 && b[0] == 'Z' {
		return 0, true
	}
	if len(b) != len("+01:00") || (b[0] != '+' && b[0] != '-') || b[3] != ':' {
		return 0, false
	}
	hours, minutes := two(b[1:]), two(b[4:])
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return 0, false
	}
	east := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if b[0] == '-' {
		return -east, true
	}
	return east, true
}
