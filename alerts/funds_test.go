package alerts_test

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
)

const fundsAdded = "creditstream_alerts_funds_added_units_total"

// added returns the money of one series of fundsAdded.
func added(t *testing.T, reg prometheus.Gatherer, kind, currency string) (units float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			l := m.GetLabel() // by name: currency, kind
			if f.GetName() == fundsAdded && l[0].GetValue() == currency && l[1].GetValue() == kind {
				units += m.GetCounter().GetValue()
			}
		}
	}
	return units
}

func TestFundsAddedAreCounted(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	p := alerts.New(new(recorder), topics(), partitionOf, reg)
	var all []balance.Event
	for _, kind := range []string{"funds.added", "funds.adjusted", "recharge.succeeded", "recharge.failed"} {
		all = append(all, eventsOf(kind)...)
	}
	all = append(all, event("funds.added", 0, balance.Field{Name: "kind", Value: "lottery"}, balance.Field{Name: "amount", Value: "7000000"}))
	if err := p.Publish(t.Context(), nil, nil, []*balance.Entry{{Events: all}}); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]float64{
		"top_up": 100, "promotion": 5, "recharge": 50,
		"adjustment": 1, // what was taken away is not added
		"other":      7,
	} {
		if got := added(t, reg, kind, "EUR"); got != want {
			t.Errorf("%s: %v units, want %v", kind, got, want)
		}
	}
}

// Whoever may open accounts may name any currency: that must not make series without
// end.
func TestFundsOfManyCurrenciesAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	p := alerts.New(new(recorder), topics(), partitionOf, reg)
	for i := range 1000 {
		e := event("recharge.succeeded", 0, balance.Field{Name: "n", Value: "1"}, balance.Field{Name: "amount", Value: "1000000"})
		e.Currency = fmt.Sprintf("%c%c%c", 'A'+i/100, 'A'+i/10%10, 'A'+i%10)
		if err := p.Publish(t.Context(), nil, nil, []*balance.Entry{{Events: []balance.Event{e}}}); err != nil {
			t.Fatal(err)
		}
	}
	if n, most := series(t, reg)[fundsAdded], 201*5; n != most {
		t.Errorf("%d series, want %d", n, most)
	}
	if got := added(t, reg, "recharge", "other"); got != 800 {
		t.Errorf("%v units of other currencies, want 800", got)
	}
}
