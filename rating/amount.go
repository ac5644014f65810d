package rating

import "math/bits"

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

// amount returns fee + seconds*price/60, rounded; fee and price in picos, price
// per minute. It reports false above MaxTotal. fee must not exceed maxPicos.
func (r rounding) amount(fee, price, seconds uint64) (Micros, bool) {
	// In 1/60 pico everything is a whole number, of 128 bits.
	hi, lo := bits.Mul64(seconds, price)
	feeHi, feeLo := bits.Mul64(fee, 60)
	lo, carry := bits.Add64(lo, feeLo, 0)
	hi, carry = bits.Add64(hi, feeHi, carry)
	if carry != 0 || hi >= r.unit/2 {
		return 0, false // 2^63 or more: far above MaxTotal, and Div64 could not hold it
	}
	n, rest := bits.Div64(hi, lo, r.unit)
	if r.goesUp(n, rest) {
		n++
	}
	if n > uint64(MaxTotal)/r.scale {
		return 0, false
	}
	return Micros(n * r.scale), true //nolint:gosec // at most MaxTotal, by the line above
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

// increments are the seconds that a call is charged in.
type increments struct {
	first, next uint64 // 1 to maxIncrement
}

// maxIncrement is the longest increment, in seconds: a day.
const maxIncrement = 86_400

// charged returns the seconds that a call of so many seconds is charged for:
// the first increment, then as many of the next as it takes.
func (in increments) charged(seconds uint64) uint64 {
	if seconds <= in.first {
		return in.first
	}
	return in.first + (seconds-in.first+in.next-1)/in.next*in.next
}
