package corrections

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// nameOf names a call among all: 128 bits of what makes two CDRs one call.
func nameOf(source, id, account string, answered time.Time) string {
	at := ""
	if !answered.IsZero() {
		at = strconv.FormatInt(answered.UnixNano(), 10)
	}
	h := sha256.New()
	for _, s := range [...]string{source, id, account, at} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

const idPrefix = "correct/"

func commandID(name string, number int) string { return idPrefix + name + "/" + strconv.Itoa(number) }

// parseID takes a command id apart; ok is false when it is no correction.
func parseID(id string) (name string, number int, ok bool) {
	rest, ok := strings.CutPrefix(id, idPrefix)
	if !ok {
		return "", 0, false
	}
	name, digits, ok := strings.Cut(rest, "/")
	number, err := strconv.Atoi(digits)
	return name, number, ok && err == nil && number > 0
}

// A call is what the logs say of one call.
type call struct {
	of        balance.CDRName
	account   string
	paid      bool // a record of a kind that is paid for has claimed the id
	free      bool // one that is free whatever its account has: to the memory of ids another call
	charge    rating.Micros
	currency  string
	steps     map[int]step // by number
	elsewhere []*call      // that were charged, and may be this one under another name
}

// callOf returns the call of a name, a new one if it is the first time.
func (r *run) callOf(of balance.CDRName, account string) *call {
	name := nameOf(of.Source, of.ID, account, of.AnsweredAt)
	if r.calls[name] == nil {
		r.calls[name] = &call{of: of, account: account, steps: map[int]step{}}
	}
	return r.calls[name]
}

func (c *call) name() string { return nameOf(c.of.Source, c.of.ID, c.account, c.of.AnsweredAt) }

// A step is one earlier correction.
type step struct {
	amount  rating.Micros // that the customer was given
	refused bool
}

// cost is what the call has cost so far.
func (c *call) cost() rating.Micros {
	cost := c.charge
	for _, s := range c.steps {
		if !s.refused {
			cost -= s.amount
		}
	}
	return cost
}

// next is the number of the next correction.
func (c *call) next() int {
	last := 0
	for n := range c.steps {
		last = max(last, n)
	}
	return last + 1
}

// takeRated takes a rated record of the call. Of the records of a call at most one
// is charged, but for copies of different price that a failover has put into
// another order: then the last one counts. A record of no length is free and claims
// no id: the call itself may still come, so it counts as never rated. A duplicate
// cost nothing.
func (c *call) takeRated(v *rated) {
	switch v.Outcome {
	case balance.Charged:
		c.paid, c.charge, c.currency = true, v.Charge, v.Currency
	case balance.Free:
		claims, free := v.Millis > 0, v.Kind.AlwaysFree()
		c.paid, c.free = c.paid || claims && !free, c.free || claims && free
	case balance.Duplicate, balance.Parked, balance.Skipped:
	}
}

// refuse notes that a correction had no effect.
func (c *call) refuse(number int) {
	s := c.steps[number]
	s.refused = true
	c.steps[number] = s
}

// takeStep takes a correction from the log: of one number, the first one counts.
func (c *call) takeStep(number int, amount rating.Micros) {
	if _, later := c.steps[number]; !later {
		c.steps[number] = step{amount: amount}
	}
}
