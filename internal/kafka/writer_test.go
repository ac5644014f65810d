package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// quick keeps tests short; the attempts stay real.
var quick = kafka.Backoff{Base: time.Millisecond, Max: 50 * time.Millisecond}

func TestWriterKeepsOrderOverRetries(t *testing.T) {
	t.Parallel()
	const partitions, each = 3, 200
	b := startBroker(t, broker.Options{Brokers: 2})
	c := newClient(t, b)
	createTopic(t, c, "t", partitions, nil)
	b.Cluster().Fault(
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: 4},
		kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: 4},
	)
	var mu sync.Mutex
	var waited []error
	w := kafka.NewWriter(c, kafka.WriterOptions{MaxBatchBytes: 1000, Backoff: quick, OnRetry: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		waited = append(waited, err)
	}})
	var msgs []kafka.Message
	for i := range each {
		for p := range partitions {
			msgs = append(msgs, kafka.Message{Topic: "t", Partition: p, Value: fmt.Appendf(nil, "%d/%04d", p, i)})
		}
	}
	if err := w.WriteAll(testContext(t), msgs); err != nil {
		t.Fatal(err)
	}
	for p := range partitions {
		var want []string
		for i := range each {
			want = append(want, fmt.Sprintf("%d/%04d", p, i))
		}
		if got := values(fetchAll(t, c, "t", p, each)); !slices.Equal(got, want) {
			t.Errorf("partition %d: order or number is wrong: %d values", p, len(got))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(waited) < 8 {
		t.Errorf("%d errors waited out, want 8 at least", len(waited))
	}
}

// firstCopies drops repeats.
func firstCopies(all []string) []string {
	seen := make(map[string]bool)
	var first []string
	for _, v := range all {
		if !seen[v] {
			first = append(first, v)
		}
		seen[v] = true
	}
	return first
}

func TestWriterRepeatsAfterALostReply(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	flaky := new(flakyNet)
	c := newClient(t, b, func(cfg *kafka.Config) { cfg.Dial = flaky.dial })
	createTopic(t, c, "t", 1, nil)
	flaky.cut.Store(3)
	// Appended as well, and answered with an error.
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 5})
	w := kafka.NewWriter(c, kafka.WriterOptions{MaxBatchBytes: 500, Backoff: quick})
	msgs := numbered("t", 0, 100)
	if err := w.WriteAll(testContext(t), msgs); err != nil {
		t.Fatal(err)
	}
	ends, err := c.Ends(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	if flaky.lost.Load() != 3 || ends[0] <= 100 {
		t.Errorf("%d replies lost, %d records: nothing was repeated", flaky.lost.Load(), ends[0])
	}
	var want []string
	for _, m := range msgs {
		want = append(want, string(m.Value))
	}
	if got := firstCopies(values(fetchAll(t, c, "t", 0, ends[0]))); !slices.Equal(got, want) {
		t.Errorf("first copies: %q", got)
	}
}

func TestWriterHalvesWhatTheBrokerRefuses(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, map[string]string{"max.message.bytes": "2000"})
	w := kafka.NewWriter(c, kafka.WriterOptions{})
	msgs := numbered(topic, 0, 500)
	if err := w.WriteAll(testContext(t), msgs); err != nil {
		t.Fatal(err)
	}
	if got := fetchAll(t, c, topic, 0, 500); len(got) != 500 || string(got[499].Value) != "0499" {
		t.Errorf("%d records", len(got))
	}
	big := kafka.Message{Topic: topic, Value: bytes.Repeat([]byte("x"), 3000)}
	err := w.WriteAll(testContext(t), []kafka.Message{msgs[0], big, msgs[1]})
	if !errors.Is(err, kafkago.MessageSizeTooLarge) || !strings.Contains(err.Error(), "write 1 messages to "+topic+"/0") {
		t.Errorf("got %v", err)
	}
}

func TestWriterSendsALargeMessageAlone(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	w := kafka.NewWriter(c, kafka.WriterOptions{MaxBatchBytes: 1000})
	seen := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	msgs := numbered("t", 0, 3)
	msgs[1].Value = bytes.Repeat([]byte("x"), 5000)
	if err := w.WriteAll(testContext(t), msgs); err != nil {
		t.Fatal(err)
	}
	if seen.Hits() != 3 {
		t.Errorf("%d batches, want 3", seen.Hits())
	}
}

func TestWriterChoosesPartitionsLikeJava(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 7, nil)
	var msgs []kafka.Message
	for i := range 50 {
		msgs = append(msgs, kafka.Message{Topic: topic, Partition: kafka.AnyPartition, Key: fmt.Appendf(nil, "key %d", i)})
	}
	msgs = append(msgs, kafka.Message{Topic: topic, Partition: kafka.AnyPartition, Value: []byte("no key")})
	if err := kafka.NewWriter(c, kafka.WriterOptions{}).WriteAll(testContext(t), msgs); err != nil {
		t.Fatal(err)
	}
	ends, err := c.Ends(testContext(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p, end := range ends {
		for _, r := range fetchAll(t, c, topic, p, end) {
			n++
			if r.Key != nil && kafka.PartitionForKey(r.Key, 7) != p {
				t.Errorf("%s is in %d", r.Key, p)
			}
		}
	}
	if n != len(msgs) {
		t.Errorf("%d records, want %d", n, len(msgs))
	}
}

func TestWriterGivesUp(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	w := kafka.NewWriter(c, kafka.WriterOptions{Backoff: quick, UnknownTopicAfter: 100 * time.Millisecond})
	for name, m := range map[string]kafka.Message{
		"topic":          {Topic: "none"},
		"topic by key":   {Topic: "none", Partition: kafka.AnyPartition},
		"partition":      {Topic: "t", Partition: 5},
		"partition <  0": {Topic: "t", Partition: -7},
	} {
		err := w.WriteAll(testContext(t), []kafka.Message{m})
		if err == nil || !strings.Contains(err.Error(), "still so after 100ms") {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
	if err := w.WriteAll(testContext(t), numbered("t", 0, 1)); !errors.Is(err, kafkago.TopicAuthorizationFailed) {
		t.Errorf("got %v", err)
	}
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithCancel(testContext(t))
	w = kafka.NewWriter(c, kafka.WriterOptions{Backoff: quick, OnRetry: func(error) { cancel() }})
	if err := w.WriteAll(ctx, numbered("t", 0, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWriteNothing(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	if err := kafka.NewWriter(c, kafka.WriterOptions{}).WriteAll(testContext(t), nil); err != nil {
		t.Error(err)
	}
	if _, err := c.Write(testContext(t), "t", 0, nil); err == nil {
		t.Error("an empty batch was written")
	}
}
