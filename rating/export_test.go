package rating

import "time"

// Normalise is normalise with a buffer of its own.
func Normalise(s string) (string, bool) {
	var buf [maxDigits]byte
	digits, ok := normalise(s, &buf)
	return string(digits), ok
}

// Lookup returns the function that finds the prefix of the rate for digits in the
// first table of a kind, "" if there is none.
func Lookup(d *Decks, kind Kind, at time.Time) func(digits []byte) string {
	dk := d.at(at)
	t := dk.rules[kind][0].table
	m := dk.moment(at, t)
	return func(digits []byte) string {
		r := t.find(digits, m)
		if r == nil {
			return ""
		}
		return t.prefix(r)
	}
}
