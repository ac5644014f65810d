package consumer_test

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A switch that writes in transactions: what it aborts is never charged, parked or
// rated, what it commits is charged once, and the marker that ends the log, which
// is no record, keeps nothing from being committed.
func TestTransactionsOfAProducer(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	p := w.kgo(kgo.TransactionalID(w.kafka.Name("switch")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	transaction := func(end kgo.TransactionEndTry, values ...[]byte) {
		t.Helper()
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			if err := p.ProduceSync(t.Context(), &kgo.Record{Topic: w.cdrs, Value: v}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	w.produce(0, w.call("acme", 1))                                      // 0
	transaction(kgo.TryAbort, w.call("acme", 10), []byte("garbage"))     // 1, 2 and a marker
	transaction(kgo.TryCommit, w.call("acme", 100), w.call("acme", 200)) // 4, 5 and a marker
	until(t, "what is committed is charged", func() bool { return w.spent("acme") == 301 })
	until(t, "the markers are committed", func() bool { return w.committed(0) == 7 })
	until(t, "no lag", func() bool { return r.figure(t, "creditstream_consumer_lag_records") == 0 })

	transaction(kgo.TryAbort, w.call("acme", 1000)) // 7 and a marker: nothing to charge behind it
	until(t, "the last marker is committed", func() bool { return w.committed(0) == 9 })
	w.produce(0, w.call("acme", 400)) // 9
	until(t, "charged", func() bool { return w.spent("acme") == 701 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = w.start() // from a mark behind a marker
	w.produce(0, w.call("acme", 1))
	until(t, "charged after a restart", func() bool { return w.spent("acme") == 702 })
	if n := len(w.all(w.topics.DeadLetters)); n != 0 {
		t.Errorf("%d parked", n)
	}
	until(t, "all is rated", func() bool { return len(w.rated()) >= 5 })
	var charges []string
	for _, x := range w.rated() {
		charges = append(charges, x.Charge)
	}
	if want := []string{"0.000001", "0.000100", "0.000200", "0.000400", "0.000001"}; !slices.Equal(charges, want) {
		t.Errorf("rated %v, want %v", charges, want)
	}
}
