package kafka_test

import (
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// A clock that differs from the broker's is told of to within the time that a write
// takes, and one that may be right is not.
func TestClocksAreCompared(t *testing.T) {
	t.Parallel()
	k := testserver.NewKafka(t)
	for wrong, within := range map[time.Duration][2]time.Duration{
		0:                {0, 0},
		-time.Hour:       {59 * time.Minute, time.Hour}, // ours is behind: the broker's is ahead
		45 * time.Minute: {-45 * time.Minute, -44 * time.Minute},
	} {
		var told []time.Duration
		c := newClient(t, k, func(cfg *kafka.Config) {
			cfg.Now = func() time.Time { return time.Now().Add(wrong) }
			cfg.OnAppend = func(ahead time.Duration) { told = append(told, ahead) }
		})
		stamped, other := k.Name("stamped"), k.Name("other")
		createTopic(t, c, stamped, 1, logAppendTime)
		createTopic(t, c, other, 1, nil)
		for _, topic := range []string{other, stamped} {
			if _, err := c.Write(testContext(t), topic, 0, []kafka.Message{{Value: []byte("x")}}); err != nil {
				t.Fatal(err)
			}
		}
		if len(told) != 1 || told[0] < within[0] || told[0] > within[1] {
			t.Errorf("our clock is wrong by %s: told %v, want one from %s to %s", wrong, told, within[0], within[1])
		}
	}
}
