package simulation_test

import (
	"slices"
	"strings"
	"testing"
)

// maxShrinks bounds the runs that look for a shorter one.
const maxShrinks = 600

// shrink looks for the run of the fewest events and faults that breaks the same
// promise: it leaves out ever smaller parts of them. A fault that is left out
// leaves the others where they were.
func shrink(t *testing.T, r result, seed uint64) result {
	t.Helper()
	class, _, _ := strings.Cut(r.wrong[0], ":")
	without := map[string]bool{}
	runs := 0
	try := func(leave []string) bool {
		runs++
		o := options{seed: seed, trace: true, without: map[string]bool{}}
		for name := range without {
			o.without[name] = true
		}
		for _, name := range leave {
			o.without[name] = true
		}
		next := simulate(t, o)
		if !slices.ContainsFunc(next.wrong, func(s string) bool { return strings.HasPrefix(s, class+":") }) {
			return false
		}
		without, r = o.without, next
		return true
	}
	for size := (len(r.fired) + 1) / 2; size > 0 && runs < maxShrinks; {
		shorter := false
		for at := 0; at < len(r.fired) && runs < maxShrinks; {
			if try(r.fired[at:min(at+size, len(r.fired))]) {
				shorter = true
			} else {
				at += size
			}
		}
		if size > 1 {
			size /= 2
		} else if !shorter {
			break
		}
	}
	return r
}
