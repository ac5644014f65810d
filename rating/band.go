package rating

import (
	"slices"
	"time"
)

// noBand is the band of a rate that applies at any time, and the one in force
// when no band is.
const noBand = -1

const minutesPerDay = 24 * 60

// A band is a part of the week.
type band struct {
	name string
	days daySet
	// from and to are minutes of the day by the clock on the wall, [from, to). Where
	// to is not after from the band ends on the day after.
	from, to int
}

func (b *band) overnight() bool { return b.to <= b.from }

// covers reports whether the band is in force at a minute of a day of class
// today that follows one of class yesterday.
func (b *band) covers(yesterday, today daySet, minute int) bool {
	if b.overnight() {
		return b.days&today != 0 && minute >= b.from || b.days&yesterday != 0 && minute < b.to
	}
	return b.days&today != 0 && b.from <= minute && minute < b.to
}

// A daySet is a set of classes of days: bit time.Weekday for a day of the week
// that is no holiday, and holidayClass. A single bit is a class.
type daySet uint8

const (
	holidayClass daySet = 1 << 7
	everyDay     daySet = 0xff
)

func classOf(day time.Weekday) daySet { return 1 << day }

// A calendar says which band is in force when: where several are, the first of
// them.
type calendar struct {
	zone     *time.Location
	bands    []band
	holidays []int64 // days since 1970-01-01, rising
	edges    []int   // minutes of the day at which a band may begin or end; rising, 0 first
}

// newCalendar takes holidays in any order.
func newCalendar(zone *time.Location, bands []band, holidays []int64) *calendar {
	c := &calendar{zone: zone, bands: bands, holidays: slices.Compact(slices.Sorted(slices.Values(holidays))), edges: []int{0}}
	for _, b := range bands {
		c.edges = append(c.edges, b.from, b.to%minutesPerDay)
	}
	slices.Sort(c.edges)
	c.edges = slices.Compact(c.edges)
	return c
}

// at returns the index of the band in force at t, or noBand.
func (c *calendar) at(t time.Time) int {
	day, minute := c.clock(t)
	today, yesterday := c.class(day), c.class(day-1)
	for i := range c.bands {
		if c.bands[i].covers(yesterday, today, minute) {
			return i
		}
	}
	return noBand
}

// next returns a time after t before which the band in force does not change: when
// the clock on the wall shows the next edge, or is put forward or back.
func (c *calendar) next(t time.Time) time.Time {
	_, minute := c.clock(t)
	edge := minutesPerDay
	if i := slices.IndexFunc(c.edges, func(e int) bool { return e > minute }); i >= 0 {
		edge = c.edges[i]
	}
	then := t.Add(time.Duration(edge-minute)*time.Minute - c.sinceMinute(t))
	if _, end := t.In(c.zone).ZoneBounds(); !end.IsZero() && end.Before(then) {
		return end
	}
	return then
}

// wall returns the seconds since 1970-01-01 as the clock on the wall counts them.
func (c *calendar) wall(t time.Time) int64 {
	_, offset := t.In(c.zone).Zone()
	return t.Unix() + int64(offset)
}

// clock returns the day since 1970-01-01 and the minute of it.
func (c *calendar) clock(t time.Time) (day int64, minute int) {
	const daySeconds = 24 * 60 * 60
	wall := c.wall(t)
	day = wall / daySeconds
	rest := wall % daySeconds
	if rest < 0 {
		day, rest = day-1, rest+daySeconds
	}
	return day, int(rest / 60)
}

func (c *calendar) sinceMinute(t time.Time) time.Duration {
	seconds := c.wall(t) % 60
	if seconds < 0 {
		seconds += 60
	}
	return time.Duration(seconds)*time.Second + time.Duration(t.Nanosecond())
}

func (c *calendar) class(day int64) daySet {
	if len(c.holidays) > 0 {
		if _, holiday := slices.BinarySearch(c.holidays, day); holiday {
			return holidayClass
		}
	}
	weekday := (day + int64(time.Thursday)) % 7 // 1970-01-01 was a Thursday
	if weekday < 0 {
		weekday += 7
	}
	return classOf(time.Weekday(weekday))
}
