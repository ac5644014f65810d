package consumer_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// Redis goes back again and again under load, while marks are confirmed all the
// time: a confirmation must never move the mark of a session that it was not made
// for.
func TestRedisGoesBackAgainAndAgainUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.confirm = time.Millisecond
	r := w.start()
	var names []string
	for i := range 14 {
		names = append(names, fmt.Sprintf("tenant-%d", i))
	}
	w.create(names...)
	each := func(want int64) func() bool {
		return func() bool {
			return r.failed() || !slices.ContainsFunc(names, func(n string) bool { return w.spent(n) != want })
		}
	}
	until(t, "created", each(0))
	rounds(t, r)
	total := int64(0)
	old := w.redis.Dump()
	for range 8 {
		for range 8 {
			for range 5 {
				for p := range partitions {
					var v [][]byte
					for _, n := range names {
						v = append(v, w.call(n, 1))
					}
					w.produce(p, v...)
					total++
				}
			}
			w.redis.Restore(old)
		}
		until(t, "all debited", each(total))
		if r.failed() {
			t.Fatal(*r.err.Load())
		}
		rounds(t, r)
		old = w.redis.Dump()
	}
}

// A lane without new records has its published entries trimmed too: else they
// would outlive the records that they speak of.
func TestIdleLanesAreTrimmed(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1))
	until(t, "debited", func() bool { return w.spent("acme") == 1 })
	until(t, "trimmed", func() bool { return len(w.redis.Keys("cs:*:outbox:*")) == 0 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	w.kafka.DeleteRecords(w.cdrs, 0, 1)
	r = w.start()
	until(t, "ready", func() bool { return r.failed() || r.Ready() == nil })
	if r.failed() {
		t.Fatal(*r.err.Load())
	}
}

func (w *world) kgo(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.kafka.Brokers()...))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// A payment request that is held keeps its entry in the outbox, and nothing else.
func TestAHeldRequestDoesNotKeepWhatComesAfterIt(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("globex")
	until(t, "created", func() bool { return w.spent("globex") == 0 })
	rounds(t, r)
	old := w.redis.Dump()
	w.command(recharging("acme"))
	until(t, "request", func() bool { return len(w.all(w.topics.RechargeRequests)) == 1 })
	amount := rating.Micros(1000)
	top := func(n int) {
		w.command(&balance.Command{Type: balance.TopUp, Account: "acme", ID: fmt.Sprintf("top-up/%d", n), Amount: &amount})
	}
	funded := func(want int64) func() bool {
		return func() bool {
			a, err := w.store.Account(t.Context(), "acme")
			return err == nil && int64(a.Funded) == want
		}
	}
	top(0)
	until(t, "funded", funded(1000))
	w.redis.Restore(old) // the replay holds the request until the top-up is applied again
	for i := 1; i <= 20; i++ {
		top(i)
		until(t, "funded", funded(1000*int64(i+1)))
	}
	until(t, "trimmed", func() bool { return len(w.redis.Keys("cs:*:outbox:*")) == 0 })
}

// A record that came compressed may be larger than what dead letters may be.
func TestAHugeRecordDoesNotStopTheStream(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	until(t, "ready", func() bool { return r.Ready() == nil })
	c := w.kgo(kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(90<<20), kgo.BrokerMaxWriteBytes(200<<20))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: w.cdrs, Value: bytes.Repeat([]byte("x"), 3<<20)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	// and a batch larger than anybody would unpack
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: w.cdrs, Value: make([]byte, 65<<20)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.produce(0, w.call("acme", 7))
	until(t, "debited", func() bool { return r.failed() || w.spent("acme") == 7 })
	until(t, "dead letters", func() bool { return r.failed() || len(w.all(w.topics.DeadLetters)) == 2 })
	if r.failed() {
		t.Fatal(*r.err.Load())
	}
	cut := 0
	for _, letter := range w.all(w.topics.DeadLetters) {
		if header(&letter, "cs-reason") != string(rating.NotJSON) {
			t.Errorf("headers %v", letter.Headers)
		}
		if header(&letter, "cs-cut") != "" {
			cut++
		}
	}
	if cut != 1 {
		t.Errorf("%d dead letters are cut, want 1", cut)
	}
}

func TestAPartitionAddedToTheCommandsIsRefused(t *testing.T) {
	w := newWorld(t)
	req, topic := kmsg.NewCreatePartitionsRequest(), kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = w.topics.Commands, partitions+1
	req.Topics = append(req.Topics, topic)
	if _, err := req.RequestWith(t.Context(), w.kgo()); err != nil {
		t.Fatal(err)
	}
	r := w.start()
	until(t, "an error", r.failed)
}
