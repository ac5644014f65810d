package verify_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/internal/verify"
	"github.com/creditstream/creditstream/rating"
)

func TestMain(m *testing.M) { testserver.Run(m) }

const (
	shards     = 8
	partitions = 2
	deckText   = "id: test\ncurrency: USD\nvalid_from: 2020-01-01T00:00:00Z\nhome_country: US\nrules:\n" +
		"  - {kinds: [user_out], scope: any, table: out.csv, match: callee}\n"
	outText = "prefix,destination,country,setup_fee,price,first,next\n33,France,FR,0,0.06,1,1\n" // 1,000 micros a second
)

// world is a Kafka and a store, whose stream a test runs and halts.
type world struct {
	t        *testing.T
	kafka    *testserver.Kafka
	topics   alerts.Topics
	cdrs     string // topic
	client   *kafka.Client
	rdb      redis.UniversalClient
	store    *balance.Store
	commands *alerts.Commands
	decks    *rating.Decks
}

func newWorld(t *testing.T) *world {
	t.Helper()
	k := testserver.NewKafka(t)
	w := &world{t: t, kafka: k, cdrs: k.Name("cdrs"), topics: alerts.Topics{
		Rated: k.Name("rated-cdrs"), Alerts: k.Name("credit-alerts"), RechargeRequests: k.Name("recharge-requests"),
		Commands: k.Name("credit-commands"), DeadLetters: k.Name("cdrs.dlq"),
	}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.client, err = kafka.New(kafka.Config{Brokers: k.Brokers()})
	must(err)
	t.Cleanup(w.client.Close)
	var specs []kafka.TopicSpec
	for _, name := range []string{w.cdrs, w.topics.Commands, w.topics.Rated, w.topics.Alerts, w.topics.RechargeRequests, w.topics.DeadLetters} {
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: partitions, Replication: 1, Configs: map[string]string{"message.timestamp.type": "LogAppendTime"}})
	}
	must(w.client.EnsureTopics(t.Context(), specs))
	w.rdb = balance.Client(testserver.NewRedis(t).Options())
	t.Cleanup(func() { _ = w.rdb.Close() })
	w.store, err = balance.Open(t.Context(), w.rdb, balance.Options{
		Shards: shards, CommandPartitions: partitions, CDRTopic: w.cdrs, CommandTopic: w.topics.Commands, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	must(err)
	w.decks, err = rating.Load(fstest.MapFS{"deck.yaml": {Data: []byte(deckText)}, "out.csv": {Data: []byte(outText)}})
	must(err)
	must(w.store.NoteDecks(t.Context(), w.decks.Versions(), balance.NoteOptions{AcceptPast: true}))
	w.commands = alerts.NewCommands(w.client, w.topics.Commands, w.partitionOf)
	return w
}

func (w *world) partitionOf(account string) int {
	return w.store.CommandPartition(w.store.ShardOf(account))
}

// run starts the stream; halt stops it.
func (w *world) run() (halt func()) {
	w.t.Helper()
	stream := consumer.New(consumer.Config{
		Client: w.client, Group: kafka.GroupConfig{ID: w.kafka.Name("g"), SessionTimeout: 6 * time.Second}, CDRTopic: w.cdrs, CommandTopic: w.topics.Commands,
		Store: w.store, Decoder: cdr.NewDecoder(cdr.Options{}), Rater: w.decks, Commander: w.commands,
		Publisher: alerts.New(kafka.NewWriter(w.client, kafka.WriterOptions{}), w.topics, w.partitionOf, nil),
		Logger:    slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(), Now: time.Now, FetchWait: 50 * time.Millisecond,
		Confirm: 20 * time.Millisecond, StopGrace: time.Second,
	})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- stream.Run(ctx) }()
	halt = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(halt)
	return halt
}

// applied runs the stream until every shard has all that is in the logs.
func (w *world) applied() {
	w.t.Helper()
	halt := w.run()
	defer halt()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !w.isApplied() {
		select {
		case <-deadline.C:
			w.t.Fatal("the logs are not applied within 30 s")
		case <-tick.C:
		}
	}
}

func (w *world) isApplied() bool {
	w.t.Helper()
	marks, err := w.store.AllMarks(w.t.Context())
	for _, topic := range []string{w.cdrs, w.topics.Commands} {
		ends, err2 := w.client.Ends(w.t.Context(), topic)
		if err != nil || err2 != nil {
			w.t.Fatal(err, err2)
		}
		for p, end := range ends {
			for shard, m := range marks {
				of := topic == w.cdrs || w.store.CommandPartition(shard) == p
				if of && m[balance.Source{Topic: topic, Partition: p}].Next < end {
					return false
				}
			}
		}
	}
	return true
}

func (w *world) append(commands ...*balance.Command) {
	w.t.Helper()
	for _, c := range commands {
		if _, _, err := w.commands.Append(w.t.Context(), c); err != nil {
			w.t.Fatal(err)
		}
	}
}

func create(account string) *balance.Command {
	return &balance.Command{Type: balance.PutAccount, Account: account, ID: "create", Put: &balance.Settings{Currency: "USD"}}
}

func topUp(account, id string, amount rating.Micros) *balance.Command {
	return &balance.Command{Type: balance.TopUp, Account: account, ID: id, Amount: &amount}
}

// answered is when every call was: copies of one must agree on it.
var answered = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)

// call is a CDR of so many seconds; each costs 1,000 micros.
func call(id, account string, seconds int) string {
	return fmt.Sprintf(`{"id":%q,"source":"pbx","account":%q,"kind":"user_out","callee":"+33142685300","answered_at":%q,"duration_ms":%d}`,
		id, account, answered.Format(time.RFC3339), seconds*1000)
}

func (w *world) produce(partition int, values ...string) {
	w.t.Helper()
	w.write(w.cdrs, partition, values...)
}

func (w *world) write(topic string, partition int, values ...string) {
	w.t.Helper()
	var msgs []kafka.Message
	for _, v := range values {
		msgs = append(msgs, kafka.Message{Topic: topic, Partition: partition, Value: []byte(v)})
	}
	if _, err := w.client.Write(w.t.Context(), topic, partition, msgs); err != nil {
		w.t.Fatal(err)
	}
}

// key is one of the shard of an account; what is such as "acct:acme", or "marks".
func (w *world) key(account, what string) string {
	return fmt.Sprintf("cs:{%d}:%s", w.store.ShardOf(account), what)
}

// add changes an amount of an account, as no log says.
func (w *world) add(account, field string, micros int64) {
	w.t.Helper()
	w.do("HINCRBY", w.key(account, "acct:"+account), field, micros)
}

func (w *world) do(command ...any) {
	w.t.Helper()
	if err := w.rdb.Do(w.t.Context(), command...).Err(); err != nil {
		w.t.Fatal(command, err)
	}
}

// copyOf copies the keys of the shard of an account; put puts such a copy back, as a
// failover does.
func (w *world) copyOf(account string) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	for _, key := range w.keysOf(account) {
		text, err := w.rdb.Dump(w.t.Context(), key).Result()
		if err != nil {
			w.t.Fatal(err)
		}
		all[key] = text
	}
	return all
}

func (w *world) put(account string, all map[string]string) {
	w.t.Helper()
	for _, key := range w.keysOf(account) {
		w.do("DEL", key)
	}
	for key, text := range all {
		w.do("RESTORE", key, 0, text)
	}
}

func (w *world) keysOf(account string) (all []string) {
	w.t.Helper()
	pattern := w.key(account, "*")
	if c, ok := w.rdb.(*redis.ClusterClient); ok {
		node, err := c.MasterForKey(w.t.Context(), pattern)
		if err != nil {
			w.t.Fatal(err)
		}
		all, err = node.Keys(w.t.Context(), pattern).Result()
		if err != nil {
			w.t.Fatal(err)
		}
		return all
	}
	all, err := w.rdb.Keys(w.t.Context(), pattern).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func (w *world) config() *verify.Config {
	return &verify.Config{
		Client: w.client, Store: w.store, RatedTopic: w.topics.Rated, Decoder: cdr.NewDecoder(cdr.Options{}), Decks: w.decks, Now: time.Now,
	}
}

func (w *world) report(cfg *verify.Config) *verify.Report {
	w.t.Helper()
	rep, err := verify.Run(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

// well checks that every account is what the logs say.
func (w *world) well(accounts int) *verify.Report {
	w.t.Helper()
	rep := w.report(w.config())
	if rep.Verdict() != verify.Well || rep.Accounts != accounts {
		w.t.Errorf("%d accounts, %s: %s; want %d that are well", rep.Accounts, rep.Verdict(), strings.Join(told(rep), "\n"), accounts)
	}
	return rep
}

// told writes differences, a line each: account, field, difference, what explains it
// and the ids of the records.
func told(rep *verify.Report) (lines []string) {
	for i := range rep.Differences {
		d := &rep.Differences[i]
		words := []string{d.Account, string(d.Field)}
		if m, ok := d.Money(); ok {
			words = append(words, strconv.FormatInt(int64(m), 10))
		}
		if d.Found != "" {
			words = append(words, d.Found+":")
		}
		for _, r := range d.Records {
			words = append(words, r.ID)
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return lines
}

// differ checks what a report tells.
func (w *world) differ(rep *verify.Report, want ...string) {
	w.t.Helper()
	got := told(rep)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(want) > 0 && rep.Verdict() != verify.Differs {
		w.t.Errorf("the verdict is %s", rep.Verdict())
	}
}

// apart returns two accounts of different shards whose commands are in one partition.
func (w *world) apart() (one, other string) {
	one = "acme"
	for i := 0; ; i++ {
		other = "tenant-" + strconv.Itoa(i)
		if w.store.ShardOf(other) != w.store.ShardOf(one) && w.partitionOf(other) == w.partitionOf(one) {
			return one, other
		}
	}
}
