package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

func TestMain(m *testing.M) { testserver.Run(m) }

// patience bounds every wait of a test; none of them should need it.
const patience = 30 * time.Second

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}

func startBroker(tb testing.TB, opts broker.Options) *broker.Broker {
	tb.Helper()
	b, err := broker.Start(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return b
}

// A cluster is the Kafka of a test: the suite's, or for faults that the broker
// injects an embedded one of its own.
type cluster interface{ Addr() string }

func newClient(tb testing.TB, b cluster, change ...func(*kafka.Config)) *kafka.Client {
	tb.Helper()
	cfg := kafka.Config{Brokers: []string{b.Addr()}, ClientID: "test"}
	for _, f := range change {
		f(&cfg)
	}
	c, err := kafka.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// foreign is another producer: franz-go's client.
func foreign(tb testing.TB, b cluster, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.Addr()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

func createTopic(tb testing.TB, c *kafka.Client, name string, partitions int, configs map[string]string) {
	tb.Helper()
	err := c.EnsureTopics(testContext(tb), []kafka.TopicSpec{{Name: name, Partitions: partitions, Replication: 1, Configs: configs}})
	if err != nil {
		tb.Fatal(err)
	}
}

var logAppendTime = map[string]string{"message.timestamp.type": "LogAppendTime"}

// fetchAll fetches everything before end, and fails if Next stands still.
func fetchAll(tb testing.TB, c *kafka.Client, topic string, partition int, end int64) []kafka.Record {
	tb.Helper()
	var all []kafka.Record
	offset := int64(0)
	for offset < end {
		got, err := c.Fetch(testContext(tb), topic, partition, offset, kafka.FetchOptions{MaxWait: time.Second})
		if err != nil {
			tb.Fatal(err)
		}
		if got.Next <= offset {
			tb.Fatalf("fetch from %d: next is %d, the end %d", offset, got.Next, end)
		}
		all = append(all, got.Records...)
		offset = got.Next
	}
	return all
}

func values(records []kafka.Record) []string {
	out := make([]string, len(records))
	for i, r := range records {
		out[i] = string(r.Value)
	}
	return out
}

func numbered(topic string, partition, n int) []kafka.Message {
	msgs := make([]kafka.Message, n)
	for i := range msgs {
		msgs[i] = kafka.Message{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "%04d", i)}
	}
	return msgs
}

// retried repeats f while its error is temporary.
func retried(tb testing.TB, f func() error) {
	tb.Helper()
	ctx := testContext(tb)
	for i := 0; ; i++ {
		err := f()
		if err == nil {
			return
		}
		if !kafka.Temporary(err) {
			tb.Fatal(err)
		}
		if waitErr := (kafka.Backoff{Base: 10 * time.Millisecond, Max: 200 * time.Millisecond}).Wait(ctx, i); waitErr != nil {
			tb.Fatal(errors.Join(waitErr, err))
		}
	}
}

// flakyNet dials connections that can be told to lose the next reply.
type flakyNet struct {
	cut  atomic.Int32 // replies to lose
	lost atomic.Int32
}

func (f *flakyNet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &flakyConn{Conn: c, net: f}, nil
}

// flakyConn waits for the reply to a produce request and then, if it is told
// so, ends the connection instead of handing the reply over.
type flakyConn struct {
	net.Conn

	net     *flakyNet
	mu      sync.Mutex
	produce bool
}

func (c *flakyConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.produce = len(p) > 6 && p[4] == 0 && p[5] == 0 // api key 0
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *flakyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	produce := c.produce
	c.produce = false
	c.mu.Unlock()
	if n > 0 && produce && c.net.cut.Add(-1) >= 0 {
		c.net.lost.Add(1)
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Close())
	}
	return n, err
}
