package rating

import (
	"slices"
	"time"
)

// maxPrefix is the longest prefix of a rate, in digits: a whole E.164 number.
const maxPrefix = 15

// A country is two capital letters; the zero value is no country.
type country [2]byte

// parseCountry reads two letters of either case.
func parseCountry(s string) (country, bool) {
	if len(s) != 2 {
		return country{}, false
	}
	var c country
	for i := range c {
		b := s[i] &^ 0x20 // a letter's capital
		if b < 'A' || 'Z' < b {
			return country{}, false
		}
		c[i] = b
	}
	return c, true
}

// A rate is one line of a table.
type rate struct {
	prefix      string // digits
	destination string
	country     country // none: domestic to nobody
	fee, price  uint64  // picos; price per minute
	increments  increments
	from, to    time.Time // [from, to); zero means no limit
}

func (r *rate) validAt(t time.Time) bool {
	return !t.Before(r.from) && (r.to.IsZero() || t.Before(r.to))
}

// A table finds the rate of a number.
type table struct {
	byPrefix map[uint64][]rate // by prefixKey, the newest from first
	lengths  uint32            // bit n: some prefix has n digits
	rows     int
}

// newTable takes rates of which no two share both prefix and from.
func newTable(rates []rate) *table {
	t := &table{byPrefix: make(map[uint64][]rate, len(rates)), rows: len(rates)}
	for _, r := range rates {
		key := prefixKey(r.prefix)
		t.byPrefix[key] = append(t.byPrefix[key], r)
		t.lengths |= 1 << len(r.prefix)
	}
	for _, same := range t.byPrefix {
		slices.SortFunc(same, func(a, b rate) int { return b.from.Compare(a.from) })
	}
	return t
}

// find returns the rate with the longest prefix of digits that is valid at that
// time, of equal ones the newest, or nil.
func (t *table) find(digits []byte, at time.Time) *rate {
	digits = digits[:min(len(digits), maxPrefix)]
	key := prefixKey(digits)
	for n := len(digits); n >= 0; n-- {
		if t.lengths&(1<<n) != 0 {
			same := t.byPrefix[key]
			for i := range same {
				if same[i].validAt(at) {
					return &same[i]
				}
			}
		}
		key /= 10
	}
	return nil
}

// prefixKey writes a 1 before the digits, so that "0" and "" differ. The key of
// a prefix one digit shorter is a tenth of it.
func prefixKey[T string | []byte](digits T) uint64 {
	key := uint64(1)
	for i := range len(digits) {
		key = key*10 + uint64(digits[i]-'0')
	}
	return key
}
