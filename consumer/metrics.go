package consumer

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// metrics of the stream. Labels are from closed sets: no account, user or number.
type metrics struct {
	records       *prometheus.CounterVec
	parked        *prometheus.CounterVec
	charges       *prometheus.CounterVec
	batchRecords  prometheus.Histogram
	scriptSeconds *prometheus.HistogramVec
	debited       prometheus.Histogram
	published     prometheus.Histogram
	lag           *prometheus.GaugeVec
	lagSeconds    *prometheus.GaugeVec
	outbox        *prometheus.GaugeVec
	takeOvers     *prometheus.CounterVec
	rewinds       prometheus.Counter
	waits         *prometheus.CounterVec
	errors        *prometheus.CounterVec
	held          prometheus.Gauge
	confirmations prometheus.Counter
	producerTime  prometheus.Counter
	forgotten     prometheus.Counter
}

// latency buckets are fine around the goal of 50 ms.
func latency() []float64 {
	return []float64{.001, .002, .005, .01, .02, .03, .04, .05, .06, .08, .1, .2, .5, 1, 2, 5, 10, 30, 60, 300}
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "creditstream_consumer_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return f.NewGaugeVec(prometheus.GaugeOpts{Name: "creditstream_consumer_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{Name: "creditstream_consumer_" + name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		records:      counter("records_total", "CDRs applied and published, by outcome.", "outcome"),
		parked:       counter("parked_total", "CDRs parked in the dead-letter topic, by reason.", "reason"),
		charges:      counter("charged_units_total", "Money charged, in units of the currency, by kind of call. Not a ledger: it is a float.", "kind", "currency"),
		batchRecords: histogram("batch_records", "Records of one fetch.", prometheus.ExponentialBuckets(1, 4, 9)),
		scriptSeconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "creditstream_consumer_script_seconds", Help: "One round trip of apply calls.", Buckets: latency(),
		}, []string{"script"}),
		debited:      histogram("append_to_debited_seconds", "From the broker's append of a CDR to its debit.", latency()),
		published:    histogram("append_to_published_seconds", "From the broker's append of a CDR to the acknowledgement of all that it caused.", latency()),
		lag:          gauge("lag_records", "Records between the last fetch and the log's end.", "topic", "partition"),
		lagSeconds:   gauge("lag_seconds", "Age of the oldest record that is fetched and not applied, or of the last one fetched while there are more; else 0.", "topic", "partition"),
		outbox:       gauge("outbox_entries", "Result entries applied and not yet published.", "topic", "partition"),
		takeOvers:    counter("take_overs_total", "Take-overs after the first of an assignment, by cause.", "cause"),
		rewinds:      counter("rewinds_total", "Take-overs that found a mark lower than it was: Redis has gone back.").WithLabelValues(),
		waits:        counter("waits_total", "Times a worker waited, by what for.", "for"),
		errors:       counter("errors_total", "Errors that were waited out, by kind.", "kind"),
		held:         gauge("partitions_held", "Partitions assigned to this process.").WithLabelValues(),
		producerTime: counter("producer_time_batches_total", "Fetches with a producer's timestamp instead of the broker's: set message.timestamp.type=LogAppendTime.").WithLabelValues(),
		forgotten:    counter("id_slices_forgotten_total", "Slices of remembered CDR ids that were dropped.").WithLabelValues(),
	}
	m.confirmations = counter("confirmations_total", "Rounds in which every shard confirmed its marks.").WithLabelValues()
	for _, o := range []balance.Outcome{balance.Charged, balance.Free, balance.Duplicate, balance.Parked, balance.Skipped} {
		m.records.WithLabelValues(string(o))
	}
	for _, r := range rating.Reasons() {
		m.parked.WithLabelValues(string(r))
	}
	for _, c := range []string{causeRefused, causeRedis, causeKafka, causeLog, causeCompare} {
		m.takeOvers.WithLabelValues(c)
	}
	for _, wait := range []string{"behind", "unknown", "redis", "kafka", causeCompare} {
		m.waits.WithLabelValues(wait)
	}
	for _, kind := range []string{"kafka_fetch", "kafka_publish", "kafka_commit", "kafka_group", errorRedis, errorRedisRefused, "timers"} {
		m.errors.WithLabelValues(kind)
	}
	return m
}

// Kinds of errors of Redis.
const (
	errorRedis        = "redis"         // it is away
	errorRedisRefused = "redis_refused" // it answers and takes no writes: memory, disk, replicas
)

func (m *metrics) redisError(err error) {
	kind := errorRedis
	if balance.RefusesWrites(err) {
		kind = errorRedisRefused
	}
	m.errors.WithLabelValues(kind).Inc()
}

// forgetPartitions drops what is said of partitions, which another process may hold
// from now on.
func (m *metrics) forgetPartitions() {
	m.lag.Reset()
	m.lagSeconds.Reset()
	m.outbox.Reset()
}

func partitionLabel(s balance.Source) string { return strconv.Itoa(s.Partition) }

// seeFetched notes how far the log's end is.
func (w *worker) seeFetched(f *kafka.Fetched) {
	behind := max(0, f.End-f.Next)
	w.metrics().lag.WithLabelValues(w.source.Topic, partitionLabel(w.source)).Set(float64(behind))
	switch {
	case behind == 0:
		w.fetched.Store(0)
	case len(f.Records) > 0:
		w.fetched.Store(f.Records[len(f.Records)-1].AppendMillis)
	}
}

// since returns the append time of a batch's first record; 0 if it has none.
func (b *batch) since() int64 {
	if len(b.records) == 0 {
		return 0
	}
	return b.records[0].AppendMillis
}

// seeAge says how late the worker is, also while it waits and fetches nothing.
func (w *worker) seeAge(now time.Time) {
	age := 0.0
	for _, millis := range []int64{w.inHand.Load(), w.fetched.Load()} {
		if millis != 0 {
			age = max(age, now.Sub(time.UnixMilli(millis)).Seconds())
		}
	}
	w.metrics().lagSeconds.WithLabelValues(w.source.Topic, partitionLabel(w.source)).Set(age)
}

func (m *metrics) observeDebited(b *batch, indexes []int, now time.Time) {
	if b.ends == nil {
		return // commands
	}
	for _, i := range indexes {
		m.debited.Observe(max(0, now.Sub(time.UnixMilli(b.records[i].AppendMillis)).Seconds()))
	}
}

// observePublished counts before it adds: to find a counter by its labels takes longer
// than to rate a call.
func (m *metrics) observePublished(records []kafka.Record, verdicts []balance.Verdict, now time.Time) {
	type price struct {
		kind     rating.Kind
		currency string
	}
	outcomes, reasons, charges := map[balance.Outcome]int{}, map[rating.Reason]int{}, map[price]rating.Micros{}
	for i := range verdicts {
		v := &verdicts[i]
		m.published.Observe(max(0, now.Sub(time.UnixMilli(records[i].AppendMillis)).Seconds()))
		outcomes[v.Outcome]++
		switch v.Outcome {
		case balance.Parked:
			reasons[v.Reason]++
		case balance.Charged:
			charges[price{v.CDR.Kind, v.Charge.Currency}] += v.Charge.Amount
		case balance.Free, balance.Duplicate, balance.Skipped:
		}
	}
	for o, n := range outcomes {
		m.records.WithLabelValues(string(o)).Add(float64(n))
	}
	for r, n := range reasons {
		m.parked.WithLabelValues(string(r)).Add(float64(n))
	}
	for c, sum := range charges {
		m.charges.WithLabelValues(string(c.kind), c.currency).Add(float64(sum) / 1e6)
	}
}
