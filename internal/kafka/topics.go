package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// TopicSpec is a topic to create. Replication 0 means the default of the
// brokers.
type TopicSpec struct {
	Name        string
	Partitions  int
	Replication int
	Configs     map[string]string
}

// TopicInfo is a topic as the cluster has it; Configs has all its settings,
// defaults included.
type TopicInfo struct {
	Partitions int
	Configs    map[string]string
}

// EnsureTopics creates the topics of specs that do not exist and returns when
// the leader of each of their partitions answers for it. Topics that exist are
// left as they are, whatever their settings; so are topics that someone else
// creates at the same time.
func (c *Client) EnsureTopics(ctx context.Context, specs []TopicSpec) error {
	names := make([]string, len(specs))
	for i, spec := range specs {
		names[i] = spec.Name
	}
	topics, err := c.metadata(ctx, names...)
	if err != nil {
		return fmt.Errorf("ensure topics: %w", err)
	}
	var missing []kafka.TopicConfig
	for i, t := range topics {
		if kafka.Error(t.ErrorCode) == kafka.UnknownTopicOrPartition {
			missing = append(missing, topicConfig(specs[i]))
		} else if t.ErrorCode != 0 && !Temporary(kafka.Error(t.ErrorCode)) {
			return fmt.Errorf("ensure topic %s: %w", t.Name, kafka.Error(t.ErrorCode))
		}
	}
	if len(missing) > 0 {
		if err := c.createTopics(ctx, missing); err != nil {
			return err
		}
	}
	return c.awaitTopics(ctx, names)
}

func topicConfig(spec TopicSpec) kafka.TopicConfig {
	t := kafka.TopicConfig{
		Topic:             spec.Name,
		NumPartitions:     spec.Partitions,
		ReplicationFactor: spec.Replication,
	}
	if t.ReplicationFactor == 0 {
		t.ReplicationFactor = -1
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Configs)) {
		t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: spec.Configs[name]})
	}
	return t
}

func (c *Client) createTopics(ctx context.Context, topics []kafka.TopicConfig) error {
	res, err := c.admin().CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: topics})
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for _, t := range topics {
		if err := res.Errors[t.Topic]; err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", t.Topic, err)
		}
	}
	return nil
}

// awaitTopics waits until every partition has a leader that answers for it.
func (c *Client) awaitTopics(ctx context.Context, names []string) error {
	for i := 0; ; i++ {
		err := c.leadersAnswer(ctx, names)
		if err == nil {
			return nil
		}
		if !Temporary(err) {
			return fmt.Errorf("await topics: %w", err)
		}
		if waitErr := (Backoff{Max: metadataTTL / 4}).Wait(ctx, i); waitErr != nil {
			return fmt.Errorf("await topics: %w: %w", waitErr, err)
		}
	}
}

// leadersAnswer asks every leader. That metadata shows one is not enough: Apache
// Kafka shows a new topic some milliseconds before its broker takes the lead, and
// answers everything with NOT_LEADER_OR_FOLLOWER meanwhile.
func (c *Client) leadersAnswer(ctx context.Context, names []string) error {
	topics, err := c.metadata(ctx, names...)
	if err != nil {
		return err
	}
	if late := slices.IndexFunc(topics, func(t metadata.ResponseTopic) bool { return !isReady(t) }); late >= 0 {
		return fmt.Errorf("topic %s: %w", topics[late].Name, kafka.LeaderNotAvailable)
	}
	for _, name := range names {
		if _, err := c.Ends(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// isReady says whether every partition of t has a leader.
func isReady(t metadata.ResponseTopic) bool {
	return t.ErrorCode == 0 && len(t.Partitions) > 0 &&
		!slices.ContainsFunc(t.Partitions, func(p metadata.ResponsePartition) bool { return p.LeaderID < 0 })
}

// Topics describes the named topics; those that do not exist are left out. A
// topic created within the last few seconds by someone else may be, too.
func (c *Client) Topics(ctx context.Context, names ...string) (map[string]TopicInfo, error) {
	topics, err := c.metadata(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	found := make(map[string]TopicInfo, len(names))
	req := &kafka.DescribeConfigsRequest{}
	for _, t := range topics {
		if kafka.Error(t.ErrorCode) == kafka.UnknownTopicOrPartition {
			continue
		}
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("describe topic %s: %w", t.Name, kafka.Error(t.ErrorCode))
		}
		found[t.Name] = TopicInfo{Partitions: len(t.Partitions), Configs: make(map[string]string)}
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: t.Name,
		})
	}
	if len(found) == 0 {
		return found, nil
	}
	res, err := c.admin().DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("describe topic %s: %w", r.ResourceName, r.Error)
		}
		for _, entry := range r.ConfigEntries {
			found[r.ResourceName].Configs[entry.ConfigName] = entry.ConfigValue
		}
	}
	return found, nil
}

// admin returns kafka-go's client for the requests that need nothing of ours.
// Its timeout bounds each; without one it would ask brokers for defaults.
func (c *Client) admin() *kafka.Client {
	return &kafka.Client{Addr: c.addr, Transport: c.transport, Timeout: requestTimeout}
}
