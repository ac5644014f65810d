package alerts_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
)

// Every kind of event, as it goes out, against its schema.
func TestEvents(t *testing.T) {
	t.Parallel()
	w := new(recorder)
	all := events()
	err := alerts.New(w, topics(), partitionOf, nil).
		Publish(t.Context(), nil, nil, []*balance.Entry{{Source: commandSource(), Events: all}})
	if err != nil {
		t.Fatal(err)
	}
	msgs := w.only(t)
	golden(t, "events", dump(msgs))
	var kinds []string
	for i, m := range msgs {
		kind, ok := strings.CutPrefix(header(m, "ce_type"), "creditstream.")
		kind, ok2 := strings.CutSuffix(kind, ".v1")
		if !ok || !ok2 || kind != all[i].Kind || header(m, "ce_id") != all[i].ID() || string(m.Key) != "acme" {
			t.Errorf("event %d, %s: key %s, headers %s", i, all[i].Kind, m.Key, m.Headers)
		}
		kinds = append(kinds, kind)
		conforms(t, eventSchema(kind), m.Value)
	}
	for _, kind := range balance.EventKinds() {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no example of %s here", kind)
		}
	}
}

func eventSchema(kind string) string {
	return "event-" + strings.ReplaceAll(kind, ".", "-") + ".schema.json"
}

func TestRequestPayment(t *testing.T) {
	t.Parallel()
	w := new(recorder)
	err := alerts.New(w, topics(), partitionOf, nil).RequestPayment(t.Context(), commandSource(), &balance.PaymentRequest{
		Account: "acme", N: 7, Amount: 50_000_000, Currency: "EUR", PaymentMethod: `pm_"1"`, Offset: 12, AtMillis: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	msgs := w.only(t)
	golden(t, "recharge_requested", dump(msgs))
	conforms(t, "recharge-requested.schema.json", msgs[0].Value)
}
