package testserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/internal/sandbox/broker"
)

// patience bounds each wait for a server.
const patience = 20 * time.Second

// Kafka is the cluster of one test.
type Kafka struct {
	tb      testing.TB
	brokers []string
	prefix  string
}

// NewKafka returns the cluster for a test. Sessions of its groups may be as short
// as one second. When the test ends, the topics that have one of its names are
// deleted.
func NewKafka(tb testing.TB) *Kafka {
	tb.Helper()
	k := &Kafka{tb: tb, brokers: chosen().kafka, prefix: fmt.Sprintf("t%08x-", rand.Uint32())} //nolint:gosec // a name, not a secret
	if len(k.brokers) == 0 {
		b, err := broker.Start(broker.Options{Kfake: []kfake.Opt{kfake.GroupMinSessionTimeout(time.Second)}})
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(b.Close)
		k.brokers = []string{b.Addr()}
		return k
	}
	if slices.Equal(k.brokers, []string{container}) {
		addr, err := kafkaContainer()
		if err != nil {
			tb.Fatalf("%s: start a container of %s: %v", kafkaEnv, chosen().kafkaImage, err)
		}
		k.brokers = []string{addr}
	}
	for _, addr := range k.brokers {
		answers(tb, kafkaEnv, addr)
	}
	tb.Cleanup(k.deleteTopics)
	return k
}

// answers fails the test unless somebody listens at addr.
func answers(tb testing.TB, env, addr string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		tb.Fatalf("%s: no server answers: %v", env, err)
	}
	_ = c.Close()
}

// Brokers are the addresses to start from, host:port.
func (k *Kafka) Brokers() []string { return k.brokers }

// Addr is the first of them.
func (k *Kafka) Addr() string { return k.brokers[0] }

// Name returns the name that a topic or a group has in this test.
func (k *Kafka) Name(name string) string { return k.prefix + name }

// Bare returns text with the names as Name was given them.
func (k *Kafka) Bare(text string) string { return strings.ReplaceAll(text, k.prefix, "") }

// DeleteRecords deletes the records of a partition below an offset, as retention
// does; all of them, if it is -1.
func (k *Kafka) DeleteRecords(topic string, partition int32, below int64) {
	k.tb.Helper()
	ctx, cancel := context.WithTimeout(k.tb.Context(), patience)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(k.brokers...))
	if err != nil {
		k.tb.Fatal(err)
	}
	defer c.Close()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, below
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req := kmsg.NewDeleteRecordsRequest()
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(ctx, c)
	if err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
		k.tb.Fatalf("delete records of %s/%d below %d: %v, %+v", topic, partition, below, err, res)
	}
}

func (k *Kafka) deleteTopics() {
	ctx, cancel := context.WithTimeout(beyond(k.tb), patience)
	defer cancel()
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	c := &kafkago.Client{Addr: kafkago.TCP(k.brokers...), Timeout: patience, Transport: transport}
	all, err := c.Metadata(ctx, &kafkago.MetadataRequest{})
	if err != nil {
		k.tb.Errorf("list the topics of the test: %v", err)
		return
	}
	var ours []string
	for _, t := range all.Topics {
		if strings.HasPrefix(t.Name, k.prefix) {
			ours = append(ours, t.Name)
		}
	}
	if len(ours) == 0 {
		return
	}
	deleted, err := c.DeleteTopics(ctx, &kafkago.DeleteTopicsRequest{Topics: ours})
	if err != nil {
		k.tb.Errorf("delete the topics of the test: %v", err)
		return
	}
	for name, err := range deleted.Errors {
		if err != nil {
			k.tb.Errorf("delete topic %s: %v", name, err)
		}
	}
}
