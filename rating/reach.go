package rating

import (
	"math"
	"sort"
)

// A Reach is how long a call may last that has not been made yet, and by which
// rate it would be charged.
type Reach struct {
	// Seconds is the longest call that the money pays for, in whole seconds; 0: not
	// even one of a second.
	Seconds int64
	Free    bool   // no call up to the limit costs anything: it needs no money
	Home    string // home country, two capital letters: the call's own, else the deck's; empty if its own is none
	Rate    *Rate  // that at answer time; nil: the kind alone makes the call free
}

// A Rate is what a call would be charged by. Its JSON form is a part of what the
// API answers.
type Rate struct {
	Deck        string `json:"deck" example:"0dfb45e094057ec2" doc:"Version of the deck: its content hash"`
	Rule        int    `json:"rule" example:"5" doc:"Of deck.yaml, from 1; 0: none is for the call, and the deck makes such calls free"`
	Currency    string `json:"currency" example:"USD"`
	Destination string `json:"destination,omitempty" example:"United Kingdom London"`
	Prefix      string `json:"prefix,omitempty" example:"4420" doc:"Digits that were matched"`
	Band        string `json:"band,omitempty" example:"peak" doc:"Part of the week that the rate is for; absent: any time"`
	SetupFee    string `json:"setup_fee,omitempty" example:"0.02"`
	Grace       int64  `json:"grace,omitempty" doc:"Seconds: a call that is not longer is free"`
	Steps       []Step `json:"steps,omitempty" nullable:"false" doc:"Prices, from the answer on; absent: the call is free"`
	MaxCharge   string `json:"max_charge,omitempty" doc:"No call costs more"`
}

// A Step is how a call is charged from a second on.
type Step struct {
	From      int64  `json:"from" doc:"Seconds since the answer"`
	Price     string `json:"price" example:"0.012" doc:"A minute"`
	Increment int64  `json:"increment" example:"60" doc:"Seconds: each one that has begun is charged whole"`
}

// Reach returns how long a call that is answered at c.AnsweredAt may last; its
// duration is not looked at. Seconds is the largest whole number up to limit for
// which Price charges no more than money. limit is in seconds, at least 1 and at
// most MaxSplit.
//
// A call that is free up to the limit reaches it with a debt too. Any other one
// reaches nothing without money: what a grace or the rounding gives away is for
// those who can pay for more.
//
// The error is a *Fault, with a reason of those of Price. A charge that is
// out_of_bounds is none: it is more than any money.
func (d *Decks) Reach(c *CDR, money Micros, limit int64) (Reach, error) {
	switch {
	case !c.Kind.Valid():
		return Reach{}, &Fault{UnknownKind, "the kind is not one of the documented kinds"}
	case c.Kind.AlwaysFree():
		return Reach{Seconds: limit, Free: true}, nil
	case !c.Answered():
		return Reach{}, &Fault{MissingField, "the answer time is missing"}
	}
	var buf [maxDigits]byte
	dk, m, err := d.match(c, &buf, nil)
	if err != nil {
		return Reach{}, err
	}
	r := Reach{Rate: dk.rate(m)}
	if home, ok := dk.homeOf(c); ok {
		r.Home = string(home[:])
	}
	if m.row == nil {
		r.Seconds, r.Free = limit, true
		return r, nil
	}
	call := *c
	costs := func(seconds int64) Micros {
		call.DurationMillis = seconds * 1000
		charge, err := dk.charge(&call, m, nil)
		if err != nil {
			return math.MaxInt64 // out_of_bounds; limit is too short to be a bad_duration
		}
		return charge.Amount
	}
	switch all := costs(limit); {
	case all == 0:
		r.Seconds, r.Free = limit, true
	case money <= 0:
	case all <= money:
		r.Seconds = limit
	default:
		// A charge never falls when the call gets longer: what comes before the first
		// second that is too dear is paid for.
		r.Seconds = int64(sort.Search(int(limit)-1, func(i int) bool { return costs(int64(i)+1) > money }))
	}
	return r, nil
}

// rate describes the rate of a match for those who make the call.
func (d *deck) rate(m match) *Rate {
	r := &Rate{Deck: d.Version, Currency: d.Currency}
	if m.rule != nil {
		r.Rule = m.rule.number
	}
	if m.row == nil {
		return r
	}
	t := m.rule.table
	tariff := t.tariff(m.row)
	r.Destination, r.Prefix, r.Band = t.destination(m.row), t.prefix(m.row), d.bandName(m.row.band)
	r.Grace = int64(tariff.grace)
	if tariff.fee > 0 {
		r.SetupFee = picos(tariff.fee)
	}
	if tariff.max != noMax {
		r.MaxCharge = tariff.max.String()
	}
	for _, s := range t.steps(tariff) {
		r.Steps = append(r.Steps, Step{From: int64(s.from), Price: picos(s.price), Increment: int64(s.by)})
	}
	return r
}
