package alerts_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// A batch of every outcome, with two entries: what is written, and in what order.
func TestPublish(t *testing.T) {
	t.Parallel()
	records, verdicts := batch()
	entries := []*balance.Entry{
		{
			Source: balance.Source{Topic: "cdrs", Partition: 3},
			Events: events()[:1],
			Wishes: []balance.Wish{{Account: "acme", N: 7, Amount: 50_000_000, Currency: "EUR", Seen: 3}},
			Requests: []balance.PaymentRequest{
				{Account: "acme", N: 7, Amount: 50_000_000, Currency: "EUR", PaymentMethod: "pm_1"},
			},
		},
		{Source: balance.Source{Topic: "cdrs", Partition: 3}, Events: events()[3:4]},
	}
	w := new(recorder)
	p := alerts.New(w, topics(), partitionOf, nil)
	if err := p.Publish(t.Context(), records, verdicts, entries); err != nil {
		t.Fatal(err)
	}
	golden(t, "publish", dump(w.only(t)))

	// Again: the same messages, and the first ones still as they were.
	first := dump(w.calls[0])
	if err := p.Publish(t.Context(), records, verdicts, entries); err != nil {
		t.Fatal(err)
	}
	if dump(w.calls[1]) != first || dump(w.calls[0]) != first {
		t.Error("a repeat is not the same")
	}
	for _, m := range w.calls[0] {
		if m.Topic == "rated-cdrs" && cap(m.Value) != len(m.Value) {
			t.Error("who appends to a value writes over the next one")
		}
		switch m.Topic {
		case "rated-cdrs":
			conforms(t, "rated-cdr.schema.json", m.Value)
		case "credit-commands":
			conforms(t, "command.schema.json", m.Value)
			if c, err := balance.DecodeCommand(m.Value); err != nil || c.Type != balance.Request {
				t.Errorf("wish: %+v, %v", c, err)
			}
		}
	}
}

// batch has a record of each outcome, in turn.
func batch() ([]kafka.Record, []balance.Verdict) {
	var records []kafka.Record
	var verdicts []balance.Verdict
	for i, change := range []func(v *balance.Verdict){
		func(*balance.Verdict) {},
		func(v *balance.Verdict) { v.Outcome = balance.Duplicate },
		func(v *balance.Verdict) {
			v.Outcome, v.Reason, v.Message = balance.Parked, rating.NoRate, "no rate for +999"
		},
		func(v *balance.Verdict) { // an internal call that nobody answered
			v.Outcome, v.Charge = balance.Free, rating.Charge{}
			v.CDR = rating.CDR{ID: "c004", Source: "conf-2", Account: "team@example.com", Kind: rating.Internal}
		},
	} {
		r, v := call()
		r.Offset += int64(i)
		change(&v)
		records, verdicts = append(records, r), append(verdicts, v)
	}
	return records, verdicts
}

func TestPublishNothing(t *testing.T) {
	t.Parallel()
	w := new(recorder)
	if err := alerts.New(w, topics(), partitionOf, nil).Publish(t.Context(), nil, nil, []*balance.Entry{{}}); err != nil {
		t.Fatal(err)
	}
	if len(w.calls) != 0 {
		t.Errorf("wrote %v", w.calls)
	}
}

// What cannot be made into messages is an error before anything is written.
func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	records, verdicts := batch()
	unknown := slices.Clone(verdicts)
	unknown[3].Outcome = "lost"
	bad := func(name, value string) func(p *alerts.Publisher) error {
		return func(p *alerts.Publisher) error {
			e := event("balance.low", 1, balance.Field{Name: name, Value: value})
			return p.Publish(t.Context(), records, verdicts, []*balance.Entry{{Events: []balance.Event{e}}})
		}
	}
	for name, publish := range map[string]func(p *alerts.Publisher) error{
		"lengths":         func(p *alerts.Publisher) error { return p.Publish(t.Context(), records, verdicts[:2], nil) },
		"unknown outcome": func(p *alerts.Publisher) error { return p.Publish(t.Context(), records, unknown, nil) },
		"amount":          bad("threshold", "1e+14"),
		"time":            bad("expires_at", "1.7958e+12"),
		"number":          bad("days", "seven"),
		"escape":          bad("reason", "100%"),
		"wish": func(p *alerts.Publisher) error {
			return p.Publish(t.Context(), nil, nil, []*balance.Entry{{Wishes: []balance.Wish{{Account: "acme"}}}})
		},
	} {
		w := new(recorder)
		if err := publish(alerts.New(w, topics(), partitionOf, nil)); err == nil || len(w.calls) != 0 {
			t.Errorf("%s: error %v after %d calls", name, err, len(w.calls))
		}
	}
}

// The metrics are there from the start, count what was acknowledged and nothing
// else, and know no label beside their sets.
func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	w := &recorder{err: errors.New("no broker")}
	p := alerts.New(w, topics(), partitionOf, reg)
	const events, rated, letters = "creditstream_alerts_events_total", "creditstream_alerts_rated_records_total", "creditstream_alerts_dead_letters_total"
	want := map[string]int{events: len(balance.EventKinds()) + 2, rated: 4, letters: len(rating.Reasons()) + 1}
	check := func() {
		t.Helper()
		for name, n := range want {
			if got := series(t, reg)[name]; got != n {
				t.Errorf("%s: %d series, want %d", name, got, n)
			}
		}
	}
	check()
	records, verdicts := batch()
	odd := []*balance.Entry{{Events: append(eventsOf("balance.low"), event("newer.kind", 0))}}
	if err := p.Publish(t.Context(), records, verdicts, odd); !errors.Is(err, w.err) {
		t.Fatalf("error %v", err)
	}
	if n := total(t, reg); n != 0 {
		t.Errorf("counted %v that was not acknowledged", n)
	}
	w.err = nil
	if err := p.Publish(t.Context(), records, verdicts, odd); err != nil {
		t.Fatal(err)
	}
	if n := total(t, reg); n != 6 {
		t.Errorf("counted %v, want 6", n)
	}
	if err := p.RequestPayment(t.Context(), commandSource(), &balance.PaymentRequest{Account: "acme", N: 7}); err != nil {
		t.Fatal(err)
	}
	if n := total(t, reg); n != 7 {
		t.Errorf("counted %v, want 7", n)
	}
	check()
}

func eventsOf(kind string) []balance.Event {
	return slices.DeleteFunc(events(), func(e balance.Event) bool { return e.Kind != kind })
}

// series counts the series of each metric.
func series(t *testing.T, reg prometheus.Gatherer) map[string]int {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for _, f := range families {
		n[f.GetName()] = len(f.GetMetric())
	}
	return n
}

func total(t *testing.T, reg prometheus.Gatherer) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// What is skipped leaves nothing, and does not hold up what is beside it.
func TestSkippedLeavesNothing(t *testing.T) {
	t.Parallel()
	w := new(recorder)
	p := alerts.New(w, topics(), partitionOf, nil)
	records, verdicts := batch()
	n := len(records)
	records, verdicts = append(records, records[0]), append(verdicts, balance.Verdict{Outcome: balance.Skipped, Message: "second leg"})
	if err := p.Publish(t.Context(), records, verdicts, nil); err != nil {
		t.Fatal(err)
	}
	if len(w.calls) != 1 || len(w.calls[0]) != n {
		t.Errorf("%d calls, want one of %d messages", len(w.calls), n)
	}
	if err := p.Publish(t.Context(), records[n:], verdicts[n:], nil); err != nil || len(w.calls) != 1 {
		t.Errorf("a batch of skipped records alone: %v, %d calls", err, len(w.calls))
	}
}
