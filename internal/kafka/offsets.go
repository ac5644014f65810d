package kafka

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"golang.org/x/sync/errgroup"
)

// listOffsetsRequest is kafka-go's request without its Split, which sends one
// request per partition: ours has partitions of one leader, sent together. The
// layout is the same, so kafka-go's registered codec encodes it.
type listOffsetsRequest listoffsets.Request

// ApiKey implements protocol.Message.
func (*listOffsetsRequest) ApiKey() protocol.ApiKey { return protocol.ListOffsets } //nolint:revive // the name is kafka-go's

// Broker implements protocol.BrokerMessage: the leader of the first partition.
func (r *listOffsetsRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leaderOf(cluster, r.Topics[0].Topic, r.Topics[0].Partitions[0].Partition)
}

// Bounds returns the first offset that a partition still has and the offset
// after the last one that all in-sync replicas have (the high watermark, open
// transactions included).
func (c *Client) Bounds(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	tp := TopicPartition{Topic: topic, Partition: partition}
	ask := []int32{wirePartition(partition)}
	var found [2]map[int32]int64
	for i, at := range []int64{kafka.FirstOffset, kafka.LastOffset} {
		if found[i], err = c.listOffsets(ctx, topic, ask, at); err != nil {
			return 0, 0, fmt.Errorf("read bounds of %s: %w", tp, err)
		}
	}
	return found[0][ask[0]], found[1][ask[0]], nil
}

// Ends returns the end of every partition of a topic, as Bounds does, with one
// request for each broker that leads some of them. Anything acknowledged before
// the call is below the returned ends. A partition added within the last few
// seconds may be missing.
func (c *Client) Ends(ctx context.Context, topic string) ([]int64, error) {
	topics, err := c.metadata(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("read ends of %s: %w", topic, err)
	}
	if code := topics[0].ErrorCode; code != 0 {
		return nil, fmt.Errorf("read ends of %s: %w", topic, kafka.Error(code))
	}
	byLeader := make(map[int32][]int32)
	for _, p := range topics[0].Partitions {
		if p.LeaderID < 0 {
			return nil, fmt.Errorf("read ends of %s/%d: %w", topic, p.PartitionIndex, kafka.LeaderNotAvailable)
		}
		byLeader[p.LeaderID] = append(byLeader[p.LeaderID], p.PartitionIndex)
	}

	ends := make([]int64, len(topics[0].Partitions))
	group, ctx := errgroup.WithContext(ctx)
	for _, ask := range byLeader {
		group.Go(func() error {
			found, err := c.listOffsets(ctx, topic, ask, kafka.LastOffset)
			if err != nil {
				return fmt.Errorf("read ends of %s: %w", topic, err)
			}
			for partition, end := range found {
				if int(partition) >= len(ends) {
					return fmt.Errorf("read ends of %s: partition %d of %d", topic, partition, len(ends))
				}
				ends[partition] = end // each index belongs to one leader
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return ends, nil
}

// listOffsets asks the leader of the partitions ask, which must be the same one,
// for the offsets at a time.
func (c *Client) listOffsets(ctx context.Context, topic string, ask []int32, at int64) (map[int32]int64, error) {
	partitions := make([]listoffsets.RequestPartition, len(ask))
	for i, p := range ask {
		partitions[i] = listoffsets.RequestPartition{Partition: p, CurrentLeaderEpoch: -1, Timestamp: at}
	}
	m, err := c.roundTrip(ctx, requestTimeout, &listOffsetsRequest{
		ReplicaID: -1,
		// Read uncommitted: a producer's open transaction is part of the log.
		IsolationLevel: int8(kafka.ReadUncommitted),
		Topics:         []listoffsets.RequestTopic{{Topic: topic, Partitions: partitions}},
	})
	if err != nil {
		return nil, err
	}
	res, ok := m.(*listoffsets.Response)
	if !ok || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != len(ask) {
		return nil, fmt.Errorf("unexpected answer %T", m)
	}
	found := make(map[int32]int64, len(ask))
	for _, p := range res.Topics[0].Partitions {
		if p.ErrorCode != 0 {
			return nil, fmt.Errorf("partition %d: %w", p.Partition, kafka.Error(p.ErrorCode))
		}
		found[p.Partition] = p.Offset
	}
	for _, p := range ask {
		if _, ok := found[p]; !ok {
			return nil, fmt.Errorf("partition %d: not in the answer", p)
		}
	}
	return found, nil
}
