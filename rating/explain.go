package rating

import (
	"math/big"
	"time"

	"github.com/shopspring/decimal"
)

// An Explanation shows how a charge comes about, for people. Amounts are in major
// units of the currency, as decimals; where one has no end it is shown with
// picoPlaces digits after the dot, but never computed with.
type Explanation struct {
	Why            string     `json:"why,omitempty" doc:"One sentence: the rule that priced the call, or why it is free"`
	Deck           string     `json:"deck_id,omitempty" doc:"Id of the deck, as its deck.yaml says"`
	DeckValidFrom  *time.Time `json:"deck_valid_from,omitempty"`
	Table          string     `json:"table,omitempty" doc:"File with the matched rate"`
	RateValidFrom  *time.Time `json:"rate_valid_from,omitempty"`
	RateValidTo    *time.Time `json:"rate_valid_to,omitempty" doc:"Not included"`
	DurationMillis int64      `json:"duration_ms"`
	Seconds        int64      `json:"seconds" doc:"The duration, rounded up once"`
	SetupFee       string     `json:"setup_fee,omitempty"`
	Grace          int64      `json:"grace,omitempty" doc:"Seconds: a call that is not longer is free"`
	Steps          []Part     `json:"steps,omitempty" nullable:"false" doc:"What was charged, in the order of the call"`
	Sum            string     `json:"sum,omitempty" doc:"Setup fee and steps together, before rounding"`
	Rounding       string     `json:"rounding,omitempty"`
	Rounded        string     `json:"rounded,omitempty"`
	MaxCharge      string     `json:"max_charge,omitempty"`
}

// A Part is a run of equal increments of a call.
type Part struct {
	From        int64  `json:"from" doc:"Seconds since the answer"`
	Seconds     int64  `json:"seconds" doc:"Charged here: increments times increment"`
	Increments  int64  `json:"increments"`
	Increment   int64  `json:"increment" doc:"Seconds"`
	Price       string `json:"price" doc:"A minute"`
	Amount      string `json:"amount"`
	Destination string `json:"destination,omitempty" doc:"Of the rate in force, where the call is split"`
	Prefix      string `json:"prefix,omitempty"`
	Band        string `json:"band,omitempty"`
}

// Explain returns what Price returns, and how it comes about. The explanation is
// there, as far as it goes, with a Fault too.
func (d *Decks) Explain(c *CDR) (Charge, *Explanation, error) {
	e := &Explanation{DurationMillis: c.DurationMillis}
	charge, err := d.price(c, e)
	return charge, e, err
}

// The methods below do nothing on a nil Explanation: the hot path has none.

func (e *Explanation) because(why string) {
	if e != nil {
		e.Why = why
	}
}

func (e *Explanation) freeBy(r *rule) {
	if e != nil {
		e.Why = r.describe()
	}
}

func (e *Explanation) pricedBy(d *deck) {
	if e != nil {
		from := d.ValidFrom
		e.Deck, e.DeckValidFrom = d.ID, &from
	}
}

func (e *Explanation) matched(d *deck, m match) {
	if e == nil {
		return
	}
	rl, t := m.rule, m.rule.table.tariff(m.row)
	e.because(rl.describe())
	e.Table = rl.tableName
	v := rl.table.validities[m.row.validity]
	if v.from != always.from {
		e.RateValidFrom = instant(v.from)
	}
	if v.to != always.to {
		e.RateValidTo = instant(v.to)
	}
	e.SetupFee = picos(t.fee)
	e.Grace = int64(t.grace)
	e.Rounding = d.rounding.String()
	if t.max != noMax {
		e.MaxCharge = t.max.String()
	}
}

func (e *Explanation) billed(b *bill, rounded Micros) {
	if e == nil {
		return
	}
	if b.parts != nil {
		e.Steps = *b.parts
	}
	total := new(big.Int).SetUint64(b.hi)
	total.Lsh(total, 64).Add(total, new(big.Int).SetUint64(b.lo))
	e.Sum, e.Rounded = sixtieths(total), rounded.String()
}

// newPart is n increments of a step, the first at second pos.
func newPart(s *step, pos, n uint64) Part {
	seconds := n * uint64(s.by)
	price := new(big.Int).SetUint64(s.price)
	return Part{
		From: int64(pos), Seconds: int64(seconds), Increments: int64(n), Increment: int64(s.by), //nolint:gosec // far below 2^63
		Price:  picos(s.price),
		Amount: sixtieths(new(big.Int).Mul(price, new(big.Int).SetUint64(seconds))),
	}
}

// sixtieths writes so many 1/60 picos as a decimal.
func sixtieths(n *big.Int) string {
	return decimal.NewFromBigInt(n, -picoPlaces).DivRound(decimal.NewFromInt(60), picoPlaces).String()
}

func instant(micros int64) *time.Time {
	t := time.UnixMicro(micros).UTC()
	return &t
}
