package rating

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// tariff reads what a row charges: either price, first and next, or steps.
func (f *tableFile) tariff() (tariff, steps) {
	t := tariff{max: noMax, grace: f.seconds(colGrace, 0, 0)}
	if _, given := f.cell(colSetupFee); given {
		t.fee = f.money(colSetupFee)
	}
	t.max = f.maxCharge()
	s, given := f.cell(colSteps)
	if !given {
		price, first, next := f.money(colPrice), f.seconds(colFirst, 1, defaultIncrement), f.seconds(colNext, 1, defaultIncrement)
		return t, firstAndNext(price, first, next)
	}
	for _, other := range []string{colPrice, colFirst, colNext} {
		if _, both := f.cell(other); both {
			f.wrong(other, "want nothing, as steps says it: keep one of them")
		}
	}
	all, err := f.parseSteps(s)
	if err != nil {
		f.wrong(colSteps, "%v", err)
	}
	return t, all
}

// maxCharge returns noMax if none is given.
func (f *tableFile) maxCharge() Micros {
	s, given := f.cell(colMaxCharge)
	if !given {
		return noMax
	}
	n, err := parseFixed(f.plain(s), microsPlaces, uint64(MaxTotal))
	if err != nil {
		f.wrong(colMaxCharge, "%q: %v", s, err)
		return noMax
	}
	if n%f.deck.deck.rounding.scale != 0 {
		f.wrong(colMaxCharge, "%q has more digits after the dot than charges of this deck, which are rounded %s", s, f.deck.deck.rounding)
	}
	return Micros(n) //nolint:gosec // at most MaxTotal
}

// money reads a cell in picos. Nothing is not money.
func (f *tableFile) money(column string) uint64 {
	if _, there := f.columns[column]; !there {
		f.wrong(colSteps, "want steps, as there is no column %s", column)
		return 0
	}
	s, _ := f.cell(column)
	picos, err := f.picos(s)
	if err != nil {
		f.wrong(column, "%q: %v", s, err)
	}
	return picos
}

func (f *tableFile) picos(s string) (uint64, error) {
	return parseFixed(f.plain(s), picoPlaces, maxPicos)
}

// plain returns a number with a dot, if the deck writes commas. A number that has
// a dot too is left as it is, and refused.
func (f *tableFile) plain(s string) string {
	if !f.deck.decimalComma {
		return s
	}
	if strings.Contains(s, ".") {
		return strings.ReplaceAll(s, ".", "'") // no number
	}
	return strings.Replace(s, ",", ".", 1)
}

var (
	errStep  = errors.New("want second:price/increment, several of them separated by semicolons, such as 0:0.40/30;60:0.20/10")
	errSteps = fmt.Errorf("want at most %d steps", maxSteps)
	errFirst = errors.New("want the first step to be from second 0")
)

// parseSteps reads steps such as 0:0.40/30;60:0.20/10: from second 0 at 0.40 a
// minute by 30 s, from second 60 at 0.20 a minute by 10 s.
func (f *tableFile) parseSteps(s string) (steps, error) {
	words := strings.Split(s, ";")
	if len(words) > maxSteps {
		return nil, errSteps
	}
	all := make(steps, 0, len(words))
	for i, word := range words {
		next, err := f.parseStep(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", word, err)
		}
		if i == 0 {
			if next.from != 0 {
				return nil, errFirst
			}
			all = append(all, next)
			continue
		}
		last := all[i-1]
		switch {
		case next.from <= last.from:
			return nil, fmt.Errorf("%q: want a step from after second %d", word, last.from)
		case (next.from-last.from)%last.by != 0:
			return nil, fmt.Errorf("%q: the step before it lasts %d s: want a multiple of its increment, %d s",
				word, next.from-last.from, last.by)
		}
		all = append(all, next)
	}
	return all, nil
}

func (f *tableFile) parseStep(s string) (step, error) {
	from, rest, ok := strings.Cut(s, ":")
	price, by, okBy := strings.Cut(rest, "/")
	if !ok || !okBy {
		return step{}, errStep
	}
	second, err := strconv.ParseUint(from, 10, 32)
	if err != nil {
		return step{}, errStep
	}
	increment, err := strconv.ParseUint(by, 10, 32)
	if err != nil || increment < 1 || increment > maxIncrement {
		return step{}, fmt.Errorf("increment %q: want 1 to %d seconds", by, maxIncrement)
	}
	picos, err := f.picos(price)
	if err != nil {
		return step{}, fmt.Errorf("price %q: %w", price, err)
	}
	return step{picos, uint32(second), uint32(increment)}, nil
}
