package alerts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// appender makes one attempt to append msgs to a partition; after an error they
// may have been appended or not.
type appender interface {
	Write(ctx context.Context, topic string, partition int, msgs []kafka.Message) (kafka.Written, error)
}

// Commands appends commands to the commands topic, each to the partition of its
// account's shard. Its methods are safe for concurrent use; whoever needs two
// commands in order appends the second when the first has been answered.
type Commands struct {
	client      appender
	topic       string
	partitionOf func(account string) int
	backoff     kafka.Backoff

	mu    sync.Mutex
	lanes map[int]*lane // by partition; as many as the topic has, which is fixed
}

// NewCommands returns Commands for topic. partitionOf returns the partition of an
// account.
func NewCommands(client appender, topic string, partitionOf func(account string) int) *Commands {
	return &Commands{
		client: client, topic: topic, partitionOf: partitionOf, lanes: map[int]*lane{},
		backoff: kafka.Backoff{Base: 50 * time.Millisecond, Max: 2 * time.Second}, // somebody waits for the answer
	}
}

// errTick is returned by Append for a tick.
var errTick = errors.New("a tick belongs to no account: use Tick")

// Append writes one command and returns where it lies once all in-sync replicas
// have it. Temporary errors are retried until ctx ends; copies are harmless, as
// commands carry ids or numbers, and the place returned is that of the last. A
// command that Validate refuses is not written.
func (c *Commands) Append(ctx context.Context, cmd *balance.Command) (partition int, offset int64, err error) {
	if cmd.Type == balance.Tick {
		return 0, 0, errTick
	}
	value, err := cmd.Encode()
	if err != nil {
		return 0, 0, fmt.Errorf("encode command %s: %w", cmd.Type, err)
	}
	partition = c.partitionOf(cmd.Account)
	w, err := c.write(ctx, partition, kafka.Message{Key: []byte(cmd.Account), Value: value})
	if err != nil {
		return 0, 0, fmt.Errorf("append command %s: %w", cmd.Type, err)
	}
	return partition, w.BaseOffset, nil
}

// write repeats one message until it is acknowledged, fails for good or ctx ends.
func (c *Commands) write(ctx context.Context, partition int, m kafka.Message) (kafka.Written, error) {
	m.Topic, m.Partition = c.topic, partition
	for attempt := 0; ; attempt++ {
		w, err := c.client.Write(ctx, c.topic, partition, []kafka.Message{m})
		if err == nil {
			c.lane(partition).saw(w)
			return w, nil
		}
		if !kafka.Temporary(err) {
			return kafka.Written{}, err
		}
		if waitErr := c.backoff.Wait(ctx, attempt); waitErr != nil {
			return kafka.Written{}, errors.Join(waitErr, err)
		}
	}
}

func (c *Commands) lane(partition int) *lane {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.lanes[partition]
	if !ok {
		l = &lane{changed: make(chan struct{})}
		c.lanes[partition] = l
	}
	return l
}
