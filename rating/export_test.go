package rating

import "time"

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
