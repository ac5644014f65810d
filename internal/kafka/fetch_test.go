package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

func TestFetchReturnsWhatWasWritten(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 2, nil)
	msgs := []kafka.Message{
		{Key: nil, Value: []byte("no key")},
		{Key: []byte{}, Value: []byte{}},
		{Key: []byte("k"), Value: nil},
		{Key: []byte("k"), Value: []byte("v"), Headers: []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "", Value: nil}, {Key: "a", Value: []byte{}}}},
	}
	w, err := c.Write(testContext(t), topic, 1, msgs)
	if err != nil {
		t.Fatal(err)
	}
	if w.BaseOffset != 0 {
		t.Errorf("base offset %d, want 0", w.BaseOffset)
	}
	got, err := c.Fetch(testContext(t), topic, 1, 0, kafka.FetchOptions{MaxWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Records) != len(msgs) {
		t.Fatalf("%d records, want %d", len(got.Records), len(msgs))
	}
	for i, r := range got.Records {
		want := kafka.Record{
			Topic: topic, Partition: 1, Offset: int64(i), AppendMillis: w.AppendMillis,
			Key: msgs[i].Key, Value: msgs[i].Value, Headers: msgs[i].Headers,
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("record %d:\n got %+v\nwant %+v", i, r, want)
		}
	}
	if got.Next != 4 || got.End != 4 || got.LogStart != 0 || got.LogAppendTime {
		t.Errorf("next %d end %d start %d append time %v", got.Next, got.End, got.LogStart, got.LogAppendTime)
	}
	empty, err := c.Fetch(testContext(t), topic, 1, 4, kafka.FetchOptions{})
	if err != nil || len(empty.Records) != 0 || empty.Next != 4 {
		t.Errorf("at the end: %+v, %v", empty, err)
	}
}

func TestFetchWaitsForMinBytes(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	waiting := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
	type answer struct {
		got kafka.Fetched
		err error
	}
	answers := make(chan answer, 1)
	ctx := testContext(t)
	go func() {
		got, err := c.Fetch(ctx, "t", 0, 0, kafka.FetchOptions{MaxWait: patience, MinBytes: 1})
		answers <- answer{got, err}
	}()
	if err := waiting.Wait(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(ctx, "t", 0, numbered("t", 0, 1)); err != nil {
		t.Fatal(err)
	}
	a := <-answers
	if a.err != nil || len(a.got.Records) != 1 {
		t.Errorf("got %+v, %v", a.got, a.err)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	waiting := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1})
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() {
		_, err := c.Fetch(ctx, "t", 0, 0, kafka.FetchOptions{MaxWait: patience, MinBytes: 1})
		done <- err
	}()
	if err := waiting.Wait(ctx, 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAppendTimeIsTheBrokers(t *testing.T) {
	t.Parallel()
	const appended = 1_790_000_000_123
	b := startBroker(t, broker.Options{Now: func() time.Time { return time.UnixMilli(appended) }})
	c := newClient(t, b)
	createTopic(t, c, "broker-time", 1, logAppendTime)
	createTopic(t, c, "producer-time", 1, nil)
	past, future := time.UnixMilli(1_000_000), time.UnixMilli(appended).AddDate(20, 0, 0)
	producer := foreign(t, b, kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	for _, topic := range []string{"broker-time", "producer-time"} {
		err := producer.ProduceSync(testContext(t),
			&kgo.Record{Topic: topic, Value: []byte("a"), Timestamp: past},
			&kgo.Record{Topic: topic, Value: []byte("b"), Timestamp: future},
		).FirstErr()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		topic  string
		times  []int64
		broker bool
	}{
		{"broker-time", []int64{appended, appended}, true},
		{"producer-time", []int64{past.UnixMilli(), future.UnixMilli()}, false},
	} {
		got, err := c.Fetch(testContext(t), tc.topic, 0, 0, kafka.FetchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var times []int64
		for _, r := range got.Records {
			times = append(times, r.AppendMillis)
		}
		if !slices.Equal(times, tc.times) || got.LogAppendTime != tc.broker {
			t.Errorf("%s: times %v, broker's %v", tc.topic, times, got.LogAppendTime)
		}
	}
	w, err := c.Write(testContext(t), "broker-time", 0, numbered("broker-time", 0, 1))
	if err != nil || w.AppendMillis != appended {
		t.Errorf("written %+v, %v", w, err)
	}
}

func TestFetchReadsEveryCompression(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	c := newClient(t, b)
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := b.Name(name)
			createTopic(t, c, topic, 1, nil)
			p := foreign(t, b, kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(50*time.Millisecond))
			var records []*kgo.Record
			var want []string
			for i := range 2000 {
				v := fmt.Sprintf("record number %d of the same text", i)
				want = append(want, v)
				records = append(records, &kgo.Record{Topic: topic, Key: []byte("key"), Value: []byte(v)})
			}
			if err := p.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if got := values(fetchAll(t, c, topic, 0, 2000)); !slices.Equal(got, want) {
				t.Errorf("got %d values", len(got))
			}
		})
	}
}

// awaitEnd waits until the log of partition 0 ends at an offset.
func awaitEnd(ctx context.Context, t *testing.T, c *kafka.Client, topic string, want int64) {
	t.Helper()
	for i := 0; ; i++ {
		_, end, err := c.Bounds(ctx, topic, 0)
		if err == nil && end == want {
			return
		}
		if waitErr := quick.Wait(ctx, i); waitErr != nil {
			t.Fatalf("the log ends at %d, not %d: %v", end, want, errors.Join(waitErr, err))
		}
	}
}

func TestFetchIsReadCommitted(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	ctx := testContext(t)
	txn := func(id string) *kgo.Client { return foreign(t, b, kgo.TransactionalID(b.Name(id))) }
	produce := func(p *kgo.Client, values ...string) {
		t.Helper()
		for _, v := range values {
			if err := p.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin := func(p *kgo.Client) {
		t.Helper()
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
	}
	// end ends a transaction, whose marker is to be the last record before an offset:
	// Apache Kafka writes it after it has answered.
	end := func(p *kgo.Client, commit kgo.TransactionEndTry, before int64) {
		t.Helper()
		if err := p.EndTransaction(ctx, commit); err != nil {
			t.Fatal(err)
		}
		awaitEnd(ctx, t, c, topic, before)
	}
	one, two, plain := txn("one"), txn("two"), foreign(t, b)

	produce(plain, "plain 0") // 0
	begin(one)
	begin(two)
	produce(one, "void 1")    // 1
	produce(two, "kept 2")    // 2
	produce(plain, "plain 3") // 3
	produce(one, "void 4")    // 4

	open, err := c.Fetch(ctx, topic, 0, 0, kafka.FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := values(open.Records); !slices.Equal(got, []string{"plain 0"}) || open.Next != 1 || open.End != 1 {
		t.Errorf("while open: %q, next %d, end %d", got, open.Next, open.End)
	}
	beyond, err := c.Fetch(ctx, topic, 0, 3, kafka.FetchOptions{})
	if err != nil || beyond.Next != 3 {
		t.Errorf("beyond the stable offset: %+v, %v", beyond, err)
	}

	end(one, kgo.TryAbort, 6)  // 5: abort marker
	end(two, kgo.TryCommit, 7) // 6: commit marker
	begin(one)                 // the producer whose records were void is back
	produce(one, "kept 7")     // 7
	produce(plain, "plain 8")  // 8
	const last = 10
	end(one, kgo.TryCommit, last) // 9: commit marker, the end of the log

	want := []string{"plain 0", "kept 2", "plain 3", "kept 7", "plain 8"}
	if got := values(fetchAll(t, c, topic, 0, last)); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for from, want := range map[int64][]string{4: {"kept 7", "plain 8"}, 5: {"kept 7", "plain 8"}, 9: nil} {
		got, err := c.Fetch(ctx, topic, 0, from, kafka.FetchOptions{})
		if err != nil || !slices.Equal(values(got.Records), append([]string{}, want...)) || got.Next != last {
			t.Errorf("from %d: %q, next %d, %v", from, values(got.Records), got.Next, err)
		}
	}
}

func TestFetchFromInsideABatch(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	for range 2 {
		if _, err := c.Write(testContext(t), topic, 0, numbered(topic, 0, 10)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Fetch(testContext(t), topic, 0, 7, kafka.FetchOptions{MaxBytes: 1}) // less than one batch
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"0007", "0008", "0009"}; !slices.Equal(values(got.Records), want) || got.Records[0].Offset != 7 || got.Next != 10 {
		t.Errorf("got %q, next %d", values(got.Records), got.Next)
	}
}

func TestFetchOutOfRange(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	for range 3 {
		if _, err := c.Write(testContext(t), topic, 0, numbered(topic, 0, 2)); err != nil {
			t.Fatal(err)
		}
	}
	b.DeleteRecords(topic, 0, 4)
	for _, asked := range []int64{0, 3, 7} {
		_, err := c.Fetch(testContext(t), topic, 0, asked, kafka.FetchOptions{})
		var out *kafka.OffsetOutOfRangeError
		if !errors.Is(err, kafka.ErrOffsetOutOfRange) || !errors.As(err, &out) {
			t.Fatalf("from %d: %v", asked, err)
		}
		if out.Asked != asked || out.Start != 4 || out.End != 6 || kafka.Temporary(err) {
			t.Errorf("from %d: %+v", asked, out)
		}
	}
	got, err := c.Fetch(testContext(t), topic, 0, 4, kafka.FetchOptions{})
	if err != nil || got.LogStart != 4 || len(got.Records) != 2 {
		t.Errorf("from the start: %+v, %v", got, err)
	}
}

func TestEndsAsksEachBrokerOnce(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{Brokers: 3})
	c := newClient(t, b)
	createTopic(t, c, "t", 6, nil)
	for p := range 6 {
		if p == 0 {
			continue // one stays empty
		}
		retried(t, func() error {
			_, err := c.Write(testContext(t), "t", p, numbered("t", p, p))
			return err
		})
	}
	leaders := make(map[int32]bool)
	for p := range int32(6) {
		leaders[b.Cluster().LeaderFor("t", p)] = true
	}
	seen := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Observe: true, Count: -1})
	ends, err := c.Ends(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	if want := []int64{0, 1, 2, 3, 4, 5}; !slices.Equal(ends, want) {
		t.Errorf("ends %v, want %v", ends, want)
	}
	if seen.Hits() != len(leaders) {
		t.Errorf("%d requests for %d leaders", seen.Hits(), len(leaders))
	}
	if _, err := c.Ends(testContext(t), "none"); !kafka.Temporary(err) {
		t.Errorf("no such topic: %v", err)
	}
}

func TestFetchFollowsTheLeader(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{Brokers: 2})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	if _, err := c.Write(testContext(t), "t", 0, numbered("t", 0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := b.Cluster().MoveTopicPartition("t", 0, 1-b.Cluster().LeaderFor("t", 0)); err != nil {
		t.Fatal(err)
	}
	refused := false
	retried(t, func() error {
		_, err := c.Fetch(testContext(t), "t", 0, 0, kafka.FetchOptions{})
		refused = refused || err != nil
		return err
	})
	if !refused {
		t.Log("metadata was refreshed before the first fetch")
	}
}

func TestUnreachableClusterIsNotAnUnknownTopic(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	refused := errors.New("refused by the test")
	c := newClient(t, b, func(cfg *kafka.Config) {
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	})
	_, err := c.Fetch(testContext(t), "t", 0, 0, kafka.FetchOptions{})
	if !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}

func TestClosedClient(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	c.Close()
	if _, err := c.Fetch(testContext(t), "t", 0, 0, kafka.FetchOptions{}); !errors.Is(err, kafka.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
