package rating

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
//	bad_duration   an answered call has a negative duration
//	no_rate        no deck, rule or rate is for this call, and the deck parks it
//	missing_field  the callee is needed and empty
//	bad_number     the callee is needed and cannot be read
//	bad_field      the home country is needed and is not two letters
//	out_of_bounds  the charge is above MaxTotal
//
// Only the kind of an unanswered call is looked at, and the kind alone decides
// for emergency and internal calls.
func (d *Decks) Price(c *CDR) (Charge, error) {
	if !c.Kind.Valid() {
		return Charge{}, &Fault{UnknownKind, "the kind is not one of the documented kinds"}
	}
	if c.Kind.AlwaysFree() || !c.Answered() {
		return Charge{}, nil
	}
	if c.DurationMillis < 0 {
		return Charge{}, &Fault{BadDuration, "the duration is negative"}
	}
	if c.DurationMillis == 0 {
		return Charge{}, nil
	}
	dk := d.at(c.AnsweredAt)
	if dk == nil {
		return Charge{}, &Fault{NoRate, "no deck is valid at the answer time: load one with an earlier valid_from"}
	}
	r, err := dk.match(c)
	if err != nil {
		return Charge{}, err
	}
	if r == nil {
		return Charge{Currency: dk.Currency, Deck: dk.Version}, nil
	}
	return dk.charge(r, uint64(c.DurationMillis))
}

// match returns the rate of the first rule for c, or nil if c is free.
func (d *deck) match(c *CDR) (*rate, error) {
	var buf [maxDigits]byte
	var digits []byte
	for _, rl := range d.rules[c.Kind] {
		if rl.table == nil {
			return nil, nil
		}
		if digits == nil {
			var err error
			if digits, err = readCallee(c.Callee, &buf); err != nil {
				return nil, err
			}
		}
		r := rl.table.find(digits, c.AnsweredAt)
		matches, err := d.inScope(c, rl.scope, r)
		switch {
		case err != nil:
			return nil, err
		case !matches:
			continue
		case r != nil:
			return r, nil
		}
		break
	}
	if d.park {
		return nil, &Fault{NoRate, "deck " + d.ID + " has no rate for this kind and destination: add one, or set unrated: free"}
	}
	return nil, nil
}

// inScope reports whether a call to the destination of r, nil if there is none,
// is in s. A destination without a country is international; one that has no
// rate is in anywhere alone.
func (d *deck) inScope(c *CDR, s scope, r *rate) (bool, error) {
	if s == anywhere || r == nil {
		return s == anywhere, nil
	}
	home := d.home
	if c.Home != "" {
		var ok bool
		if home, ok = parseCountry(c.Home); !ok {
			return false, &Fault{BadField, "the home country is not two letters"}
		}
	}
	return (d.group(home) == d.group(r.country)) == (s == domestic), nil
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

// charge prices a call of that length by r. A part of a second counts as one.
func (d *deck) charge(r *rate, millis uint64) (Charge, error) {
	seconds := millis / 1000
	if millis%1000 > 0 {
		seconds++
	}
	charged := r.increments.charged(seconds)
	amount, ok := d.rounding.amount(r.fee, r.price, charged)
	if !ok {
		return Charge{}, &Fault{OutOfBounds, "the charge is above " + MaxTotal.String() + ": check the duration and the rate"}
	}
	return Charge{
		Amount:         amount,
		Currency:       d.Currency,
		ChargedSeconds: int64(charged), //nolint:gosec // at most 2^63/1000 and two increments
		Destination:    r.destination,
		Prefix:         r.prefix,
		Deck:           d.Version,
	}, nil
}
