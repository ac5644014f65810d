package alerts

import (
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// appendRated appends the rated record of a CDR that was not parked, as
// docs/schemas/rated-cdr.schema.json has it. It is on the hot path, once per
// call, and allocates nothing but room in dst.
func appendRated(dst []byte, r *kafka.Record, v *balance.Verdict) []byte {
	cdr, charge := &v.CDR, &v.Charge
	dst = append(dst, '{')
	dst = appendText(dst, "id", cdr.ID)
	dst = appendText(dst, "source", cdr.Source)
	dst = appendText(dst, "account", cdr.Account)
	dst = appendOptional(dst, "user", cdr.User)
	dst = appendText(dst, "kind", string(cdr.Kind))
	dst = appendOptional(dst, "callee", cdr.Callee)
	dst = appendOptional(dst, "destination", charge.Destination)
	dst = appendOptional(dst, "prefix", charge.Prefix)
	dst = appendOptional(dst, "band", charge.Band)
	if cdr.Answered() {
		dst = appendName(dst, "answered_at")
		dst = append(dst, '"')
		dst = cdr.AnsweredAt.UTC().AppendFormat(dst, time.RFC3339Nano)
		dst = append(dst, '"')
	}
	dst = appendNumber(dst, "duration_ms", cdr.DurationMillis)
	dst = appendNumber(dst, "charged_seconds", charge.ChargedSeconds)
	dst = appendMoney(dst, "charge", charge.Amount)
	dst = appendOptional(dst, "currency", charge.Currency)
	dst = appendText(dst, "outcome", string(v.Outcome))
	dst = appendOptional(dst, "deck", charge.Deck)
	dst = appendText(dst, "topic", r.Topic)
	dst = appendNumber(dst, "partition", int64(r.Partition))
	dst = appendNumber(dst, "offset", r.Offset)
	return append(dst, '}')
}
