package httpapi

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

//go:embed high_risk.csv
var highRiskCSV string

// A highRisk is the list of destinations that are blocked unless an account says
// otherwise.
type highRisk []riskyPrefix

type riskyPrefix struct {
	prefix string // digits
	home   string // country whose callers are at home there; empty: nobody is
}

// newHighRisk reads the list. It panics on a line that cannot be read: the list is
// a part of the program, and a call that it should block must not pass.
func newHighRisk() highRisk {
	var list highRisk
	number := 0
	for line := range strings.Lines(highRiskCSV) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		f := strings.SplitN(line, ",", 3)
		if len(f) != 3 || f[0] == "" || strings.Trim(f[0], "0123456789") != "" || f[1] != "" && !twoLetters(f[1]) {
			panic("httpapi: high_risk.csv:" + strconv.Itoa(number) + ": expected digits, a country or nothing, and a name")
		}
		list = append(list, riskyPrefix{f[0], f[1]})
	}
	return list
}

// has reports whether a call to a number, from a home country, is on the list.
func (h highRisk) has(digits, home string) bool {
	return slices.ContainsFunc(h, func(r riskyPrefix) bool {
		return strings.HasPrefix(digits, r.prefix) && (r.home == "" || r.home != home)
	})
}

func beginsWithAny(digits string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(digits, p) })
}
