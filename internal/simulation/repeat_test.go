//go:build !race

// With the race detector goroutines take so long that they are preempted, and then
// the order of those that run at one instant is chance: `make simulate` runs this
// without it.

package simulation_test

import (
	"runtime"
	"strings"
	"testing"
)

// TestOneSeedIsOneRun: what a seed does, it does again, to the nanosecond.
func TestOneSeedIsOneRun(t *testing.T) {
	if *childFlag != "" || *seedFlag >= 0 {
		return
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for s := range uint64(40) {
		a, b := simulate(t, options{seed: s, trace: true}), simulate(t, options{seed: s, trace: true})
		for i := range a.trace {
			if i >= len(b.trace) || a.trace[i] != b.trace[i] {
				t.Fatalf("seed %d, line %d:\n%s\nand then\n%s", s, i, a.trace[i], strings.Join(b.trace[min(i, len(b.trace)):min(i+1, len(b.trace))], ""))
			}
		}
	}
}
