package rating

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxBands is the most bands of a deck: each call of one with bands looks at them.
const maxBands = 32

// calendarLines are the parts of a deck.yaml that make its calendar.
type calendarLines struct {
	zone     *time.Location // nil: UTC
	bands    []band
	holidays []int64
}

func (lines *calendarLines) calendar() *calendar {
	return newCalendar(cmp.Or(lines.zone, time.UTC), lines.bands, lines.holidays)
}

func zoneInto(into **time.Location) func(*yaml.Node) string {
	return func(n *yaml.Node) string {
		zone, err := LoadZone(scalar(n))
		if err != nil {
			return "the name of a time zone, such as UTC or Europe/Paris"
		}
		*into = zone
		return ""
	}
}

func (f *deckFile) readBands(n *yaml.Node, lines *calendarLines) string {
	if n.Kind != yaml.MappingNode {
		return `names with days and times, such as peak: {days: mon-fri, from: "08:00", to: "19:00"}`
	}
	for i := 0; i < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		b := band{name: scalar(name), days: everyDay, to: minutesPerDay}
		switch {
		case b.name == "":
			f.at(name.Line, name.Column, "bands: want a name")
		case slices.ContainsFunc(lines.bands, func(other band) bool { return other.name == b.name }):
			f.at(name.Line, name.Column, "bands: %s is there twice", b.name)
		case len(lines.bands) == maxBands:
			f.at(name.Line, name.Column, "bands: want at most %d", maxBands)
			return ""
		}
		f.mapping(value, []key{
			{"days", false, func(n *yaml.Node) string { return f.readDays(n, &b.days) }},
			{"from", false, clockInto(&b.from, 0, minutesPerDay-1)},
			{"to", false, clockInto(&b.to, 0, minutesPerDay)},
		})
		if b.from == b.to {
			f.at(value.Line, value.Column, "bands: %s ends when it begins: leave both times out for a whole day", b.name)
		}
		lines.bands = append(lines.bands, b)
	}
	return ""
}

const wantDays = "days such as mon-fri, [sat, sun] or [sun, holidays]"

// readDays reads a list of days and runs of days, or one of them.
func (f *deckFile) readDays(n *yaml.Node, into *daySet) string {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	*into = 0
	for _, item := range items {
		for word := range strings.SplitSeq(scalar(item), ",") {
			days, ok := parseDays(strings.TrimSpace(word))
			if !ok {
				f.at(item.Line, item.Column, "days: %q: want %s", item.Value, wantDays)
				return ""
			}
			*into |= days
		}
	}
	return wantUnless(*into != 0, wantDays)
}

// parseDays reads a day, a run of days such as fri-mon, or holidays.
func parseDays(s string) (daySet, bool) {
	if s == "holidays" {
		return holidayClass, true
	}
	first, last, run := strings.Cut(s, "-")
	from, ok := parseDay(first)
	if !run {
		return classOf(from), ok
	}
	to, okTo := parseDay(last)
	if !ok || !okTo {
		return 0, false
	}
	set := classOf(to)
	for day := from; day != to; day = (day + 1) % 7 {
		set |= classOf(day)
	}
	return set, true
}

func parseDay(s string) (time.Weekday, bool) {
	for day := range time.Weekday(7) {
		if strings.EqualFold(s, day.String()[:3]) {
			return day, true
		}
	}
	return 0, false
}

// clockInto reads a time of the day into minutes.
func clockInto(into *int, low, high int) func(*yaml.Node) string {
	return func(n *yaml.Node) string {
		const want = `a time of the day with two digits each, such as "08:00"`
		s := scalar(n)
		digits := strings.Replace(s, ":", "", 1)
		if len(s) != 5 || s[2] != ':' || len(digits) != 4 || strings.Trim(digits, "0123456789") != "" {
			return want
		}
		hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
		*into = hour*60 + minute
		return wantUnless(minute < 60 && low <= *into && *into <= high, want)
	}
}

func (f *deckFile) readHolidays(n *yaml.Node, lines *calendarLines) string {
	const want = "dates such as 2026-12-25"
	if n.Kind != yaml.SequenceNode {
		return "a list of " + want
	}
	for _, item := range n.Content {
		date, err := time.Parse(time.DateOnly, scalar(item))
		if err != nil {
			f.at(item.Line, item.Column, "holidays: %q: want %s", item.Value, want)
			continue
		}
		lines.holidays = append(lines.holidays, date.Unix()/(24*60*60))
	}
	return ""
}
