package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// Committed returns the offsets that a group has committed for the partitions of
// topics, those above zero alone. A group that does not exist has none.
func (c *Client) Committed(ctx context.Context, group string, topics ...string) (map[TopicPartition]int64, error) {
	ask := make(map[string][]int, len(topics))
	for _, topic := range topics {
		n, err := c.partitions(ctx, topic)
		if err != nil {
			return nil, fmt.Errorf("read offsets of group %s: %w", group, err)
		}
		for p := range n {
			ask[topic] = append(ask[topic], p)
		}
	}
	res, err := c.admin().OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: group, Topics: ask})
	if err == nil {
		err = res.Error
	}
	if errors.Is(err, kafka.GroupIdNotFound) {
		return nil, nil // as some brokers say it
	}
	if err != nil {
		return nil, fmt.Errorf("read offsets of group %s: %w", group, err)
	}
	found := map[TopicPartition]int64{}
	for topic, partitions := range res.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("read offsets of group %s, %s/%d: %w", group, topic, p.Partition, p.Error)
			}
			if p.CommittedOffset > 0 {
				found[TopicPartition{Topic: topic, Partition: p.Partition}] = p.CommittedOffset
			}
		}
	}
	return found, nil
}
