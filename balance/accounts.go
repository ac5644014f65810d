package balance

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/rating"
)

// An AccountSummary is an account in a list.
type AccountSummary struct {
	ID       string
	Currency string
	Balance  rating.Micros
	Closed   bool
}

// Accounts returns at most limit accounts in the order of their ids (bytes),
// beginning after the id that is given. It asks every shard.
func (s *Store) Accounts(ctx context.Context, after string, limit int) ([]AccountSummary, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	pipe := s.rdb.Pipeline()
	lists := make([]*redis.StringSliceCmd, s.opt.Shards)
	for sh := range lists {
		lists[sh] = pipe.ZRangeByLex(ctx, indexKey(sh), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	var ids []string
	for _, l := range lists {
		ids = append(ids, l.Val()...)
	}
	slices.Sort(ids)
	ids = ids[:min(len(ids), limit)]

	pipe = s.rdb.Pipeline()
	hashes := make([]*redis.SliceCmd, len(ids))
	names := []string{"cur", "funded", "spent", "forfeited", "closed"}
	for i, id := range ids {
		hashes[i] = pipe.HMGet(ctx, accountKey(s.ShardOf(id), id), names...)
	}
	if len(ids) > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
	}
	out := make([]AccountSummary, len(ids))
	for i, id := range ids {
		r := readerOf(names, hashes[i].Val())
		out[i] = AccountSummary{
			ID: id, Currency: r.h["cur"], Closed: r.h["closed"] == "1",
			Balance: r.micros("funded") - r.micros("spent") - r.micros("forfeited"),
		}
		if r.err != nil {
			return nil, fmt.Errorf("list account %s: %w", id, r.err)
		}
	}
	return out, nil
}
