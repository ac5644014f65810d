package consumer

import (
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// Limits are what is believed of a CDR; what lies beyond is parked.
type Limits struct {
	Window      time.Duration // from the answer to the append time
	MaxDuration time.Duration
	MaxCharge   rating.Micros
}

// Decode reads a record as a processor does. ok is false when it is no CDR: then
// the verdict is Skipped, or Parked with the reason, and holds as much of the CDR as
// was read.
func Decode(d *cdr.Decoder, rec *kafka.Record) (v balance.Verdict, ok bool) {
	ok = decode(d, rec, &v)
	return v, ok
}

// Preview says what a processor with this decoder, these decks and limits makes of a
// record, before a balance is looked at: the verdict is Skipped, Parked with its
// reason, or Charged or Free with the charge. That the account is not known or has another currency,
// and that the id was seen before, is known to Redis alone.
func Preview(d *cdr.Decoder, r rater, l Limits, rec *kafka.Record) balance.Verdict {
	v, ok := Decode(d, rec)
	if !ok {
		return v
	}
	return Price(r, l, rec.AppendMillis, &v.CDR)
}

// Price is Preview of a record that is read already.
func Price(r rater, l Limits, appendMillis int64, c *rating.CDR) balance.Verdict {
	v := balance.Verdict{CDR: *c}
	price(r, l, appendMillis, &v)
	switch {
	case v.Outcome == balance.Parked:
	case v.Charge.Amount == 0:
		v.Outcome = balance.Free
	default:
		v.Outcome = balance.Charged
	}
	return v
}
