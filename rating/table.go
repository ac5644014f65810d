package rating

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
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

// A validity is a time span [from, to), in microseconds since 1970.
type validity struct{ from, to int64 }

// always has no limits.
//
//nolint:gochecknoglobals // immutable
var always = validity{math.MinInt64, math.MaxInt64}

// A rate is one line of a table as it is read.
type rate struct {
	prefix      string // digits
	destination string
	country     country // none: domestic to nobody
	tariff      tariff  // without its place in the steps of a table
	steps       steps
	band        int8 // index, or noBand
	validity    validity
}

// A row is a rate as a table keeps it: what many rates have in common is kept
// once, beside the rows.
type row struct {
	prefixAt    uint32 // in table.digits
	destination uint32 // in table.destinations
	tariff      uint32 // in table.tariffs
	validity    uint32 // in table.validities
	country     country
	prefixLen   uint8
	band        int8
}

// A node is a place in the tree of prefixes. The children of a node lie side by
// side, in the order of their digits.
type node struct {
	children uint32 // index of the first
	rows     uint32 // index of the first row of this prefix
	digits   uint16 // bit d: there is a child for digit d
	count    uint16 // rows of this prefix
}

// A table finds the rate of a number.
type table struct {
	nodes        []node // the first is the root: the empty prefix
	rows         []row  // those of one prefix side by side, the best first
	digits       string // of all prefixes, one behind the other
	destinations []string
	tariffs      []tariff
	allSteps     steps // of all tariffs
	validities   []validity
	changes      []int64 // when the validity of a rate begins or ends; rising
	banded       bool    // some rate is for a band
}

// maxRows is the most rates of one prefix.
const maxRows = math.MaxUint16

// A moment is a time as rates look at it.
type moment struct {
	micros int64 // since 1970, rounded down
	band   int   // in force then, or noBand
}

// find returns the rate with the longest prefix of digits that applies at that
// moment, or nil. Of rates of one prefix one for a band goes first, then the
// newest.
func (t *table) find(digits []byte, m moment) *row {
	digits = digits[:min(len(digits), maxPrefix)]
	var path [maxPrefix + 1]*node
	at, depth := &t.nodes[0], 0
	path[0] = at
	for _, d := range digits {
		bit := uint16(1) << (d - '0')
		if at.digits&bit == 0 {
			break
		}
		at = &t.nodes[at.children+uint32(bits.OnesCount16(at.digits&(bit-1)))] //nolint:gosec // at most 10
		depth++
		path[depth] = at
	}
	for ; depth >= 0; depth-- {
		n := path[depth]
		for i := n.rows; i < n.rows+uint32(n.count); i++ {
			r := &t.rows[i]
			if v := &t.validities[r.validity]; v.from <= m.micros && m.micros < v.to && (r.band == noBand || int(r.band) == m.band) {
				return r
			}
		}
	}
	return nil
}

// nextChange returns when after a time the validity of a rate begins or ends.
func (t *table) nextChange(micros int64) int64 {
	i, found := slices.BinarySearch(t.changes, micros)
	if found {
		i++
	}
	if i == len(t.changes) {
		return math.MaxInt64
	}
	return t.changes[i]
}

func (t *table) prefix(r *row) string {
	return t.digits[r.prefixAt : r.prefixAt+uint32(r.prefixLen)]
}

func (t *table) destination(r *row) string { return t.destinations[r.destination] }

func (t *table) tariff(r *row) *tariff { return &t.tariffs[r.tariff] }

func (t *table) steps(f *tariff) steps {
	return t.allSteps[f.firstStep : f.firstStep+f.countSteps]
}

// newTable takes rates of which no two share prefix, band and from, and at most
// maxRows a prefix.
func newTable(rates []rate) *table {
	slices.SortFunc(rates, func(a, b rate) int {
		if c := strings.Compare(a.prefix, b.prefix); c != 0 {
			return c
		}
		if plain, other := a.band == noBand, b.band == noBand; plain != other {
			if plain {
				return 1
			}
			return -1
		}
		switch {
		case a.validity.from > b.validity.from:
			return -1
		case a.validity.from < b.validity.from:
			return 1
		}
		return int(a.band) - int(b.band) // one band is in force at a time: any order will do
	})
	t := &table{nodes: make([]node, 1, len(rates)+1), rows: make([]row, len(rates))}
	k := newKeeper(t)
	for i := range rates {
		t.rows[i] = k.row(&rates[i])
		t.banded = t.banded || rates[i].band != noBand
	}
	t.digits = k.digits.String()
	for _, v := range t.validities {
		for _, at := range []int64{v.from, v.to} {
			if at != always.from && at != always.to {
				t.changes = append(t.changes, at)
			}
		}
	}
	slices.Sort(t.changes)
	t.changes = slices.Compact(t.changes)
	t.grow(0, 0, rates, 0)
	t.nodes, t.destinations, t.tariffs, t.allSteps = fit(t.nodes), fit(t.destinations), fit(t.tariffs), fit(t.allSteps)
	return t
}

// grow makes the tree below a node: rates are those of its prefix, of so many
// digits, and of longer ones; the first of them is row number first.
func (t *table) grow(at, first uint32, rates []rate, digits int) {
	own := 0
	for own < len(rates) && len(rates[own].prefix) == digits {
		own++
	}
	n := node{rows: first, count: uint16(own), children: uint32(len(t.nodes))} //nolint:gosec // at most maxRows; nodes fit memory
	rest := rates[own:]
	for i := range rest {
		n.digits |= 1 << (rest[i].prefix[digits] - '0')
	}
	t.nodes[at] = n
	for range bits.OnesCount16(n.digits) {
		t.nodes = append(t.nodes, node{})
	}
	child, begin := n.children, 0
	for i := 1; i <= len(rest); i++ {
		if i < len(rest) && rest[i].prefix[digits] == rest[begin].prefix[digits] {
			continue
		}
		t.grow(child, first+uint32(own+begin), rest[begin:i], digits+1)
		child, begin = child+1, i
	}
}

// A keeper keeps once what many rates have in common.
type keeper struct {
	table        *table
	digits       strings.Builder
	destinations map[string]uint32
	tariffs      map[string]uint32
	validities   map[validity]uint32
}

func newKeeper(t *table) *keeper {
	return &keeper{
		table: t, destinations: make(map[string]uint32), tariffs: make(map[string]uint32), validities: make(map[validity]uint32),
	}
}

func (k *keeper) row(r *rate) row {
	t := k.table
	out := row{
		prefixAt: uint32(k.digits.Len()), prefixLen: uint8(len(r.prefix)), country: r.country, band: r.band, //nolint:gosec // at most maxPrefix
		destination: once(k.destinations, &t.destinations, r.destination, r.destination),
		validity:    once(k.validities, &t.validities, r.validity, r.validity),
	}
	k.digits.WriteString(r.prefix)
	before := len(t.tariffs)
	out.tariff = once(k.tariffs, &t.tariffs, r.tariffKey(), r.tariff)
	if len(t.tariffs) > before {
		f := &t.tariffs[before]
		f.firstStep, f.countSteps = uint32(len(t.allSteps)), uint32(len(r.steps)) //nolint:gosec // fit memory
		t.allSteps = append(t.allSteps, r.steps...)
	}
	return out
}

// tariffKey tells tariffs apart.
func (r *rate) tariffKey() string { return fmt.Sprint(r.tariff, r.steps) }

// once returns the index of value in list, appended if key is new.
func once[K comparable, V any](index map[K]uint32, list *[]V, key K, value V) uint32 {
	i, found := index[key]
	if !found {
		i = uint32(len(*list)) //nolint:gosec // fits memory
		index[key] = i
		*list = append(*list, value)
	}
	return i
}

// fit copies list without room to grow.
func fit[L ~[]T, T any](list L) L {
	out := make(L, len(list))
	copy(out, list)
	return out
}
