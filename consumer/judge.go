package consumer

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// maxAhead is how far an answer time may lie after the append time: clocks of
// switches are not that wrong, and ids are remembered by answer time.
const maxAhead = 24 * time.Hour

// A judge says what a CDR means: account, shard, charge or reason to park. It is
// pure: the answer follows from the record's bytes, its append time and the
// configuration, never from a clock or a balance (design rule 7).
type judge struct {
	decoder *cdr.Decoder
	rater   rater
	store   *balance.Store // for its arithmetic and its limits
}

// judge fills v and returns the record's shard. v.Outcome is Parked or Skipped, or
// empty: then Redis decides.
func (j *judge) judge(rec *kafka.Record, v *balance.Verdict) (shard int) {
	if !decode(j.decoder, rec, v) {
		return rec.Partition % j.store.Shards()
	}
	longest, dearest := j.store.Limits()
	price(j.rater, Limits{Window: j.store.Window(), MaxDuration: longest, MaxCharge: dearest}, rec.AppendMillis, v)
	return j.store.ShardOf(v.CDR.Account)
}

// decode fills v.CDR. It returns false when the record is no CDR, and then v says
// what becomes of it.
func decode(d *cdr.Decoder, rec *kafka.Record, v *balance.Verdict) bool {
	if rec.Unreadable != nil {
		park(v, rating.NotJSON, rec.Unreadable.Error())
		return false
	}
	in := cdr.Record{Value: rec.Value, AppendMillis: rec.AppendMillis}
	for i := range rec.Headers {
		switch h := &rec.Headers[i]; {
		case strings.EqualFold(h.Key, headerContentType):
			in.ContentType = h.Value
		case strings.EqualFold(h.Key, headerSource) && len(h.Value) > 0,
			strings.EqualFold(h.Key, headerEventSource) && len(in.Source) == 0:
			in.Source = h.Value
		}
	}
	err := d.Decode(&in, &v.CDR)
	if err == nil {
		return true
	}
	if skip, ok := errors.AsType[*cdr.Skip](err); ok {
		v.Outcome, v.Message = balance.Skipped, skip.Why
	} else if f, ok := errors.AsType[*cdr.Fault](err); ok {
		park(v, f.Reason, f.Text())
	} else {
		park(v, rating.NotJSON, err.Error())
	}
	return false
}

// price fills v.Charge, or parks what is not believed or has no price.
func price(r rater, l Limits, appendMillis int64, v *balance.Verdict) {
	c := &v.CDR
	if limit := l.MaxDuration.Milliseconds(); c.DurationMillis > limit {
		park(v, rating.BadDuration, fmt.Sprintf("duration_ms is %d: at most %d is believed", c.DurationMillis, limit))
		return
	}
	if c.Answered() {
		age := time.UnixMilli(appendMillis).Sub(c.AnsweredAt)
		if age > l.Window {
			park(v, rating.TooOld, fmt.Sprintf("answered %s before it was appended: ids are remembered for %s", age.Round(time.Second), l.Window))
			return
		}
		if age < -maxAhead {
			park(v, rating.BadField, fmt.Sprintf("answered_at lies %s after the append time: at most %s is believed", (-age).Round(time.Second), maxAhead))
			return
		}
	}
	charge, err := r.Price(c)
	if err != nil {
		if f, ok := errors.AsType[*rating.Fault](err); ok {
			park(v, f.Reason, f.Message)
		} else {
			park(v, rating.NoRate, err.Error())
		}
		return
	}
	if charge.Amount > l.MaxCharge {
		park(v, rating.OutOfBounds, fmt.Sprintf("the call would cost %s %s: at most %s is charged at once", charge.Amount, charge.Currency, l.MaxCharge))
		return
	}
	v.Charge = charge
}

// Headers that say how a record is to be read: its media type, and its source by
// a header of ours, which wins, or as a CloudEvent in binary mode has it. The case
// of their names does not matter: proxies and clients of HTTP change it.
const (
	headerContentType = "content-type"
	headerSource      = "cdr-source"
	headerEventSource = "ce_source"
)

func park(v *balance.Verdict, reason rating.Reason, message string) {
	v.Outcome, v.Reason, v.Message = balance.Parked, reason, message
}

// debit is what the shard is asked to do with a record that was neither parked nor
// skipped.
func (j *judge) debit(rec *kafka.Record, v *balance.Verdict) balance.Debit {
	c := &v.CDR
	d := balance.Debit{
		Offset: rec.Offset, AppendMillis: rec.AppendMillis, Account: payer(c),
		Amount: v.Charge.Amount, Currency: v.Charge.Currency,
	}
	// A call that was never answered, or was answered and lasted no time, costs
	// nothing however often it is told. Asterisk writes such a record of one id and
	// answer time before that of the call itself, which must not be taken for a repeat.
	if c.Answered() && c.DurationMillis > 0 {
		d.Claims = true
		d.Digest = balance.CDRDigest(c)
		d.Slice = j.store.Slice(c.AnsweredAt)
	}
	return d
}

// payer is the account that a debit names; none for what is free whatever the account.
func payer(c *rating.CDR) string {
	if c.Kind.AlwaysFree() {
		return ""
	}
	return c.Account
}

// decided completes a verdict by what the shard's result entry says.
func decided(rec *kafka.Record, v *balance.Verdict, e *balance.Entry) error {
	outcome, reason := e.Of(rec.Offset, payer(&v.CDR), v.Charge.Amount)
	switch {
	case v.Outcome == "" && outcome == balance.Skipped, v.Outcome != "" && v.Outcome != outcome:
		return changedPast(rec, v, outcome)
	case v.Outcome != "":
		return nil
	}
	v.Outcome, v.Reason = outcome, reason
	switch {
	case reason == rating.UnknownAccount:
		v.Message = unknownAccount
	case reason == rating.CurrencyMismatch:
		v.Message = fmt.Sprintf("the call costs %s, the account has another currency", v.Charge.Currency)
	case outcome == balance.Parked:
		v.Message = "parked when it was applied"
	}
	return nil
}

const unknownAccount = "no such account when the call was appended: create it with PUT /v1/accounts/{id} and replay this record"

// changedPast says that a record has become something else since it was applied.
// What an entry has no exception for was a call.
func changedPast(rec *kafka.Record, v *balance.Verdict, applied balance.Outcome) error {
	now, then := "a call", "a call"
	if v.Outcome != "" {
		now = cmp.Or(string(v.Reason), string(v.Outcome)) + " (" + v.Message + ")"
	}
	if applied == balance.Parked || applied == balance.Skipped {
		then = string(applied)
	}
	return fmt.Errorf("%s/%d offset %d: is %s now but was applied as %s: "+
		"the configuration of the past was changed; restore the decks, mappings and limits that were in force",
		rec.Topic, rec.Partition, rec.Offset, now, then)
}
