package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/big"
	"slices"
	"text/tabwriter"

	"github.com/creditstream/creditstream/rating"
)

// totals add up what calls cost, by destination and currency. They have no bound:
// the sum of a long file may be above MaxTotal.
type totals struct {
	destinations map[totalKey]*total
	currencies   map[string]*total
	skipped      int // records that are no calls of their own
	free         int // calls that no rate was needed for
	failed       map[rating.Reason]int
}

type totalKey struct{ destination, currency string }

type total struct {
	calls           int
	seconds, micros big.Int
}

func newTotals() *totals {
	return &totals{destinations: map[totalKey]*total{}, currencies: map[string]*total{}, failed: map[rating.Reason]int{}}
}

func (t *totals) fail(reason rating.Reason) { t.failed[reason]++ }

func (t *totals) add(c *rating.Charge) {
	name := cmp.Or(c.Destination, c.Prefix)
	if name == "" && c.ChargedSeconds == 0 {
		t.free++
		return
	}
	addTo(t.destinations, totalKey{cmp.Or(name, "(any)"), c.Currency}, c)
	addTo(t.currencies, c.Currency, c)
}

func addTo[K comparable](sums map[K]*total, key K, c *rating.Charge) {
	sum := sums[key]
	if sum == nil {
		sum = new(total)
		sums[key] = sum
	}
	sum.calls++
	sum.seconds.Add(&sum.seconds, big.NewInt(c.ChargedSeconds))
	sum.micros.Add(&sum.micros, big.NewInt(int64(c.Amount)))
}

// write writes a table: destinations, what was free, errors, and the total of each
// currency.
func (t *totals) write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, calls int, seconds, charge, currency string) {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", name, calls, seconds, charge, currency) // Flush tells
	}
	_, _ = fmt.Fprintln(table, "destination\tcalls\tcharged seconds\tcharge\tcurrency")
	keys := slices.SortedFunc(maps.Keys(t.destinations), func(a, b totalKey) int {
		return cmp.Or(cmp.Compare(a.destination, b.destination), cmp.Compare(a.currency, b.currency))
	})
	for _, key := range keys {
		sum := t.destinations[key]
		row(key.destination, sum.calls, sum.seconds.String(), sum.charge(), key.currency)
	}
	if t.free > 0 {
		row("(free)", t.free, "-", "-", "-")
	}
	if t.skipped > 0 {
		row("(skipped)", t.skipped, "-", "-", "-")
	}
	for _, reason := range slices.Sorted(maps.Keys(t.failed)) {
		row("(error "+string(reason)+")", t.failed[reason], "-", "-", "-")
	}
	for _, currency := range slices.Sorted(maps.Keys(t.currencies)) {
		sum := t.currencies[currency]
		row("total", sum.calls, sum.seconds.String(), sum.charge(), currency)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the totals: %w", err)
	}
	return nil
}

// charge writes the sum as Micros does.
func (t *total) charge() string {
	return new(big.Rat).SetFrac(&t.micros, big.NewInt(1_000_000)).FloatString(6)
}
