package consumer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/rating"
)

func TestMain(m *testing.M) { testserver.Run(m) }

const partitions = 2

// flat charges a micro per millisecond; a callee or caller "none" has no rate.
type flat struct{}

func (flat) Price(c *rating.CDR) (rating.Charge, error) {
	if c.Caller == "none" || c.Callee == "none" {
		return rating.Charge{}, &rating.Fault{Reason: rating.NoRate, Message: "no rate"}
	}
	if !c.Answered() || c.Kind.AlwaysFree() {
		return rating.Charge{Currency: "USD"}, nil
	}
	return rating.Charge{Amount: rating.Micros(c.DurationMillis), Currency: "USD"}, nil
}

// gate is a publisher that can be held up.
type gate struct {
	*alerts.Publisher
	open      atomic.Pointer[chan struct{}] // nil: open; else closed when it opens
	published atomic.Int64                  // records
}

func (g *gate) Publish(ctx context.Context, records []kafka.Record, verdicts []balance.Verdict, entries []*balance.Entry) error {
	if c := g.open.Load(); c != nil {
		select {
		case <-*c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := g.Publisher.Publish(ctx, records, verdicts, entries)
	if err == nil {
		g.published.Add(int64(len(records)))
	}
	return err
}

// world is a Kafka, a store and whatever consumers a test starts.
type world struct {
	t        testing.TB
	kafka    *testserver.Kafka
	cdrs     string // topic
	topics   alerts.Topics
	client   *kafka.Client
	redis    *testserver.Redis
	rdb      redis.UniversalClient
	store    *balance.Store
	commands *alerts.Commands
	gate     *gate
	sent     int
	confirm  time.Duration
	formats  cdr.Options
	current  func() error // nil: always
	lost     func(ctx context.Context, source balance.Source, shards []int) error
	member   *lent // nil: client
	rater    interface {
		Price(c *rating.CDR) (rating.Charge, error)
	}
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	w := &world{t: tb, kafka: testserver.NewKafka(tb), redis: testserver.NewRedis(tb), gate: &gate{}, confirm: 20 * time.Millisecond, rater: flat{}}
	w.cdrs = w.kafka.Name("cdrs")
	w.topics = alerts.Topics{
		Rated: w.kafka.Name("rated-cdrs"), Alerts: w.kafka.Name("credit-alerts"), RechargeRequests: w.kafka.Name("recharge-requests"),
		Commands: w.kafka.Name("credit-commands"), DeadLetters: w.kafka.Name("cdrs.dlq"), DeadLetterBytes: 1<<20 - 16<<10,
	}
	var err error
	if w.client, err = kafka.New(kafka.Config{Brokers: w.kafka.Brokers()}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.client.Close)
	logAppend := map[string]string{"message.timestamp.type": "LogAppendTime"}
	specs := []kafka.TopicSpec{
		{Name: w.cdrs, Partitions: partitions, Replication: 1, Configs: logAppend},
		{Name: w.topics.Commands, Partitions: partitions, Replication: 1, Configs: logAppend},
	}
	for _, name := range []string{w.topics.Rated, w.topics.Alerts, w.topics.RechargeRequests, w.topics.DeadLetters} {
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: partitions, Replication: 1})
	}
	if err := w.client.EnsureTopics(tb.Context(), specs); err != nil {
		tb.Fatal(err)
	}
	w.rdb = balance.Client(w.redis.Options())
	tb.Cleanup(func() { _ = w.rdb.Close() })
	w.open()
	w.commands = alerts.NewCommands(w.client, w.topics.Commands, w.partitionOf)
	w.gate.Publisher = alerts.New(kafka.NewWriter(w.client, kafka.WriterOptions{}), w.topics, w.partitionOf, prometheus.NewRegistry())
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.store, err = balance.Open(w.t.Context(), w.rdb, balance.Options{
		Shards: 8, CommandPartitions: partitions, CDRTopic: w.cdrs, CommandTopic: w.topics.Commands,
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) partitionOf(account string) int {
	return w.store.CommandPartition(w.store.ShardOf(account))
}

// running is one consumer.
type running struct {
	*consumer.Consumer
	registry *prometheus.Registry
	stop     func() error // and wait
	err      atomic.Pointer[error]
}

// failed reports whether Run has returned an error.
func (r *running) failed() bool {
	e := r.err.Load()
	return e != nil && *e != nil
}

// forge gives a mark another digest of its last record.
func forge(mark string) string {
	f := strings.Fields(mark)
	f[3] = "forged"
	return strings.Join(f, " ")
}

func (w *world) start() *running {
	w.t.Helper()
	r := &running{registry: prometheus.NewRegistry()}
	var logger *slog.Logger
	if testing.Verbose() {
		logger = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	} else {
		logger = slog.New(slog.DiscardHandler)
	}
	cfg := consumer.Config{
		Client: w.client, Group: kafka.GroupConfig{ID: w.kafka.Name("g"), SessionTimeout: 6 * time.Second, JoinBackoff: 50 * time.Millisecond},
		CDRTopic: w.cdrs, CommandTopic: w.topics.Commands, Store: w.store, Decoder: cdr.NewDecoder(w.formats), Rater: w.rater, Publisher: w.gate, Commander: w.commands,
		Logger: logger, Registerer: r.registry, Now: time.Now, Current: w.current, Lost: w.lost, Confirm: w.confirm,
		FetchWait: 50 * time.Millisecond, Patience: 300 * time.Millisecond, StopGrace: time.Second,
	}
	if w.member != nil {
		cfg.Client = w.member
	}
	r.Consumer = consumer.New(cfg)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() {
		err := r.Run(ctx)
		r.err.Store(&err)
		done <- err
	}()
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Second):
			w.t.Fatal("the consumer does not stop")
			return nil
		}
	}
	w.t.Cleanup(func() { _ = r.stop() })
	return r
}

// until waits for a condition.
func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			tb.Fatalf("waited 30 s for: %s", what)
		case <-tick.C:
		}
	}
}

func (w *world) command(c *balance.Command) {
	w.t.Helper()
	if _, _, err := w.commands.Append(w.t.Context(), c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(accounts ...string) {
	w.t.Helper()
	for _, a := range accounts {
		w.command(&balance.Command{Type: balance.PutAccount, Account: a, ID: "create", Put: &balance.Settings{Currency: "USD"}})
	}
}

// call is a CDR in JSON.
func (w *world) call(account string, millis int, more ...string) []byte {
	w.sent++
	return fmt.Appendf(nil, `{"id":"c%d","source":"test","account":%q,"kind":"user_out","callee":"+1","answered_at":%q,"duration_ms":%d%s}`,
		w.sent, account, time.Now().UTC().Format(time.RFC3339Nano), millis, strings.Join(more, ""))
}

func (w *world) produce(partition int, values ...[]byte) {
	w.t.Helper()
	var msgs []kafka.Message
	for _, v := range values {
		msgs = append(msgs, kafka.Message{Topic: w.cdrs, Partition: partition, Value: v})
	}
	if _, err := w.client.Write(w.t.Context(), w.cdrs, partition, msgs); err != nil {
		w.t.Fatal(err)
	}
}

// spent returns what an account has spent; -1 while it is unknown.
func (w *world) spent(account string) int64 {
	a, err := w.store.Account(w.t.Context(), account)
	if err != nil {
		return -1
	}
	return int64(a.Spent)
}

// all reads a whole topic.
func (w *world) all(topic string) []kafka.Record {
	w.t.Helper()
	var out []kafka.Record
	for p := range partitions {
		_, end, err := w.client.Bounds(w.t.Context(), topic, p)
		if err != nil {
			w.t.Fatal(err)
		}
		for from := int64(0); from < end; {
			f, err := w.client.Fetch(w.t.Context(), topic, p, from, kafka.FetchOptions{MaxWait: time.Second})
			if err != nil {
				w.t.Fatal(err)
			}
			out = append(out, f.Records...)
			from = f.Next
		}
	}
	return out
}

type rated struct {
	ID, Account, Outcome, Charge, Topic string
	Partition                           int
	Offset                              int64
}

func (w *world) rated() []rated {
	w.t.Helper()
	var out []rated
	for _, r := range w.all(w.topics.Rated) {
		var x rated
		if err := json.Unmarshal(r.Value, &x); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, x)
	}
	return out
}

func header(r *kafka.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// figure returns a metric's value, summed over its labels unless some are given
// as name, value, ...
func (r *running) figure(tb testing.TB, name string, labels ...string) float64 {
	tb.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := true
			for i := 0; i+1 < len(labels); i += 2 {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName() == labels[i] && l.GetValue() == labels[i+1]
				}
				match = match && found
			}
			if match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
