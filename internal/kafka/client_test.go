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
	over := make(chan struct{})
	b.Cluster().ControlKey(kmsg.Metadata.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster().KeepControl()
		b.Cluster().SleepControl(func() { <-over })
		return nil, nil, false
	})
	defer close(over)
	c := newClient(t, b)
	err := c.EnsureTopics(testContext(t), []kafka.TopicSpec{{Name: "t", Partitions: 1}})
	if err == nil || !kafka.Temporary(err) {
		t.Errorf("not temporary: %v", err)
	}
	if _, err = c.Ends(testContext(t), "t"); err == nil || !kafka.Temporary(err) {
		t.Errorf("not temporary: %v", err)
	}
}
