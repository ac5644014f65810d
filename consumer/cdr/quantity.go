package cdr

import (
	"bytes"
	"math"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// decimal reads digits with an optional point and fraction into nanos of its
// unit: "12.5" with a unit of a second is 12,500,000,000. What is finer than a
// nano is dropped. What is beyond 64 bits gives math.MaxInt64.
func decimal(b []byte, unit time.Duration) (nanos int64, ok bool) {
	whole, part, pointed := bytes.Cut(b, []byte("."))
	if len(whole) == 0 || pointed && len(part) == 0 {
		return 0, false
	}
	beyond := false
	for _, c := range whole {
		if c-'0' > 9 {
			return 0, false
		}
		beyond = beyond || nanos > (math.MaxInt64/int64(unit)-9)/10-1
		if !beyond {
			nanos = nanos*10 + int64(c-'0')
		}
	}
	nanos *= int64(unit)
	scale := int64(unit)
	for _, c := range part {
		if c-'0' > 9 {
			return 0, false
		}
		scale /= 10
		nanos += int64(c-'0') * scale
	}
	if beyond {
		return math.MaxInt64, true
	}
	return nanos, true
}

// A measure is a field that tells how long a call was, and its unit.
type measure struct {
	slot int
	unit time.Duration
}

// duration takes the first of measures, finest first, that the record has, in
// whole milliseconds: what is finer is dropped. It is how long an answered call
// was.
func (r *row) duration(measures ...measure) {
	for i, m := range measures {
		if !r.has(m.slot) {
			continue
		}
		text := r.text(m.slot)
		positive, negative := bytes.CutPrefix(text, []byte("-"))
		nanos, ok := decimal(positive, m.unit)
		switch {
		case !ok:
			r.fail(rating.BadField, m.slot, "is not a duration; expected digits, such as 42 or 42.5")
		case negative && nanos > 0:
			r.fail(rating.BadDuration, m.slot, "is negative; expected zero or more")
		case nanos == math.MaxInt64:
			r.fail(rating.BadDuration, m.slot, "is longer than 292 years; expected how long a call was")
		}
		r.millis = nanos / int64(time.Millisecond)
		r.agrees(m.slot, measures[i+1:]...)
		return
	}
	r.fail(rating.MissingField, measures[len(measures)-1].slot, "is absent from an answered call; expected how long it was")
}

// agrees stops a call of no length, by the slot that says so, of which a coarser
// measure says 2 or more: rounding makes 1 of nothing, and no more.
func (r *row) agrees(finest int, coarser ...measure) {
	for i := 0; r.millis == 0 && i < len(coarser); i++ {
		m := coarser[i]
		if nanos, ok := decimal(r.text(m.slot), m.unit); ok && nanos >= 2*int64(m.unit) {
			r.fail(rating.BadDuration, finest, "tells of no length, and "+r.plan.names[m.slot]+" of one; expected both to tell of the same")
		}
	}
}

// between takes the time from answer to end as the duration of the call.
func (r *row) between(end time.Time, slot int) {
	d := end.Sub(r.answeredAt)
	if d < 0 {
		r.backwards(slot)
		return
	}
	r.millis = d.Milliseconds()
}

// backwards stops a row whose end, in slot, is before its answer.
func (r *row) backwards(slot int) {
	r.fail(rating.BadDuration, slot, "is before the answer; expected an end after it")
}

// ordered stops a row that says in slot that the call ended before the answer, by
// a second or more: one of the two may be in whole seconds. A slot without a time
// says nothing.
func (r *row) ordered(slot int) {
	end, ok := r.instant(slot, r.plan.zone)
	answered := r.answeredAt.Truncate(time.Second)
	if !ok || !end.Before(answered) {
		return
	}
	if r.plan.zone == nil || shownAgain(end, r.plan.zone).Before(answered) {
		r.backwards(slot)
	}
}

// epoch returns the time that a slot holds as digits since 1970. ok is false
// when there is none: absent, empty or zero.
func (r *row) epoch(slot int, unit time.Duration) (t time.Time, ok bool) {
	if !r.has(slot) {
		return t, false
	}
	nanos, ok := decimal(r.text(slot), unit)
	if !ok {
		r.fail(rating.BadField, slot, "is not a time; expected digits that count since 1970")
		return t, false
	}
	if nanos == 0 {
		return t, false
	}
	if nanos == math.MaxInt64 {
		r.fail(rating.BadField, slot, "is not a time; expected one before the year 2262")
		return t, false
	}
	return r.believed(slot, time.Unix(0, nanos).UTC())
}

// believed returns t unless its year is none in which a call can have been.
func (r *row) believed(slot int, t time.Time) (time.Time, bool) {
	if t.Year() < minYear || t.Year() > maxYear {
		r.fail(rating.BadField, slot, "has a year, in UTC, outside 2000 to 9999")
		return time.Time{}, false
	}
	return t, true
}
