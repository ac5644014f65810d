package rating

import (
	"math"
	"time"
)

// MaxSplit is the longest call that a deck with split_at_band prices: it looks at
// every change of band within the call.
const MaxSplit = 31 * 24 * time.Hour

// charge prices c by its rate. A part of a second counts as one.
func (d *deck) charge(c *CDR, m match, e *Explanation) (Charge, error) {
	t := m.rule.table
	tariff := t.tariff(m.row)
	charge := Charge{
		Currency: d.Currency, Deck: d.Version, Rule: m.rule.number,
		Destination: t.destination(m.row), Prefix: t.prefix(m.row), Band: d.bandName(m.row.band),
	}
	seconds := wholeSeconds(c.DurationMillis)
	if seconds <= uint64(tariff.grace) {
		e.because("the call is not longer than the grace of its rate")
		return charge, nil
	}
	var b bill
	if e != nil {
		b.parts = new([]Part)
	}
	b.add(tariff.fee, 60)
	var charged uint64
	if d.split {
		if c.DurationMillis > MaxSplit.Milliseconds() {
			return Charge{}, &Fault{BadDuration, "the call is longer than " + MaxSplit.String() + ", the most that a deck with split_at_band prices"}
		}
		charged = d.meterSplit(&b, c.AnsweredAt, m, seconds)
	} else {
		charged = t.steps(tariff).meter(&b, 0, seconds)
	}
	amount, ok := d.rounding.round(&b)
	if ok {
		e.billed(&b, amount)
	}
	switch {
	case tariff.max != noMax && (!ok || amount > tariff.max):
		amount = tariff.max
	case !ok:
		return Charge{}, &Fault{OutOfBounds, "the charge is above " + MaxTotal.String() + ": check the duration and the rate"}
	}
	charge.Amount, charge.ChargedSeconds = amount, int64(charged) //nolint:gosec // at most 2^63/1000 and an increment
	return charge, nil
}

func wholeSeconds(millis int64) uint64 {
	seconds := uint64(millis) / 1000 //nolint:gosec // not negative
	if millis%1000 > 0 {
		seconds++
	}
	return seconds
}

// meterSplit bills a call by the rates in force while it lasts: each increment by
// the one in force when it begins. Where none is, the one before goes on.
func (d *deck) meterSplit(b *bill, answered time.Time, m match, seconds uint64) (pos uint64) {
	t := m.rule.table
	for r := m.row; pos < seconds; {
		began := b.count()
		pos = t.steps(t.tariff(r)).meter(b, pos, d.lasts(answered, m, r, pos, seconds))
		b.name(began, t.destination(r), t.prefix(r), d.bandName(r.band))
		if next := d.find(answered, m, pos); next != nil {
			r = next
		}
	}
	return pos
}

// lasts returns the first second after pos at which another rate than r is in
// force, at most seconds.
func (d *deck) lasts(answered time.Time, m match, r *row, pos, seconds uint64) uint64 {
	for {
		if pos = d.nextChange(answered, m, pos); pos >= seconds {
			return seconds
		}
		if other := d.find(answered, m, pos); other != nil && other != r {
			return pos
		}
	}
}

// find returns the rate in force at a second of a call, or nil.
func (d *deck) find(answered time.Time, m match, second uint64) *row {
	return m.rule.table.find(m.digits, d.moment(secondOf(answered, second), m.rule.table))
}

// nextChange returns a second after pos before which the rate in force does not
// change.
func (d *deck) nextChange(answered time.Time, m match, pos uint64) uint64 {
	const perSecond = int64(time.Second / time.Microsecond)
	at := secondOf(answered, pos)
	change := m.rule.table.nextChange(at.UnixMicro())
	if m.rule.table.banded {
		change = min(change, ceilMicros(d.calendar.next(at)))
	}
	if change == math.MaxInt64 {
		return math.MaxUint64
	}
	wait := change - answered.UnixMicro()
	return uint64((wait + perSecond - 1) / perSecond) //nolint:gosec // change lies after at, which is not before the answer
}

func secondOf(answered time.Time, second uint64) time.Time {
	return answered.Add(time.Duration(second) * time.Second) //nolint:gosec // at most MaxSplit and an increment
}

// ceilMicros is t in microseconds since 1970, rounded up.
func ceilMicros(t time.Time) int64 {
	return t.Add(time.Microsecond - time.Nanosecond).UnixMicro()
}
