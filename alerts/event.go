package alerts

import (
	"fmt"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// paymentRequested is the kind of a payment request, beside balance.EventKinds.
const paymentRequested = "payment.requested"

// A Mode says how a CloudEvent becomes a Kafka message. Readers tell the modes
// apart by the header content-type.
type Mode string

// The content modes of CloudEvents.
const (
	Binary     Mode = "binary"     // attributes are headers, the value is the data; the default
	Structured Mode = "structured" // the value is a JSON object with attributes and data
)

// Modes returns every mode.
func Modes() []Mode { return []Mode{Binary, Structured} }

// A cloudEvent is the context of an event: CloudEvents 1.0.
type cloudEvent struct {
	topic, id, kind, account string
	source                   balance.Source
	atMillis                 int64 // append time of the record that caused it
}

// An attribute is a part of the context.
type attribute struct{ name, value string }

func (e *cloudEvent) attributes() [6]attribute {
	return [6]attribute{
		{"specversion", "1.0"},
		{"id", e.id},
		{"source", "/creditstream/" + e.source.Topic},
		{"type", "creditstream." + e.kind + ".v1"},
		{"subject", e.account},
		{"time", formatMillis(e.atMillis)},
	}
}

const (
	jsonType  = "application/json"
	eventType = "application/cloudevents+json; charset=UTF-8"
)

// addCloudEvent adds an event whose data, a JSON object, write appends.
func (b *batch) addCloudEvent(e cloudEvent, write func(dst []byte) ([]byte, error)) error {
	from := len(b.buf)
	m := kafka.Message{Topic: e.topic, Partition: kafka.AnyPartition, Key: []byte(e.account)}
	structured := b.topics.Events == Structured
	dst := b.buf
	if structured {
		dst = append(dst, '{')
		for _, a := range e.attributes() {
			dst = appendText(dst, a.name, a.value)
		}
		dst = appendName(appendText(dst, "datacontenttype", jsonType), "data")
		m.Headers = []kafka.Header{contentType(eventType)}
	} else {
		for _, a := range e.attributes() {
			m.Headers = append(m.Headers, kafka.Header{Key: "ce_" + a.name, Value: []byte(a.value)})
		}
		m.Headers = append(m.Headers, contentType(jsonType))
	}
	dst, err := write(append(dst, '{'))
	if err != nil {
		return err
	}
	dst = append(dst, '}')
	if structured {
		dst = append(dst, '}')
	}
	b.buf = dst
	m.Value = b.since(from)
	b.add(m)
	return nil
}

func contentType(value string) kafka.Header {
	return kafka.Header{Key: "content-type", Value: []byte(value)}
}

func (b *batch) addEvent(source balance.Source, e *balance.Event) error {
	err := b.addCloudEvent(cloudEvent{
		topic: b.topics.Alerts, id: e.ID(), kind: e.Kind, account: e.Account, source: source, atMillis: e.AtMillis,
	}, func(dst []byte) ([]byte, error) { return appendFields(dst, e) })
	if err != nil {
		return fmt.Errorf("encode event %s of %s at %d: %w", e.Kind, source, e.Offset, err)
	}
	return nil
}

func (b *batch) addPaymentRequest(source balance.Source, r *balance.PaymentRequest) error {
	return b.addCloudEvent(cloudEvent{
		topic: b.topics.RechargeRequests, id: r.ID(), kind: paymentRequested, account: r.Account,
		source: source, atMillis: r.AtMillis,
	}, func(dst []byte) ([]byte, error) {
		dst = appendText(dst, "recharge_id", r.ID())
		dst = appendText(dst, "account", r.Account)
		dst = appendNumber(dst, "n", r.N)
		dst = appendMoney(dst, "amount", r.Amount)
		dst = appendText(dst, "currency", r.Currency)
		return appendText(dst, "payment_method", r.PaymentMethod), nil
	})
}
