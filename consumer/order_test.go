package consumer_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// committed returns the group's offset of a cdrs partition; -1: none.
func (w *world) committed(partition int) int64 {
	w.t.Helper()
	c := kafkago.Client{Addr: kafkago.TCP(w.kafka.Brokers()...)}
	r, err := c.OffsetFetch(w.t.Context(), &kafkago.OffsetFetchRequest{GroupID: w.kafka.Name("g"), Topics: map[string][]int{w.cdrs: {partition}}})
	if err != nil {
		w.t.Fatal(err)
	}
	if len(r.Topics[w.cdrs]) == 0 {
		return -1 // the group does not exist yet
	}
	return r.Topics[w.cdrs][0].CommittedOffset
}

// rounds waits for some confirmations of all shards.
func rounds(t *testing.T, r *running) {
	t.Helper()
	const name = "creditstream_consumer_confirmations_total"
	from := r.figure(t, name)
	until(t, "confirmations", func() bool { return r.figure(t, name) >= from+5 })
}

func TestNothingIsCommittedBeforeItIsPublished(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1))
	until(t, "first commit", func() bool { return w.committed(0) == 1 })
	shut := make(chan struct{})
	w.gate.open.Store(&shut)
	w.produce(0, w.call("acme", 2))
	until(t, "debited", func() bool { return w.spent("acme") == 3 })
	rounds(t, r)
	if c := w.committed(0); c != 1 {
		t.Errorf("committed %d although the second call is not published", c)
	}
	w.gate.open.Store(nil)
	close(shut)
	until(t, "second commit", func() bool { return w.committed(0) == 2 })
}

func TestWhatWasNotPublishedIsPublishedByTheNextOwner(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	shut := make(chan struct{})
	w.gate.open.Store(&shut)
	w.produce(0, w.call("acme", 1), []byte("garbage"), w.call("acme", 2))
	until(t, "debited", func() bool { return w.spent("acme") == 3 })
	done := make(chan error)
	go func() { done <- r.stop() }()
	if err := <-done; err != nil { // the grace ends while the publisher is stuck
		t.Fatal(err)
	}
	if n := len(w.rated()); n != 0 {
		t.Fatalf("%d rated records", n)
	}
	w.gate.open.Store(nil)
	w.start()
	until(t, "published", func() bool { return len(w.rated()) == 2 && len(w.all(w.topics.DeadLetters)) == 1 })
	if s := w.spent("acme"); s != 3 {
		t.Errorf("spent %d, want 3", s)
	}
}

func TestRestartGoesOnWhereItStopped(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1))
	until(t, "debited", func() bool { return w.spent("acme") == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.produce(0, w.call("acme", 10))
	w.produce(1, w.call("acme", 100))
	r = w.start()
	until(t, "debited", func() bool { return w.spent("acme") == 111 })
	until(t, "committed", func() bool { return w.committed(0) == 2 && w.committed(1) == 1 })
	if n := r.figure(t, "creditstream_consumer_take_overs_total"); n != 0 {
		t.Errorf("%v take-overs", n)
	}
}

func TestAShardThatWentBackIsNoticedWhenIdle(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme", "globex")
	until(t, "created", func() bool { return w.spent("acme") == 0 && w.spent("globex") == 0 })
	w.produce(0, w.call("acme", 1))
	until(t, "debited", func() bool { return w.spent("acme") == 1 })
	rounds(t, r)
	old := w.redis.Dump()
	w.produce(0, w.call("acme", 10))
	w.produce(1, w.call("globex", 100))
	w.command(&balance.Command{Type: balance.PutAccount, Account: "late", ID: "create", Put: &balance.Settings{Currency: "USD"}})
	until(t, "debited", func() bool { return w.spent("acme") == 11 && w.spent("globex") == 100 && w.spent("late") == 0 })
	w.redis.Restore(old) // and nothing more is sent
	until(t, "debited again", func() bool { return w.spent("acme") == 11 && w.spent("globex") == 100 && w.spent("late") == 0 })
	rounds(t, r)
	if a := r.figure(t, "creditstream_consumer_take_overs_total", "cause", "refused"); a == 0 {
		t.Error("no take-over")
	}
	if n := len(w.all(w.topics.DeadLetters)); n != 0 {
		t.Errorf("%d parked", n)
	}
}

func TestAnEmptyRedisIsFilledFromTheLogs(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1), w.call("acme", 2))
	until(t, "debited", func() bool { return w.spent("acme") == 3 })
	w.redis.Flush()
	until(t, "debited again", func() bool { return w.spent("acme") == 3 })
}

// Whoever is asked whether what a shard lacks is lost may end the consumer: nothing is
// applied then.
func TestAnEmptyRedisEndsAConsumerThatKnowsBetter(t *testing.T) {
	w := newWorld(t)
	lost := errors.New("lost")
	w.lost = func(ctx context.Context, src balance.Source, _ []int) error {
		committed, err := w.client.Committed(ctx, w.kafka.Name("g"), w.cdrs, w.topics.Commands)
		if err == nil && committed[kafka.TopicPartition{Topic: src.Topic, Partition: src.Partition}] > 0 {
			err = lost
		}
		return err
	}
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1), w.call("acme", 2))
	until(t, "debited", func() bool { return r.failed() || w.spent("acme") == 3 })
	if r.failed() {
		t.Fatal(*r.err.Load()) // of a new source
	}
	rounds(t, r)
	w.redis.Flush()
	until(t, "an end", r.failed)
	if err := *r.err.Load(); !errors.Is(err, lost) {
		t.Error(err)
	}
	if keys := w.redis.Keys("cs:{*}:acct:*"); len(keys) > 0 {
		t.Errorf("accounts were made again: %v", keys)
	}
}

// On a replay a request that the log has answered is not made again.
func TestReadyMeansThatTheCommandsOfBeforeAreApplied(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	const n = 30_000
	one := rating.Micros(1)
	for i := 0; i < n; {
		var msgs []kafka.Message
		for ; len(msgs) < 1000; i++ {
			value, err := (&balance.Command{Type: balance.TopUp, Account: "acme", ID: "k" + strconv.Itoa(i), Amount: &one}).Encode()
			if err != nil {
				t.Fatal(err)
			}
			msgs = append(msgs, kafka.Message{Value: value})
		}
		if _, err := w.client.Write(t.Context(), w.topics.Commands, w.partitionOf("acme"), msgs); err != nil {
			t.Fatal(err)
		}
	}
	r := w.start()
	until(t, "ready", func() bool { return r.Ready() == nil })
	a, err := w.store.Account(t.Context(), "acme")
	if err != nil || a.Funded != n {
		t.Errorf("ready with %+v (%v), want %d applied", a, err, n)
	}
}

func TestAnsweredRequestsAreNotMadeAgain(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("globex")
	until(t, "created", func() bool { return w.spent("globex") == 0 })
	rounds(t, r)
	old := w.redis.Dump()
	w.command(recharging("acme"))
	until(t, "request", func() bool { return len(w.all(w.topics.RechargeRequests)) == 1 })
	amount := rating.Micros(50)
	w.command(&balance.Command{Type: balance.Result, Account: "acme", N: 1, Status: "succeeded", Amount: &amount, Currency: "USD"})
	until(t, "credit", func() bool { a, err := w.store.Account(t.Context(), "acme"); return err == nil && a.Balance() == 50 })
	w.redis.Restore(old)
	until(t, "credit again", func() bool { a, err := w.store.Account(t.Context(), "acme"); return err == nil && a.Balance() == 50 })
	w.produce(0, w.call("acme", 30)) // 20 left: the next request goes out after whatever was held
	until(t, "second request", func() bool { n := len(w.all(w.topics.RechargeRequests)); return n >= 2 })
	seen := map[string]int{}
	for _, rec := range w.all(w.topics.RechargeRequests) {
		seen[header(&rec, "ce_id")]++
	}
	if seen["acme/1"] != 1 || seen["acme/2"] != 1 {
		t.Errorf("requests %v", seen)
	}
}

func TestATruncatedLogStopsTheConsumer(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1), w.call("acme", 2))
	until(t, "debited", func() bool { return w.spent("acme") == 3 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	marks := w.redis.Keys("cs:*:marks")
	for _, k := range marks { // as if the topic were another one of the same length
		v := w.rdb.HGet(t.Context(), k, w.cdrs+"/0").Val()
		if v == "" {
			continue
		}
		if err := w.rdb.HSet(t.Context(), k, w.cdrs+"/0", forge(v)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r = w.start()
	until(t, "an error", func() bool { return r.failed() })
}

func TestStopIsQuickWhileBehind(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	until(t, "ready", func() bool { return r.Ready() == nil })
	w.produce(0, w.call("nobody", 1))
	began := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s, at most 10 s are allowed", took)
	}
}

func TestStopConfirmsAndCommitsWhatIsFinished(t *testing.T) {
	w := newWorld(t)
	w.confirm = time.Hour
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1))
	until(t, "published", func() bool { return len(w.rated()) == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if c := w.committed(0); c != 1 {
		t.Errorf("committed %d, want 1", c)
	}
}
