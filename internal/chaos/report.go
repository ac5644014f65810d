package chaos

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Report is what a run has come to.
type Report struct {
	Seed     uint64
	Took     time.Duration
	Tally    Tally
	Findings []Finding
	Faults   map[Kind]int
	Troubles []string // faults that could not be injected as they were meant
	Answers  map[int]int
	Looks    int // at offsets and marks
	Insights int // into outboxes
	Started  int // processors
	LagTook  time.Duration

	wounds []*wound
}

// OK reports whether nothing was found.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Missing returns the faults of counts that did not happen.
func (r *Report) Missing(counts map[Kind]int) (out []string) {
	for _, k := range Kinds() {
		if r.Faults[k] < counts[k] {
			out = append(out, fmt.Sprintf("%s: %d of %d", k, r.Faults[k], counts[k]))
		}
	}
	return out
}

// Blind says which of the looks at the running product were fewer than one in five
// seconds of the load: a check that does not look finds nothing.
func (r *Report) Blind(span time.Duration) (out []string) {
	least := int(span / (5 * time.Second))
	if r.Looks < least {
		out = append(out, fmt.Sprintf("%d looks at offsets and marks, at least %d are needed", r.Looks, least))
	}
	if r.Insights < least {
		out = append(out, fmt.Sprintf("%d looks into outboxes, at least %d are needed", r.Insights, least))
	}
	return out
}

// perFinding is how many findings of one check are printed.
const perFinding = 20

// Write prints the report for people.
func (r *Report) Write(w io.Writer) {
	p := func(format string, a ...any) { _, _ = fmt.Fprintf(w, format+"\n", a...) }
	p("\n%-16s %6s  %s", "fault", "count", "recovery p50 / p99 / max")
	var all []time.Duration
	for _, k := range Kinds() {
		if r.Faults[k] == 0 {
			continue
		}
		took := r.recovery(k)
		all = append(all, took...)
		p("%-16s %6d  %s", k, r.Faults[k], quantiles(took))
	}
	p("%-16s %6d  %s", "all", len(all), quantiles(all))
	t := r.Tally
	p("\nCDRs read            %d = %d charged + %d free + %d duplicate + %d parked", t.CDRs, t.Charged, t.Free, t.Duplicates, t.Parked)
	p("commands             %d on %d accounts", t.Commands, t.Accounts)
	p("redelivered          %d rated records, %d dead letters; %d CDRs were told anew by another timeline", t.RatedAgain, t.LettersAgain, t.Retold)
	p("events               %d, %d repeated (%d per million), %d of abandoned timelines, which have the last word on levels of %d accounts", t.Events, t.EventsAgain, perMillion(t.EventsAgain, t.Events), t.EventsAbandoned, t.LevelsAbandoned)
	p("payment requests     %d, %d repeated", t.Requests, t.RequestsAgain)
	p("API answers          %s", answers(r.Answers))
	p("processors started   %d; offsets and marks compared %d times, outboxes %d times; lag 0 after %s", r.Started, r.Looks, r.Insights, r.LagTook.Round(100*time.Millisecond))
	for _, x := range r.Troubles {
		p("trouble              %s", x)
	}
	p("")
	for _, c := range Checks() {
		n := 0
		for _, f := range r.Findings {
			if f.Check != c {
				continue
			}
			if n++; n <= perFinding {
				p("VIOLATION %s", f)
			}
		}
		if n > perFinding {
			p("VIOLATION %s: and %d more", c, n-perFinding)
		}
	}
	verdict := "PASS"
	if !r.OK() {
		verdict = fmt.Sprintf("FAIL: %d violations", len(r.Findings))
	}
	p("seed %d, %s: %s", r.Seed, r.Took.Round(time.Second), verdict)
}

func perMillion(n, of int) int {
	if of == 0 {
		return 0
	}
	return int(int64(n) * 1_000_000 / int64(of))
}

func (r *Report) recovery(k Kind) (out []time.Duration) {
	for _, x := range r.wounds {
		if x.kind == k {
			out = append(out, x.healed)
		}
	}
	return out
}

func quantiles(all []time.Duration) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	at := func(percent int) time.Duration {
		return all[min(len(all)-1, len(all)*percent/100)].Round(100 * time.Millisecond)
	}
	return fmt.Sprintf("%s / %s / %s", at(50), at(99), at(100))
}

func answers(by map[int]int) string {
	var words []string
	for code, n := range by {
		words = append(words, fmt.Sprintf("%d: %d", code, n))
	}
	slices.SortFunc(words, cmp.Compare)
	return strings.Join(words, ", ")
}
