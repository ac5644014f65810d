package alerts

import (
	"fmt"
	"strconv"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// rechargeRequested is the kind of a payment request, beside balance.EventKinds.
const rechargeRequested = "recharge.requested"

// rfc3339Millis is how append times are written, in UTC.
const rfc3339Millis = "2006-01-02T15:04:05.000Z"

// A cloudEvent is the context of an event: CloudEvents 1.0, binary mode, where
// attributes are headers and the value is the data.
type cloudEvent struct {
	topic, id, kind, account string
	source                   balance.Source
	atMillis                 int64 // append time of the record that caused it
}

func (b *batch) addCloudEvent(e cloudEvent, value []byte) {
	b.add(kafka.Message{
		Topic: e.topic, Partition: kafka.AnyPartition, Key: []byte(e.account), Value: value,
		Headers: []kafka.Header{
			{Key: "ce_specversion", Value: []byte("1.0")},
			{Key: "ce_id", Value: []byte(e.id)},
			{Key: "ce_source", Value: []byte("/creditstream/" + e.source.Topic)},
			{Key: "ce_type", Value: []byte("creditstream." + e.kind + ".v1")},
			{Key: "ce_subject", Value: []byte(e.account)},
			{Key: "ce_time", Value: []byte(time.UnixMilli(e.atMillis).UTC().Format(rfc3339Millis))},
			{Key: "content-type", Value: []byte("application/json")},
		},
	})
}

func (b *batch) addEvent(source balance.Source, e *balance.Event) error {
	from := len(b.buf)
	dst := append(b.buf, '{')
	dst = appendText(dst, "account", e.Account)
	dst = appendNumber(dst, "sequence", e.Sequence)
	dst = appendMoney(dst, "balance", e.Balance)
	dst = appendOptional(dst, "currency", e.Currency)
	for _, f := range e.Fields {
		var err error
		if dst, err = appendField(dst, e, f); err != nil {
			return fmt.Errorf("encode event %s of %s at %d: %w", e.Kind, source, e.Offset, err)
		}
	}
	b.buf = append(dst, '}')
	b.addCloudEvent(cloudEvent{
		topic: b.topics.Alerts, id: e.ID(), kind: e.Kind, account: e.Account, source: source, atMillis: e.AtMillis,
	}, b.since(from))
	return nil
}

// appendField writes one detail of an event. Money is micros in digits there and
// a decimal here; the number of a recharge becomes its id.
func appendField(dst []byte, e *balance.Event, f balance.Field) ([]byte, error) {
	switch f.Name {
	case "threshold", "amount":
		n, err := strconv.ParseInt(f.Value, 10, 64)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", f.Name, err)
		}
		if n == 0 && e.Kind == "recharge.mismatched" {
			return dst, nil // the answer carried no money
		}
		return appendMoney(dst, f.Name, rating.Micros(n)), nil
	case "n":
		return appendText(dst, "recharge_id", e.Account+"/"+f.Value), nil
	case "paid_currency":
		if f.Value == "-" {
			return dst, nil // the script's word for none
		}
	}
	return appendText(dst, f.Name, f.Value), nil
}

func (b *batch) addPaymentRequest(source balance.Source, r *balance.PaymentRequest) {
	from := len(b.buf)
	b.buf = append(b.buf, '{')
	b.buf = appendText(b.buf, "recharge_id", r.ID())
	b.buf = appendText(b.buf, "account", r.Account)
	b.buf = appendNumber(b.buf, "n", r.N)
	b.buf = appendMoney(b.buf, "amount", r.Amount)
	b.buf = appendText(b.buf, "currency", r.Currency)
	b.buf = appendText(b.buf, "payment_method", r.PaymentMethod)
	b.buf = append(b.buf, '}')
	b.addCloudEvent(cloudEvent{
		topic: b.topics.RechargeRequests, id: r.ID(), kind: rechargeRequested, account: r.Account,
		source: source, atMillis: r.AtMillis,
	}, b.since(from))
}
