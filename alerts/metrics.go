package alerts

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// metrics count what was acknowledged; a repeat counts again.
type metrics struct {
	events, rated, deadLetters counters
	funds                      *funds
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	return metrics{
		events: newCounters(f.NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_alerts_events_total",
			Help: "Events and payment requests published, by type.",
		}, []string{"type"}), append(balance.EventKinds(), paymentRequested)),
		rated: newCounters(f.NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_alerts_rated_records_total",
			Help: "Rated records published, repeats after a take-over included, by outcome.",
		}, []string{"outcome"}), []balance.Outcome{balance.Charged, balance.Free, balance.Duplicate}),
		deadLetters: newCounters(f.NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_alerts_dead_letters_total",
			Help: "Dead letters published, repeats after a take-over included, by reason.",
		}, []string{"reason"}), rating.Reasons()),
		funds: newFunds(f),
	}
}

func (m *metrics) published(verdicts []balance.Verdict, entries []*balance.Entry) {
	for i := range verdicts {
		switch v := &verdicts[i]; v.Outcome {
		case balance.Parked:
			m.deadLetters.inc(string(v.Reason))
		case balance.Charged, balance.Free, balance.Duplicate:
			m.rated.inc(string(v.Outcome))
		case balance.Skipped:
		}
	}
	for _, e := range entries {
		for i := range e.Events {
			m.events.inc(e.Events[i].Kind)
			m.funds.add(&e.Events[i])
		}
	}
}

// other is the label of a value outside a closed set: an outbox may hold what a
// newer version wrote.
const other = "other"

// counters are one counter per value of a closed set, all of them there from the
// start.
type counters map[string]prometheus.Counter

func newCounters[T ~string](vec *prometheus.CounterVec, values []T) counters {
	c := counters{other: vec.WithLabelValues(other)}
	for _, v := range values {
		c[string(v)] = vec.WithLabelValues(string(v))
	}
	return c
}

func (c counters) inc(value string) {
	counter, ok := c[value]
	if !ok {
		counter = c[other]
	}
	counter.Inc()
}
