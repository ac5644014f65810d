package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
)

// Topics that would lose what balances are made from are refused.
func TestTopicsThatLoseRecords(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		topic, setting, value string
		refused               string
		warned                string
	}{
		"sound":                     {topic: "cdrs", setting: "retention.ms", value: "3628800000"}, // 42 days
		"kept for ever":             {topic: "cdrs", setting: "retention.ms", value: "-1"},
		"compacted commands":        {"credit-commands", "cleanup.policy", "compact", `topic credit-commands: cleanup.policy is "compact"`, ""},
		"compacted and deleted":     {"cdrs", "cleanup.policy", "compact,delete", `topic cdrs: cleanup.policy is "compact,delete"`, ""},
		"commands by time":          {"credit-commands", "retention.ms", "3628800000", "topic credit-commands: retention.ms is 3628800000: commands are kept for ever", ""},
		"commands by size":          {"credit-commands", "retention.bytes", "1", "topic credit-commands: retention.bytes is 1: commands are kept for ever", ""},
		"shorter than the window":   {"cdrs", "retention.ms", "3023999999", "topic cdrs: retention.ms is 3023999999", ""},
		"as long as the window":     {topic: "cdrs", setting: "retention.ms", value: "3024000000"},
		"by size":                   {"cdrs", "retention.bytes", "1", "", "cdrs are also deleted by size"},
		"times of the producers":    {"cdrs", "message.timestamp.type", "CreateTime", "", "a topic carries producers' timestamps"},
		"times, of whoever appends": {"credit-commands", "message.timestamp.type", "CreateTime", "", "a topic carries producers' timestamps"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			infos := map[string]kafka.TopicInfo{}
			for _, topic := range []string{"cdrs", "credit-commands"} {
				infos[topic] = kafka.TopicInfo{Partitions: 4, Configs: map[string]string{
					"cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime", "retention.ms": "-1", "retention.bytes": "-1",
				}}
			}
			infos[tt.topic].Configs[tt.setting] = tt.value
			var log bytes.Buffer
			p := &processor{log: slog.New(slog.NewTextHandler(&log, nil))}
			p.cfg.Topics.CDRs, p.cfg.Topics.Commands, p.cfg.Window, p.cfg.Shards = "cdrs", "credit-commands", 35*24*time.Hour, 16
			err := p.checkTopics(infos)
			if (err != nil) != (tt.refused != "") || err != nil && !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%v, want %q", err, tt.refused)
			}
			if said := log.String(); (said != "") != (tt.warned != "") || !strings.Contains(said, tt.warned) {
				t.Errorf("said %q, want %q", said, tt.warned)
			}
		})
	}
}

// A processor looks at the topics that are there already.
func TestRunRefusesACompactedLog(t *testing.T) {
	p := newPlant(t)
	spec := kafka.TopicSpec{Name: p.topic("credit-commands"), Partitions: plantPartitions, Replication: 1, Configs: map[string]string{
		"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact", "retention.ms": "-1",
	}}
	if err := p.client.EnsureTopics(t.Context(), []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	run := p.processor(p.http)
	if code := run.wait(t, 30*time.Second); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	wants(t, p.kafka.Bare(run.out.String()), `Kafka cannot be used as it is: topic credit-commands: cleanup.policy is "compact"`)
}
