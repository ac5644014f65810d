package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// An emptyRedisError says that the balances of a group that has worked are not in
// this Redis.
type emptyRedisError struct {
	redis     []string
	db        int
	group     string
	committed map[kafka.TopicPartition]int64
	keys      int64 // of others, if any
}

// Error implements error.
func (e *emptyRedisError) Error() string {
	holds := "is empty"
	if e.keys > 0 {
		holds = fmt.Sprintf("holds no balances (but %d keys of something else)", e.keys)
	}
	return fmt.Sprintf(`%s, database %d, %s, but the consumer group %q has already consumed %s.
Either this is the wrong Redis, or the balances are lost. They can be made again from the logs; all that was ever
published would be published again. Ways out:
  the right Redis: --redis, --redis-db
  a backup: restore it into this Redis and start as ever; what came later is applied from the logs
  creditstream rebuild, with the same settings: fills this Redis from the logs and shows how far it is
  --accept-empty-redis: starts, and fills it while it runs
  another --group, if new balances are meant, beside those that the group %q has elsewhere`,
		strings.Join(e.redis, ","), e.db, holds, e.group, e.offsets(), e.group)
}

// offsets lists what was committed, topic by topic.
func (e *emptyRedisError) offsets() string {
	byTopic := map[string][]string{}
	for _, tp := range slices.SortedFunc(maps.Keys(e.committed), func(a, b kafka.TopicPartition) int { return a.Partition - b.Partition }) {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], strconv.Itoa(tp.Partition)+" up to "+strconv.FormatInt(e.committed[tp], 10))
	}
	var topics []string
	for _, t := range slices.Sorted(maps.Keys(byTopic)) {
		topics = append(topics, t+" ("+strings.Join(byTopic[t], ", ")+")")
	}
	return strings.Join(topics, " and ")
}

// checkEmpty refuses a Redis without balances when the group has worked before: its
// marks, not the group's offsets, say where to go on, so that an empty one means all
// from the beginning.
func (p *processor) checkEmpty(ctx context.Context) error {
	holds, keys, err := balance.Look(ctx, p.rdb)
	if err != nil {
		return &waitFor{"Redis", err, balance.Temporary(err)}
	}
	if holds == balance.Held || p.cfg.AcceptEmptyRedis {
		return nil
	}
	committed, err := p.client.Committed(ctx, p.cfg.Group, p.cfg.Topics.CDRs, p.cfg.Topics.Commands)
	if err != nil {
		return &waitFor{"Kafka", err, kafka.Temporary(err)}
	}
	if len(committed) == 0 {
		return nil
	}
	return &waitFor{"Redis", &emptyRedisError{p.cfg.Redis, p.cfg.RedisDB, p.cfg.Group, committed, keys}, false}
}
