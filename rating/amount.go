package rating

import (
	"math/bits"
	"strconv"
)

// Prices are kept as picos, 10^-12 of a major unit, because a price per minute
// may have more digits than Micros.
const (
	picoPlaces = 12
	maxPicos   = 1_000_000_000_000_000_000 // a million major units: ten of them fit a uint64
)

// A roundMode says which way an amount goes that its deck's digits cannot hold.
type roundMode int

const (
	halfUp roundMode = iota
	halfEven
	up
	down
)

func parseRoundMode(s string) (roundMode, bool) {
	switch s {
	case "half_up":
		return halfUp, true
	case "half_even":
		return halfEven, true
	case "up":
		return up, true
	case "down":
		return down, true
	}
	return 0, false
}

// String is how deck.yaml writes m.
func (m roundMode) String() string {
	return [...]string{halfUp: "half_up", halfEven: "half_even", up: "up", down: "down"}[m]
}

// rounding is the one rounding of a call.
type rounding struct {
	mode  roundMode
	unit  uint64 // of the last digit kept, in 1/60 pico; even
	scale uint64 // of the last digit kept, in micros
}

// newRounding keeps so many digits after the dot, 0 to microsPlaces.
func newRounding(digits int, mode roundMode) rounding {
	r := rounding{mode: mode, unit: 60, scale: 1}
	for range picoPlaces - digits {
		r.unit *= 10
	}
	for range microsPlaces - digits {
		r.scale *= 10
	}
	return r
}

// round returns the total of b as an amount of so many digits. It reports false
// above MaxTotal.
func (r rounding) round(b *bill) (Micros, bool) {
	if b.over || b.hi >= r.unit/2 {
		return 0, false // 2^63 units or more: far above MaxTotal, and Div64 could not hold it
	}
	n, rest := bits.Div64(b.hi, b.lo, r.unit)
	if r.goesUp(n, rest) {
		n++
	}
	if n > uint64(MaxTotal)/r.scale {
		return 0, false
	}
	return Micros(n * r.scale), true //nolint:gosec // at most MaxTotal, by the line above
}

// String says what r does, for people.
func (r rounding) String() string {
	digits := microsPlaces
	for scale := r.scale; scale > 1; scale /= 10 {
		digits--
	}
	return r.mode.String() + " to " + strconv.Itoa(digits) + " digits"
}

// goesUp reports whether n units and a rest become n+1 units.
func (r rounding) goesUp(n, rest uint64) bool {
	half := r.unit / 2
	switch r.mode {
	case halfUp:
		return rest >= half
	case halfEven:
		return rest > half || rest == half && n%2 == 1
	case up:
		return rest > 0
	case down:
		return false
	}
	return false
}

// A bill adds up what one call costs before rounding. In 1/60 pico every part of
// it is a whole number, of 128 bits.
type bill struct {
	hi, lo uint64
	over   bool    // beyond 128 bits
	parts  *[]Part // what was added, for explanations; nil: not wanted
}

// add adds so many seconds at a price per minute, in picos. A fee is a minute at
// that price.
func (b *bill) add(price, seconds uint64) {
	hi, lo := bits.Mul64(price, seconds)
	var carry uint64
	b.lo, carry = bits.Add64(b.lo, lo, 0)
	b.hi, carry = bits.Add64(b.hi, hi, carry)
	b.over = b.over || carry != 0
}

// count returns how many parts there are.
func (b *bill) count() int {
	if b.parts == nil {
		return 0
	}
	return len(*b.parts)
}

// name says of the parts from a number on by which rate they were billed.
func (b *bill) name(from int, destination, prefix, band string) {
	for i := from; i < b.count(); i++ {
		p := &(*b.parts)[i]
		p.Destination, p.Prefix, p.Band = destination, prefix, band
	}
}
