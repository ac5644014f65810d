package kafka_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	kafkago "github.com/segmentio/kafka-go"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

func TestEnsureTopicsTwiceAndTogether(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	one, two := b.Name("one"), b.Name("two")
	ctx := testContext(t)
	specs := []kafka.TopicSpec{
		{Name: one, Partitions: 3, Configs: map[string]string{"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}},
		{Name: two, Partitions: 1, Replication: 1},
	}
	var wg sync.WaitGroup
	for range 4 {
		c := newClient(t, b)
		wg.Go(func() {
			for range 2 {
				if err := c.EnsureTopics(ctx, specs); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c := newClient(t, b)
	topics, err := c.Topics(ctx, one, two, b.Name("three"))
	if err != nil {
		t.Fatal(err)
	}
	if len(topics) != 2 || topics[one].Partitions != 3 || topics[two].Partitions != 1 {
		t.Fatalf("got %+v", topics)
	}
	for name, want := range map[string]string{
		"message.timestamp.type": "LogAppendTime", "retention.ms": "-1", "cleanup.policy": "delete",
		"retention.bytes": "-1", "max.message.bytes": "1048588",
	} {
		if got := topics[one].Configs[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// What exists is left alone.
	specs[0].Partitions, specs[0].Configs = 5, nil
	if err := c.EnsureTopics(ctx, specs); err != nil {
		t.Fatal(err)
	}
	if again, err := c.Topics(ctx, one); err != nil || again[one].Partitions != 3 {
		t.Errorf("got %+v, %v", again, err)
	}
}

// As on Apache Kafka, metadata shows the leader before it leads.
func TestEnsureTopicsWaitsForLeadersToAnswer(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	early := b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: 3})
	createTopic(t, c, "t", 2, nil)
	if n := early.Hits(); n != 3 {
		t.Errorf("returned after %d refusals of 3", n)
	}
}

func TestEnsureTopicsSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	b.Cluster().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.TopicAuthorizationFailed})
	err := c.EnsureTopics(testContext(t), []kafka.TopicSpec{{Name: "t", Partitions: 1}})
	if !errors.Is(err, kafkago.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "create topic t") {
		t.Errorf("got %v", err)
	}
	if topics, err := c.Topics(testContext(t), "t"); err != nil || len(topics) != 0 {
		t.Errorf("got %+v, %v", topics, err)
	}
}
