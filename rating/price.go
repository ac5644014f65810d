package rating

import "strconv"

// A Fault says why a call cannot be priced. Message tells an operator what to
// look at; it never contains a number or an account.
type Fault struct {
	Reason  Reason
	Message string
}

// Error writes reason: message.
func (f *Fault) Error() string { return string(f.Reason) + ": " + f.Message }

// Price returns what c costs. The error is always a *Fault, with one of these
// reasons:
//
//	unknown_kind   the kind is not one of Kinds
//	bad_duration   an answered call has a negative duration, or lasts longer
//	               than MaxSplit where its deck splits calls
//	no_rate        no deck, rule or rate is for this call, and the deck parks it
//	missing_field  the callee is needed and empty
//	bad_number     the callee is needed and cannot be read
//	bad_field      the home country is needed and is not two letters
//	out_of_bounds  the charge is above MaxTotal
//
// Only the kind of an unanswered call is looked at, and the kind alone decides
// for emergency and internal calls.
func (d *Decks) Price(c *CDR) (Charge, error) { return d.price(c, nil) }

func (d *Decks) price(c *CDR, e *Explanation) (Charge, error) {
	if !c.Kind.Valid() {
		return Charge{}, &Fault{UnknownKind, "the kind is not one of the documented kinds"}
	}
	if c.Kind.AlwaysFree() {
		e.because("calls of this kind are free whatever a deck says")
		return Charge{}, nil
	}
	if !c.Answered() {
		e.because("the call was never answered")
		return Charge{}, nil
	}
	if c.DurationMillis < 0 {
		return Charge{}, &Fault{BadDuration, "the duration is negative"}
	}
	if c.DurationMillis == 0 {
		e.because("the call lasted 0 s")
		return Charge{}, nil
	}
	if e != nil {
		e.Seconds = int64(wholeSeconds(c.DurationMillis)) //nolint:gosec // a thousandth of an int64
	}
	var buf [maxDigits]byte
	dk, m, err := d.match(c, &buf, e)
	switch {
	case err != nil:
		return Charge{}, err
	case m.rule == nil:
		e.because("no rule and rate of the deck is for this call, and it says unrated: free")
		return Charge{Currency: dk.Currency, Deck: dk.Version}, nil
	case m.row == nil:
		e.freeBy(m.rule)
		return Charge{Currency: dk.Currency, Deck: dk.Version, Rule: m.rule.number}, nil
	}
	e.matched(dk, m)
	return dk.charge(c, m, e)
}

// match returns the deck that prices c, and what its rules and rates say.
func (d *Decks) match(c *CDR, buf *[maxDigits]byte, e *Explanation) (*deck, match, error) {
	dk := d.at(c.AnsweredAt)
	if dk == nil {
		return nil, match{}, &Fault{NoRate, "no deck is valid at the answer time: load one with an earlier valid_from"}
	}
	e.pricedBy(dk)
	m, err := dk.match(c, buf)
	return dk, m, err
}

// A match is the rule that a call falls under, and its rate.
type match struct {
	rule   *rule // nil: none, and the call is free
	row    *row  // nil: the rule says that the call is free
	digits []byte
}

// match returns the first rule for c that has a rate for it, or that makes it
// free.
func (d *deck) match(c *CDR, buf *[maxDigits]byte) (match, error) {
	var digits []byte
	rules := d.rules[c.Kind]
	for i := range rules {
		rl := &rules[i]
		if rl.table == nil {
			return match{rule: rl}, nil
		}
		if digits == nil {
			var err error
			if digits, err = readCallee(c.Callee, buf); err != nil {
				return match{}, err
			}
		}
		r := rl.table.find(digits, d.moment(c.AnsweredAt, rl.table))
		matches, err := d.inScope(c, rl.scope, r)
		if err != nil {
			return match{}, err
		}
		if matches && r != nil {
			return match{rl, r, digits}, nil
		}
	}
	if d.park {
		return match{}, &Fault{NoRate, "deck " + d.ID + " has no rate for this kind and destination: add one, or set unrated: free"}
	}
	return match{}, nil
}

// inScope reports whether a call to the destination of r, nil if there is none,
// is in s. A destination without a country is international; one that has no
// rate is in anywhere alone.
func (d *deck) inScope(c *CDR, s scope, r *row) (bool, error) {
	if s == anywhere || r == nil {
		return s == anywhere, nil
	}
	home, ok := d.homeOf(c)
	if !ok {
		return false, &Fault{BadField, "the home country is not two letters"}
	}
	return (d.group(home) == d.group(r.country)) == (s == domestic), nil
}

// homeOf returns the home country of a call: its own, else the deck's. It reports
// false if its own is not two letters.
func (d *deck) homeOf(c *CDR) (country, bool) {
	if c.Home == "" {
		return d.home, true
	}
	return parseCountry(c.Home)
}

func readCallee(callee string, buf *[maxDigits]byte) ([]byte, error) {
	if callee == "" {
		return nil, &Fault{MissingField, "the callee is empty, and the deck prices this kind by it"}
	}
	digits, ok := normalise(callee, buf)
	if !ok {
		return nil, &Fault{BadNumber, "the callee cannot be read as a phone number"}
	}
	return digits, nil
}

// describe says in a sentence what rule this is.
func (r *rule) describe() string {
	text := "rule " + strconv.Itoa(r.number) + " of deck.yaml: "
	if r.table == nil {
		return text + "free"
	}
	return text + "scope " + r.scope.String() + ", table " + r.tableName
}
