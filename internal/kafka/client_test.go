package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
)

// A broker that does not answer for metadata is waited for: kafka-go gives its own
// request a deadline, and tells callers that this has passed.
func TestABrokerThatDoesNotAnswerForMetadataIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	defer silence(b, kmsg.Metadata)()
	c := newClient(t, b)
	err := c.EnsureTopics(testContext(t), []kafka.TopicSpec{{Name: "t", Partitions: 1}})
	if err == nil || !kafka.Temporary(err) {
		t.Errorf("not temporary: %v", err)
	}
	if _, err = c.Ends(testContext(t), "t"); err == nil || !kafka.Temporary(err) {
		t.Errorf("not temporary: %v", err)
	}
}

// silence has a broker answer no requests of a kind until it is told to go on.
func silence(b *broker.Broker, key kmsg.Key) (speak func()) {
	over := make(chan struct{})
	b.Cluster().ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		b.Cluster().SleepControl(func() { <-over })
		return nil, nil, false
	})
	return func() { close(over) }
}
