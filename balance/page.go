package balance

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// Marks are the marks of one shard, as of one moment.
type Marks map[Source]Mark

// A Page is a part of the accounts of one shard in the order of their ids (bytes),
// beside the marks that say what of the logs they hold.
type Page struct {
	// Listed are the marks of the moment at which the accounts were listed: one
	// that was created by a command below them, has an id of this page and is not
	// here, is missing.
	Listed Marks
	// Marks are those of the moment at which all Accounts were read.
	Marks    Marks
	Accounts []*Account
	Absent   []string // accounts that are listed, and of which nothing is stored
	Last     string   // where the next page begins; "": this is the last one
}

// Page reads at most limit accounts of a shard, beginning after the id that is
// given, in two steps, each of one moment: it lists them, and it reads them
// together with the marks. It changes nothing.
func (s *Store) Page(ctx context.Context, shard int, after string, limit int) (*Page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	var ids *redis.StringSliceCmd
	marks, err := s.besideMarks(ctx, shard, func(p redis.Pipeliner) {
		ids = p.ZRangeByLex(ctx, indexKey(shard), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)})
	})
	if err != nil {
		return nil, err
	}
	page := &Page{Listed: marks}
	list := ids.Val()
	if len(list) == limit {
		page.Last = list[limit-1]
	}
	hashes, lots := make([]*redis.MapStringStringCmd, len(list)), make([]*redis.ZSliceCmd, len(list))
	page.Marks, err = s.besideMarks(ctx, shard, func(p redis.Pipeliner) {
		for i, id := range list {
			hashes[i] = p.HGetAll(ctx, accountKey(shard, id))
			lots[i] = p.ZRangeWithScores(ctx, lotsKey(shard, id), 0, -1)
		}
	})
	if err != nil {
		return nil, err
	}
	for i, id := range list {
		if len(hashes[i].Val()) == 0 {
			page.Absent = append(page.Absent, id)
			continue
		}
		a, err := accountOf(id, hashes[i].Val(), lots[i].Val())
		if err != nil {
			return nil, fmt.Errorf("shard %d: account %s: %w", shard, id, err)
		}
		page.Accounts = append(page.Accounts, a)
	}
	return page, nil
}

// besideMarks reads the marks of a shard in one transaction with what ask asks.
func (s *Store) besideMarks(ctx context.Context, shard int, ask func(redis.Pipeliner)) (Marks, error) {
	var hash *redis.MapStringStringCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		hash = p.HGetAll(ctx, marksKey(shard))
		ask(p)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read shard %d: %w", shard, err)
	}
	return marksOf(shard, hash.Val())
}

// marksOf reads the marks hash. Fields that are no source are something else.
func marksOf(shard int, h map[string]string) (Marks, error) {
	marks := Marks{}
	for field, text := range h {
		src, ok := parseSource(field)
		if !ok {
			continue
		}
		m, err := parseMark(text)
		if err != nil {
			return nil, fmt.Errorf("shard %d, %s: %w", shard, src, err)
		}
		marks[src] = m
	}
	return marks, nil
}

// AllMarks reads the marks of every shard.
func (s *Store) AllMarks(ctx context.Context) ([]Marks, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	pipe := s.rdb.Pipeline()
	hashes := make([]*redis.MapStringStringCmd, s.opt.Shards)
	for sh := range hashes {
		hashes[sh] = pipe.HGetAll(ctx, marksKey(sh))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read marks: %w", err)
	}
	all := make([]Marks, len(hashes))
	for sh, h := range hashes {
		var err error
		if all[sh], err = marksOf(sh, h.Val()); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Bare returns the shards that take records of a source, and have no mark of anything:
// one that has those of other sources may be as old as the first record of this one.
func (s *Store) Bare(all []Marks, source Source) (shards []int) {
	for sh, m := range all {
		if source.Topic == s.opt.CommandTopic && s.CommandPartition(sh) != source.Partition {
			continue
		}
		if len(m) == 0 {
			shards = append(shards, sh)
		}
	}
	return shards
}

// Contents say whose keys a Redis holds.
type Contents string

// Contents of a Redis.
const (
	Empty   Contents = "empty"   // no key, or none but those that a processor notes beside the shards
	Held    Contents = "held"    // a store: it has its facts
	Foreign Contents = "foreign" // keys of something else
	Broken  Contents = "broken"  // keys of shards, but not the facts of their store: it has lost those, and maybe more
)

// Look says what a Redis holds, and how many keys. It changes nothing. Where the facts
// of a store are not among many keys, it goes through these until it finds one of a
// shard.
func Look(ctx context.Context, rdb redis.UniversalClient) (c Contents, keys int64, err error) {
	if keys, err = rdb.DBSize(ctx).Result(); err != nil { // of all masters of a cluster
		return "", 0, fmt.Errorf("count keys: %w", err)
	}
	for again := false; ; again = true {
		held, err := rdb.Exists(ctx, metaKey).Result()
		switch {
		case err != nil:
			return "", 0, fmt.Errorf("look for %s: %w", metaKey, err)
		case held > 0:
			return Held, keys, nil
		case again: // nobody has created the store while we looked
			return Broken, keys, nil
		}
		noted, err := countNoted(ctx, rdb)
		if err != nil {
			return "", 0, err
		}
		if keys <= noted {
			return Empty, 0, nil
		}
		if ours, err := holdsShards(ctx, rdb); err != nil || !ours {
			return Foreign, keys, err
		}
	}
}

// countNoted counts the keys that a processor notes again after all is lost.
func countNoted(ctx context.Context, rdb redis.UniversalClient) (n int64, err error) {
	for _, key := range []string{decksKey, mappingsKey} {
		one, err := rdb.Exists(ctx, key).Result()
		if err != nil {
			return 0, fmt.Errorf("look for %s: %w", key, err)
		}
		n += one
	}
	return n, nil
}

// holdsShards reports whether any node has a key of a shard.
func holdsShards(ctx context.Context, rdb redis.UniversalClient) (bool, error) {
	var found atomic.Bool
	scan := func(ctx context.Context, rdb redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := rdb.Scan(ctx, cursor, shardKeys, 10_000).Result()
			if err != nil {
				return fmt.Errorf("look for %s: %w", shardKeys, err)
			}
			if len(keys) > 0 {
				found.Store(true)
			}
			if next == 0 || found.Load() {
				return nil
			}
			cursor = next
		}
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return scan(ctx, c) })
		return found.Load(), err
	}
	err := scan(ctx, rdb)
	return found.Load(), err
}

// parseSource reads what Source.String writes.
func parseSource(text string) (Source, bool) {
	i := strings.LastIndexByte(text, '/')
	if i < 0 {
		return Source{}, false
	}
	var n int
	if _, err := fmt.Sscanf(text[i+1:], "%d", &n); err != nil {
		return Source{}, false
	}
	return Source{Topic: text[:i], Partition: n}, true
}
