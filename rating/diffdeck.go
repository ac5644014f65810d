package rating

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// diffTerms says what two deck.yaml say differently about prices, a line each.
func diffTerms(a, b *deck) []string {
	var lines []string
	differ := func(name, before, after string) {
		if before != after {
			lines = append(lines, fmt.Sprintf("%s: %s, before %s", name, cmp.Or(after, "none"), cmp.Or(before, "none")))
		}
	}
	differ("currency", a.Currency, b.Currency)
	differ("home_country", string(a.home[:]), string(b.home[:]))
	differ("country_groups", a.groupNames(), b.groupNames())
	differ("timezone", a.calendar.zone.String(), b.calendar.zone.String())
	differ("split_at_band", strconv.FormatBool(a.split), strconv.FormatBool(b.split))
	differ("rounding", a.rounding.String(), b.rounding.String())
	differ("unrated", a.unrated(), b.unrated())
	lines = append(lines, diffBands(a.calendar, b.calendar)...)
	for _, kind := range Kinds() {
		if !kind.AlwaysFree() {
			differ("rules of "+string(kind), a.ruleNames(kind), b.ruleNames(kind))
		}
	}
	return lines
}

// diffBands compares bands by name, and their order, which says which goes first.
func diffBands(a, b *calendar) []string {
	var lines []string
	if !slices.Equal(a.holidays, b.holidays) {
		lines = append(lines, fmt.Sprintf("holidays: %d days, before %d: they are not the same", len(b.holidays), len(a.holidays)))
	}
	if before, after := bandNames(a.bands), bandNames(b.bands); before != after {
		return append(lines, fmt.Sprintf("bands: [%s], before [%s]", after, before))
	}
	for i := range a.bands {
		if a.bands[i] != b.bands[i] {
			lines = append(lines, fmt.Sprintf("bands: %s has other days or times", a.bands[i].name))
		}
	}
	return lines
}

func (d *deck) unrated() string {
	if d.park {
		return "park"
	}
	return "free"
}

// groupNames writes country_groups as deck.yaml does, its countries sorted.
func (d *deck) groupNames() string {
	members := make(map[country][]string)
	for c, first := range d.groups {
		members[first] = append(members[first], string(c[:]))
	}
	var groups []string
	for list := range maps.Values(members) {
		slices.Sort(list)
		groups = append(groups, "["+strings.Join(list, ", ")+"]")
	}
	slices.Sort(groups)
	return strings.Join(groups, ", ")
}

// ruleNames says by which rules a kind is priced, in their order.
func (d *deck) ruleNames(kind Kind) string {
	var words []string
	for _, r := range d.rules[kind] {
		if r.table == nil {
			words = append(words, "free")
		} else {
			words = append(words, r.scope.String()+" "+r.tableName)
		}
	}
	return strings.Join(words, ", then ")
}

// picos writes picos in major units.
func picos(n uint64) string {
	return decimal.NewFromBigInt(new(big.Int).SetUint64(n), -picoPlaces).String()
}
