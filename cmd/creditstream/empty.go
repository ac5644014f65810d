package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// checkContents refuses a Redis that has lost balances, those of another one, or
// nothing at all when there must be some: marks, not the group's offsets, say where to
// go on, so that none means all from the beginning.
func (p *processor) checkContents(ctx context.Context) error {
	holds, keys, err := balance.Look(ctx, p.rdb)
	if err != nil {
		return &waitFor{"Redis", err, balance.Temporary(err)}
	}
	switch {
	case holds == balance.Held:
		return nil
	case holds == balance.Broken:
		return &waitFor{"Redis", &noFactsError{p.where(), keys}, false}
	case holds == balance.Foreign && p.cfg.RefuseForeign:
		return &waitFor{"Redis", &foreignRedisError{p.where(), keys}, false}
	case p.cfg.AcceptEmptyRedis:
		return nil
	}
	committed, err := p.committed(ctx)
	if err != nil {
		return &waitFor{"Kafka", err, kafka.Temporary(err)}
	}
	ends, err := p.client.Ends(ctx, p.cfg.Topics.Commands)
	if err != nil {
		return &waitFor{"Kafka", err, kafka.Temporary(err)}
	}
	if len(committed) == 0 && slices.Max(ends) == 0 {
		return nil
	}
	return &waitFor{"Redis", &emptyRedisError{p.where(), p.cfg.Group, p.cfg.Topics.Commands, committed, keys}, false}
}

// checkMarks refuses a store of which some shards have lost everything: nothing is
// committed before every shard has a mark that is as far. One that has marks, but none
// of some partition, may be a backup from before the first record of that.
func (p *processor) checkMarks(ctx context.Context) error {
	if p.cfg.AcceptEmptyRedis {
		return nil
	}
	committed, err := p.committed(ctx)
	if err != nil {
		return &waitFor{"Kafka", err, kafka.Temporary(err)}
	}
	marks, err := p.store.AllMarks(ctx)
	if err != nil {
		return &waitFor{"Redis", err, balance.Temporary(err)}
	}
	for _, tp := range sorted(committed) {
		src := balance.Source{Topic: tp.Topic, Partition: tp.Partition}
		if shards := p.store.Bare(marks, src); len(shards) > 0 {
			return &waitFor{"Redis", &lostShardsError{p.where(), p.cfg.Group, src, committed[tp], shards}, false}
		}
	}
	return nil
}

// lost says why shards of a source without any mark are a loss; nil: nothing is committed.
func (p *processor) lost(ctx context.Context, src balance.Source, shards []int) error {
	committed, err := p.committed(ctx)
	if err != nil {
		return err
	}
	if n := committed[kafka.TopicPartition{Topic: src.Topic, Partition: src.Partition}]; n > 0 {
		return &lostShardsError{p.where(), p.cfg.Group, src, n, shards}
	}
	return nil
}

// committed returns the offsets above 0 that the group has committed.
func (p *processor) committed(ctx context.Context) (map[kafka.TopicPartition]int64, error) {
	return p.client.Committed(ctx, p.cfg.Group, p.cfg.Topics.CDRs, p.cfg.Topics.Commands)
}

// where names the Redis for people.
func (p *processor) where() string {
	return fmt.Sprintf("%s, database %d,", strings.Join(p.cfg.Redis, ","), p.cfg.RedisDB)
}

// A noFactsError says that a Redis has shards, but not what every store has.
type noFactsError struct {
	where string
	keys  int64
}

// Error implements error.
func (e *noFactsError) Error() string {
	return fmt.Sprintf(`%s holds balances (%s) but no cs:meta, which every store has: a node has lost its data.
Restore it, with its files or a backup, and start as ever. Do NOT empty anything: what is here may be the only copy of
balances that the logs do not reach back to.`, e.where, count(int(e.keys), "key"))
}

// A foreignRedisError says that something else uses a Redis.
type foreignRedisError struct {
	where string
	keys  int64
}

// Error implements error.
func (e *foreignRedisError) Error() string {
	return fmt.Sprintf("%s is used by something else (%s, none of them of creditstream): give another one, or another database",
		e.where, count(int(e.keys), "key"))
}

// An emptyRedisError says that the balances of a group that has worked, or of the
// commands, are not in this Redis.
type emptyRedisError struct {
	where, group, commands string
	committed              map[kafka.TopicPartition]int64
	keys                   int64 // of others, if any
}

// Error implements error.
func (e *emptyRedisError) Error() string {
	holds, but := "is empty", fmt.Sprintf("the consumer group %q has already consumed %s", e.group, e.offsets())
	if e.keys > 0 {
		holds = fmt.Sprintf("holds no balances (but %s of something else)", count(int(e.keys), "key"))
	}
	if len(e.committed) == 0 { // brokers forget what a group has committed, by default after a week without members
		but = fmt.Sprintf("%s is not, and only processors write to it: some have worked before, with this group\n(%s: its offsets "+
			"may be forgotten) or another", e.commands, e.group)
	}
	return fmt.Sprintf(`%s %s, but %s.
Either this is the wrong Redis, or the balances are lost. They can be made again from the logs; all that was ever
published would be published again. Ways out:
  the right Redis: --redis, --redis-db
  a backup: restore it into this Redis and start as ever; what came later is applied from the logs
  creditstream rebuild, with the same settings: fills this Redis from the logs and shows how far it is
  --accept-empty-redis: starts, and fills it while it runs
  another --group and --accept-empty-redis, if new balances are meant, beside those that the group %q has elsewhere`,
		e.where, holds, but, e.group)
}

// offsets lists what was committed, topic by topic.
func (e *emptyRedisError) offsets() string {
	byTopic := map[string][]string{}
	for _, tp := range sorted(e.committed) {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], strconv.Itoa(tp.Partition)+" up to "+strconv.FormatInt(e.committed[tp], 10))
	}
	var topics []string
	for _, t := range slices.Sorted(maps.Keys(byTopic)) {
		topics = append(topics, t+" ("+strings.Join(byTopic[t], ", ")+")")
	}
	return strings.Join(topics, " and ")
}

// sorted returns the partitions, those of one topic by number.
func sorted(committed map[kafka.TopicPartition]int64) []kafka.TopicPartition {
	return slices.SortedFunc(maps.Keys(committed), func(a, b kafka.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
}

// A lostShardsError says that shards have lost what a group has consumed.
type lostShardsError struct {
	where, group string
	source       balance.Source
	committed    int64
	shards       []int
}

// Error implements error.
func (e *lostShardsError) Error() string {
	var shards []string
	for _, sh := range e.shards {
		shards = append(shards, strconv.Itoa(sh))
	}
	return fmt.Sprintf(`%s has lost data: the consumer group %q has consumed %s up to %d, but of that nothing is in %s: %s.
Redis was emptied, or a node of it came back empty, or with a backup from before the first record.
Going on would apply and publish there all that is in the logs again. Ways out:
  a backup: restore it and start as ever; what came later is applied from the logs
  creditstream rebuild, with the same settings: fills these shards from the logs and leaves the others alone
  --accept-empty-redis: starts, and fills them while it runs`,
		e.where, e.group, e.source, e.committed, count(len(e.shards), "shard"), strings.Join(shards, ", "))
}
