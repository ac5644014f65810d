package auth

import (
	"fmt"
	"slices"
	"strings"
)

// A Scope is a set of things that a caller may do, or that a route asks for one of.
// No scope at all is not "everybody": that is Anyone.
type Scope uint8

// The scopes. Tokens have the first four.
const (
	Read      Scope = 1 << iota // accounts, ledgers, quotes, metrics
	Authorize                   // may this call be made, and what does it cost
	Fund                        // top-ups, results of recharges
	Admin                       // everything
	Signed                      // what a signature over it may do: report the result of a recharge
	Anyone                      // needs no credentials
)

//nolint:gochecknoglobals // immutable
var scopeNames = []struct {
	scope Scope
	name  string
}{{Read, "read"}, {Authorize, "authorize"}, {Fund, "fund"}, {Admin, "admin"}}

// Names lists the scopes of s that tokens can have.
func (s Scope) Names() (names []string) {
	for _, n := range scopeNames {
		if s&n.scope != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// ParseScopes reads names that are separated by commas, such as "read,fund".
func ParseScopes(text string) (Scope, error) {
	var s Scope
	for word := range strings.SplitSeq(text, ",") {
		i := slices.IndexFunc(scopeNames, func(n struct {
			scope Scope
			name  string
		},
		) bool {
			return n.name == word
		})
		if i < 0 {
			return 0, fmt.Errorf("%q is no scope: expected some of read, authorize, fund, admin, separated by commas without spaces", word)
		}
		s |= scopeNames[i].scope
	}
	return s, nil
}
