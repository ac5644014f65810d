package rating

import (
	"errors"
	"fmt"
	"strconv"
)

// Micros is an amount of money in millionths (10^-6) of the major unit of its
// currency: 1_500_000 is 1.50 USD.
type Micros int64

const (
	// MaxTotal bounds every amount and every sum of amounts, on both sides of
	// zero: it stays below 2^53, so that a double (a number in Lua) compares
	// it exactly.
	MaxTotal Micros = 9_000_000_000_000_000

	// MaxCharge is the default bound of one charge: 10,000 major units. Price
	// does not apply it; whoever debits does, with the bound configured there.
	MaxCharge Micros = 10_000_000_000
)

// microsPlaces is the number of fraction digits of Micros.
const microsPlaces = 6

// ParseMicros reads an amount in major units, such as "-12.3456". The grammar
// is -?[0-9]+(\.[0-9]{1,6})?: no plus, exponent, space or separator. It is an
// error if s is not of that form or lies outside +-MaxTotal.
func ParseMicros(s string) (Micros, error) {
	text, negative := s, false
	if text != "" && text[0] == '-' {
		text, negative = text[1:], true
	}
	n, err := parseFixed(text, microsPlaces, uint64(MaxTotal))
	if err != nil {
		return 0, fmt.Errorf("parse amount %q: %w", s, err)
	}
	m := Micros(n) //nolint:gosec // n <= MaxTotal
	if negative {
		m = -m
	}
	return m, nil
}

// AppendTo appends the text of String to dst.
func (m Micros) AppendTo(dst []byte) []byte {
	n := uint64(m) //nolint:gosec // two's complement; negated below, right for the lowest int64 too
	if m < 0 {
		dst = append(dst, '-')
		n = -n
	}
	const unit = 1_000_000
	dst = strconv.AppendUint(dst, n/unit, 10)
	dst = append(dst, '.')
	fraction := n % unit
	for place := uint64(unit / 10); place > 0; place /= 10 {
		dst = append(dst, '0'+byte(fraction/place%10))
	}
	return dst
}

// String writes m in major units, always with six fraction digits: "12.345600".
func (m Micros) String() string {
	var buf [24]byte
	return string(m.AppendTo(buf[:0]))
}

// MarshalText writes what String returns, so that JSON carries a string.
func (m Micros) MarshalText() ([]byte, error) { return m.AppendTo(nil), nil }

// UnmarshalText reads what ParseMicros reads.
func (m *Micros) UnmarshalText(text []byte) error {
	n, err := ParseMicros(string(text))
	if err != nil {
		return err
	}
	*m = n
	return nil
}

var (
	errNotPlain = errors.New("want a plain decimal: digits, and at most one dot with digits after it")
	errPlaces   = errors.New("too many digits after the dot")
	errTooLarge = errors.New("out of range")
)

// parseFixed reads an unsigned plain decimal, [0-9]+(\.[0-9]+)?, as a multiple
// of 10^-places. It neither rounds nor goes above limit, which must be less
// than a tenth of the largest uint64.
func parseFixed(s string, places int, limit uint64) (uint64, error) {
	if s == "" {
		return 0, errNotPlain
	}
	dot := -1
	var n uint64
	large := false
	for i := range len(s) {
		switch b := s[i]; {
		case '0' <= b && b <= '9':
			if n = n*10 + uint64(b-'0'); n > limit {
				n, large = limit, true
			}
		case b == '.' && dot < 0 && 0 < i && i < len(s)-1:
			dot = i
		default:
			return 0, errNotPlain
		}
	}
	fraction := 0
	if dot >= 0 {
		fraction = len(s) - dot - 1
	}
	if fraction > places {
		return 0, fmt.Errorf("%w: at most %d", errPlaces, places)
	}
	for ; fraction < places; fraction++ {
		if n *= 10; n > limit {
			n, large = limit, true
		}
	}
	if large {
		return 0, errTooLarge
	}
	return n, nil
}
