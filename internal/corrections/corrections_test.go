package corrections_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/corrections"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/rating"
)

func TestMain(m *testing.M) { testserver.Run(m) }

// world is a Kafka, a store and a consumer that runs.
type world struct {
	t        *testing.T
	kafka    *testserver.Kafka
	cdrs     string // topic
	topics   alerts.Topics
	client   *kafka.Client
	store    *balance.Store
	commands *alerts.Commands
	registry *prometheus.Registry
	decks    *rating.Decks
	sent     int
	answered time.Time
	strange  corrections.Strange // of the last run
	stop     func()              // the consumer
}

const partitions = 2

func newWorld(t *testing.T) *world {
	t.Helper()
	k := testserver.NewKafka(t)
	w := &world{t: t, kafka: k, cdrs: k.Name("cdrs"), registry: prometheus.NewRegistry(), answered: time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)}
	var err error
	if w.client, err = kafka.New(kafka.Config{Brokers: k.Brokers()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	topics := alerts.Topics{
		Rated: k.Name("rated-cdrs"), Alerts: k.Name("credit-alerts"), RechargeRequests: k.Name("recharge-requests"),
		Commands: k.Name("credit-commands"), DeadLetters: k.Name("cdrs.dlq"),
	}
	w.topics = topics
	appended := map[string]string{"message.timestamp.type": "LogAppendTime"}
	var specs []kafka.TopicSpec
	for _, name := range []string{w.cdrs, topics.Rated, topics.Alerts, topics.RechargeRequests, topics.Commands, topics.DeadLetters} {
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: partitions, Replication: 1, Configs: appended})
	}
	if err := w.client.EnsureTopics(t.Context(), specs); err != nil {
		t.Fatal(err)
	}
	rdb := balance.Client(testserver.NewRedis(t).Options())
	t.Cleanup(func() { _ = rdb.Close() })
	if w.store, err = balance.Open(t.Context(), rdb, balance.Options{
		Shards: 4, CommandPartitions: partitions, CDRTopic: w.cdrs, CommandTopic: topics.Commands, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	}); err != nil {
		t.Fatal(err)
	}
	partitionOf := func(account string) int { return w.store.CommandPartition(w.store.ShardOf(account)) }
	w.commands = alerts.NewCommands(w.client, topics.Commands, partitionOf)
	w.price("0.60")
	stream := consumer.New(consumer.Config{
		Client: w.client, Group: kafka.GroupConfig{ID: k.Name("g"), SessionTimeout: 6 * time.Second}, CDRTopic: w.cdrs, CommandTopic: topics.Commands,
		Store: w.store, Decoder: cdr.NewDecoder(cdr.Options{}), Rater: w.decks, Commander: w.commands,
		Publisher: alerts.New(kafka.NewWriter(w.client, kafka.WriterOptions{}), topics, partitionOf, nil),
		Logger:    slog.New(slog.DiscardHandler), Registerer: w.registry, Now: time.Now, FetchWait: 50 * time.Millisecond, StopGrace: time.Second,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- stream.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// price loads a deck that charges so much a minute to France, and has nothing else.
func (w *world) price(perMinute string) {
	w.t.Helper()
	var err error
	w.decks, err = rating.Load(fstest.MapFS{
		"deck.yaml": {Data: []byte("id: test\ncurrency: USD\nvalid_from: 2020-01-01T00:00:00Z\nhome_country: US\nrules:\n" +
			"  - {kinds: [user_out], scope: any, table: out.csv, match: callee}\n")},
		"out.csv": {Data: []byte("prefix,destination,country,setup_fee,price,first,next\n33,France,FR,0," + perMinute + ",1,1\n")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited 30 s for: %s", what)
		case <-tick.C:
		}
	}
}

// applied waits until what was appended is applied.
func (w *world) applied() {
	w.t.Helper()
	until(w.t, "commands are applied", func() bool {
		ends, err := w.client.Ends(w.t.Context(), w.topics.Commands)
		for p, end := range ends {
			for _, account := range []string{"acme", "globex", "euro"} {
				if w.store.CommandPartition(w.store.ShardOf(account)) != p {
					continue
				}
				if next, err := w.store.AppliedTo(w.t.Context(), account); err != nil || next < end {
					return false
				}
			}
		}
		return err == nil
	})
}

func (w *world) create(account, currency string) {
	w.t.Helper()
	cmd := &balance.Command{Type: balance.PutAccount, Account: account, ID: "create", Put: &balance.Settings{Currency: currency}}
	if _, _, err := w.commands.Append(w.t.Context(), cmd); err != nil {
		w.t.Fatal(err)
	}
	w.applied()
}

// call is a CDR of seconds to France.
func (w *world) call(id, account string, seconds int) string {
	return fmt.Sprintf(`{"id":%q,"source":"s","account":%q,"kind":"user_out","callee":"+33142685300","answered_at":%q,"duration_ms":%d}`,
		id, account, w.answered.Format(time.RFC3339Nano), seconds*1000)
}

// send has CDRs rated.
func (w *world) send(values ...string) {
	w.t.Helper()
	for _, v := range values {
		if _, err := w.client.Write(w.t.Context(), w.cdrs, 0, []kafka.Message{{Value: []byte(v)}}); err != nil {
			w.t.Fatal(err)
		}
	}
	w.sent += len(values)
	until(w.t, "calls are handled", func() bool {
		families, err := w.registry.Gather()
		n := 0.0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "creditstream_consumer_records_total" {
					n += m.GetCounter().GetValue()
				}
			}
		}
		return err == nil && int(n) == w.sent
	})
}

func (w *world) balance(account string) string {
	w.t.Helper()
	w.applied()
	a, err := w.store.Account(w.t.Context(), account)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.Balance().String()
}

func (w *world) config() *corrections.Config {
	return &corrections.Config{
		Client: w.client, Store: w.store, Commands: w.commands, RatedTopic: w.topics.Rated, Decks: w.decks, Operator: "ann", Reason: "corrected CDR",
		Wait: 20 * time.Second, Now: time.Now,
	}
}

// canonical reads a record of a file in canonical JSON.
func canonical(p *cdr.Piece, c *rating.CDR) error {
	if p.Fault != nil {
		return p.Fault
	}
	return cdr.Canonical(p.Data, c)
}

// correct corrects, and returns the results.
func (w *world) correct(cfg *corrections.Config, values ...string) (all []corrections.Result) {
	w.t.Helper()
	lines, err := corrections.Read(strings.NewReader(strings.Join(values, "\n")), cdr.CanonicalJSON, canonical)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.strange, err = corrections.Run(w.t.Context(), cfg, lines, func(r corrections.Result) { all = append(all, r) }); err != nil {
		w.t.Fatal(err)
	}
	return all
}

// want corrects one call, and checks by how much.
func (w *world) want(value, was, now, adjusted string) corrections.Result {
	w.t.Helper()
	r := w.correct(w.config(), value)[0]
	if r.Err != nil || r.Was.String() != was || r.Now.String() != now || r.Adjusted.String() != adjusted || (r.ID == "") != (r.Adjusted == 0) {
		w.t.Errorf("%+v, want %s to %s by %s", r, was, now, adjusted)
	}
	return r
}

func TestThereAndBackAgain(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	a, b := w.call("1", "acme", 100), w.call("1", "acme", 40)
	w.send(a)
	first := w.want(b, "1.000000", "0.400000", "0.600000")
	w.want(b, "0.400000", "0.400000", "0.000000")
	if got := w.balance("acme"); got != "-0.400000" {
		t.Errorf("balance %s", got)
	}
	second := w.want(a, "0.400000", "1.000000", "-0.600000")
	if got := w.balance("acme"); got != "-1.000000" {
		t.Errorf("balance %s", got)
	}
	w.want(b, "1.000000", "0.400000", "0.600000")
	if got := w.balance("acme"); got != "-0.400000" {
		t.Errorf("balance %s", got)
	}
	if !strings.HasSuffix(first.ID, "/1") || !strings.HasSuffix(second.ID, "/2") || first.ID[:len(first.ID)-1] != second.ID[:len(second.ID)-1] {
		t.Errorf("ids %s %s", first.ID, second.ID)
	}
	// within one file, too
	if all := w.correct(w.config(), a, b, a, a); all[3].Adjusted != 0 || all[2].Adjusted != -600_000 {
		t.Errorf("%+v", all)
	}
	if got := w.balance("acme"); got != "-1.000000" {
		t.Errorf("balance %s", got)
	}
	// a new price for an old call
	w.price("0.30")
	w.want(a, "1.000000", "0.500000", "0.500000")
}

func TestADryRunWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.send(w.call("1", "acme", 100))
	cfg := w.config()
	cfg.DryRun = true
	all := w.correct(cfg, w.call("1", "acme", 40), w.call("1", "acme", 10))
	if all[0].Adjusted != 600_000 || all[1].Was != 400_000 || all[1].Adjusted != 300_000 || !strings.HasSuffix(all[1].ID, "/2") {
		t.Errorf("%+v", all)
	}
	if got := w.balance("acme"); got != "-1.000000" {
		t.Errorf("balance %s", got)
	}
	w.want(w.call("1", "acme", 100), "1.000000", "1.000000", "0.000000")
}

// What counts of several records of one call is the one that was charged.
func TestWhatACallHasCost(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.create("globex", "USD")
	w.send(w.call("3", "acme", 0)) // claims no id: its correction would be charged beside the call
	if got := w.correct(w.config(), w.call("3", "acme", 60)); got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "never rated") {
		t.Errorf("a record of no length: %+v", got[0])
	}
	w.send(w.call("1", "acme", 100), w.call("1", "acme", 70), w.call("1", "acme", 0), w.call("1", "globex", 5))
	w.want(w.call("1", "acme", 100), "1.000000", "1.000000", "0.000000")
	if acme, globex := w.balance("acme"), w.balance("globex"); acme != "-1.000000" || globex != "-0.050000" {
		t.Errorf("balances %s %s", acme, globex)
	}
}

// A call that is free whatever its account has is another one to the memory of ids:
// its record that is paid for is charged whenever it comes, and only that can be
// corrected. Once such a record is too old to be charged, nothing can come any more.
func TestACallThatWasOnlyFree(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	paid := w.call("1", "acme", 30)
	internal := strings.Replace(paid, "user_out", "internal", 1)
	w.send(internal)
	w.want(internal, "0.000000", "0.000000", "0.000000")
	if r := w.correct(w.config(), paid)[0]; !errors.Is(r.Err, corrections.ErrOnlyFree) {
		t.Errorf("%+v", r)
	}
	w.send(paid) // as the error says; and as a switch may do at any time
	if got := w.balance("acme"); got != "-0.300000" {
		t.Errorf("balance %s", got)
	}
	w.want(paid, "0.300000", "0.300000", "0.000000")
	w.want(internal, "0.300000", "0.000000", "0.300000")
	w.want(w.call("1", "acme", 60), "0.000000", "0.600000", "-0.600000")
	if got := w.balance("acme"); got != "-0.600000" {
		t.Errorf("balance %s", got)
	}
	w.answered = time.Now().AddDate(0, 0, -60).UTC().Truncate(time.Millisecond)
	w.rated(strings.Replace(w.call("2", "acme", 30), "user_out", "internal", 1))
	w.want(w.call("2", "acme", 30), "0.000000", "0.300000", "-0.300000")
}

// rated writes the rated record of a call that was handled long ago, and was free.
func (w *world) rated(call string) {
	w.t.Helper()
	value := strings.TrimSuffix(call, "}") + `,"charge":"0.000000","outcome":"free"}`
	var key struct{ Account string }
	if err := json.Unmarshal([]byte(call), &key); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.client.Write(w.t.Context(), w.topics.Rated, 0, []kafka.Message{{Key: []byte(key.Account), Value: []byte(value)}}); err != nil {
		w.t.Fatal(err)
	}
}

// What has no rated record was never rated, if the topic still has all that was written
// since; else nobody knows.
func TestARatedRecordThatMayHaveExpired(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	recent := w.call("1", "acme", 30)
	w.answered = time.Now().AddDate(0, 0, -10).UTC().Truncate(time.Millisecond)
	old := w.call("2", "acme", 30)
	w.rated(strings.Replace(old, "user_out", "internal", 1))
	w.rated(w.call("3", "acme", 30))
	w.want(w.call("3", "acme", 30), "0.000000", "0.300000", "-0.300000")
	if r := w.correct(w.config(), w.call("4", "acme", 30))[0]; !errors.Is(r.Err, corrections.ErrNeverRated) {
		t.Errorf("nothing is deleted: %+v", r)
	}
	w.kafka.DeleteRecords(w.topics.Rated, 0, 1) // and the topic keeps 7 days, the default of Kafka
	for id, value := range map[string]string{"2": old, "4": w.call("4", "acme", 30)} {
		expired, ok := errors.AsType[*corrections.ExpiredError](w.correct(w.config(), value)[0].Err)
		if age := time.Since(expired.Whole).Hours() / 24; !ok || age < 6.9 || age > 7.1 {
			t.Errorf("call %s: %+v", id, expired)
		}
	}
	w.want(w.call("3", "acme", 30), "0.300000", "0.300000", "0.000000") // is still there
	if r := w.correct(w.config(), recent)[0]; !errors.Is(r.Err, corrections.ErrNeverRated) {
		t.Errorf("of an hour ago: %+v", r)
	}
	w.kafka.DeleteRecords(w.topics.Rated, 0, -1)
	if r := w.correct(w.config(), recent)[0]; !errors.Is(r.Err, corrections.ErrNeverRated) {
		t.Errorf("of an hour ago, in an idle topic: %+v", r)
	}
}

// What somebody else wrote into the topic stops nothing, and is told of.
func TestWhatIsNoRatedRecord(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.send(w.call("1", "acme", 100))
	for _, key := range []string{"acme", "acme", "globex"} {
		if _, err := w.client.Write(t.Context(), w.topics.Rated, 1, []kafka.Message{{Key: []byte(key), Value: []byte("hello")}}); err != nil {
			t.Fatal(err)
		}
	}
	w.want(w.call("1", "acme", 40), "1.000000", "0.400000", "0.600000")
	if s := w.strange; s.Records != 2 || s.First == nil || !strings.HasPrefix(s.First.Error(), w.topics.Rated+"/1/") {
		t.Errorf("%+v", s)
	}
}

// What cannot be corrected keeps nothing else from it.
func TestWhatCannotBeCorrected(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.create("euro", "EUR")
	w.send(w.call("1", "acme", 100), w.call("2", "acme", 100), w.call("3", "euro", 30))
	w.rated(w.call("3", "euro", 30))
	w.rated(w.call("4", "nobody", 30))
	all := w.correct(w.config(),
		"{", w.call("9", "acme", 1), strings.Replace(w.call("2", "acme", 1), "+33", "+44", 1), w.call("3", "euro", 30), w.call("4", "nobody", 30),
		w.call("1", "acme", 10))
	for i, want := range []string{
		"not_json", "never rated", "no_rate: ", "the call costs USD, and the account has EUR", "no such account", "",
	} {
		if err := all[i].Err; (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || all[i].Line.Line != i+1 {
			t.Errorf("line %d: %+v, want %q", all[i].Line.Line, all[i], want)
		}
	}
	if got := w.balance("acme"); got != "-1.100000" {
		t.Errorf("balance %s", got)
	}
}

// rival has another run append just before.
type rival struct {
	*alerts.Commands

	amount rating.Micros
	more   rating.Micros // of a further correction by it; 0: none
}

func (r *rival) Append(ctx context.Context, c *balance.Command) (int, int64, error) {
	other := *c
	other.Amount, other.Operator = &r.amount, "bob"
	if _, _, err := r.Commands.Append(ctx, &other); err != nil {
		return 0, 0, err
	}
	if r.more != 0 {
		next := other
		next.Amount, next.ID = &r.more, strings.TrimSuffix(c.ID, "/1")+"/2"
		if _, _, err := r.Commands.Append(ctx, &next); err != nil {
			return 0, 0, err
		}
	}
	return r.Commands.Append(ctx, c)
}

func TestTwoRunsAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.send(w.call("1", "acme", 100), w.call("2", "acme", 100))
	cfg := w.config()
	cfg.Commands = &rival{w.commands, 300_000, 0}
	if r := w.correct(cfg, w.call("1", "acme", 40))[0]; !errors.Is(r.Err, corrections.ErrOvertaken) {
		t.Errorf("%+v", r)
	}
	if got := w.balance("acme"); got != "-1.700000" {
		t.Errorf("balance %s", got)
	}
	cfg.Commands = &rival{w.commands, 600_000, 0} // the same correction
	if r := w.correct(cfg, w.call("2", "acme", 40))[0]; r.Err != nil {
		t.Errorf("%+v", r)
	}
	if got := w.balance("acme"); got != "-1.100000" {
		t.Errorf("balance %s", got)
	}
	w.want(w.call("1", "acme", 40), "0.700000", "0.400000", "0.300000")

	w.send(w.call("3", "acme", 100))
	cfg.Commands = &rival{w.commands, 600_000, 100_000} // the same, and then a further one
	if r := w.correct(cfg, w.call("3", "acme", 40))[0]; !errors.Is(r.Err, corrections.ErrOvertaken) {
		t.Errorf("%+v", r)
	}
	w.want(w.call("3", "acme", 40), "0.300000", "0.400000", "-0.100000")
}

// A correction that was refused has changed nothing.
func TestARefusedCorrection(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.send(w.call("1", "acme", 100))
	cfg := w.config()
	cfg.DryRun = true
	id := w.correct(cfg, w.call("1", "acme", 40))[0].ID
	amount := rating.Micros(600_000)
	if _, _, err := w.commands.Append(t.Context(), &balance.Command{
		Type: balance.Adjust, Account: "acme", ID: id, Amount: &amount, Currency: "EUR", Reason: "x", Operator: "ann",
	}); err != nil {
		t.Fatal(err)
	}
	w.applied()
	if r := w.want(w.call("1", "acme", 40), "1.000000", "0.400000", "0.600000"); !strings.HasSuffix(r.ID, "/2") {
		t.Errorf("%s", r.ID)
	}
	if got := w.balance("acme"); got != "-0.400000" {
		t.Errorf("balance %s", got)
	}
}

// meddler changes commands on their way.
type meddler struct {
	*alerts.Commands

	change func(c *balance.Command)
}

func (m *meddler) Append(ctx context.Context, c *balance.Command) (int, int64, error) {
	other := *c
	m.change(&other)
	return m.Commands.Append(ctx, &other)
}

// What became of an adjustment is told once it is applied.
func TestWaitingUntilItIsApplied(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.send(w.call("1", "acme", 100), w.call("2", "acme", 100))
	cfg := w.config()
	cfg.Commands = &meddler{w.commands, func(c *balance.Command) {
		if c.CDR.ID == "2" {
			c.Currency = "EUR"
		}
	}}
	all := w.correct(cfg, w.call("1", "acme", 40), w.call("2", "acme", 40), w.call("1", "acme", 40))
	if all[0].Outcome != corrections.Adjusted || all[0].Late != nil || all[2].Outcome != corrections.Unchanged {
		t.Errorf("%+v", all)
	}
	if refused, ok := errors.AsType[*corrections.RefusedError](all[1].Err); !ok || refused.Reason != "currency_mismatch" || all[1].Outcome != "" {
		t.Errorf("%+v", all[1])
	}
	a, err := w.store.Account(t.Context(), "acme")
	if err != nil || a.Balance().String() != "-1.400000" {
		t.Errorf("the balance at once is %s, %v", a.Balance(), err)
	}

	w.stop()
	cfg = w.config()
	cfg.Wait = 100 * time.Millisecond
	began := time.Now()
	late := w.correct(cfg, w.call("1", "acme", 10), w.call("2", "acme", 10))
	for _, r := range late {
		if r.Outcome != corrections.Accepted || r.Err != nil || r.Late == nil || !strings.Contains(r.Late.Error(), "not known to be applied") {
			t.Errorf("%+v", r)
		}
	}
	if took := time.Since(began); took < cfg.Wait {
		t.Errorf("waited %s, want %s", took, cfg.Wait)
	}
	cfg.Wait = 0
	if r := w.correct(cfg, w.call("1", "acme", 20))[0]; r.Outcome != corrections.Accepted || r.Late != nil || r.Was != 100_000 {
		t.Errorf("%+v", r)
	}
}

// A correction that was refused has cost nothing when its call comes again, also later
// in the same file.
func TestRefusedEarlierInTheFile(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.send(w.call("1", "acme", 100), w.call("2", "acme", 100))
	values := slices.Repeat([]string{w.call("2", "acme", 100)}, 1001) // more than is waited for at a time
	values[0], values[1000] = w.call("1", "acme", 40), w.call("1", "acme", 30)
	cfg := w.config()
	cfg.Commands = &meddler{w.commands, func(c *balance.Command) {
		if strings.HasSuffix(c.ID, "/1") {
			c.Currency = "EUR"
		}
	}}
	all := w.correct(cfg, values...)
	if last := all[1000]; all[0].Err == nil || last.Outcome != corrections.Adjusted || last.Was != 1_000_000 || last.Now != 300_000 {
		t.Errorf("%+v, then %+v", all[0], last)
	}
}
