package balance

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// RechargeStates returns every state of an account's auto-recharge (AccountRecharge.State).
func RechargeStates() []string {
	return []string{"idle", "pending", "cooling", "suspended", "unresolved", "capped"}
}

// A Tally counts accounts, closed ones included.
type Tally struct {
	AtOrAboveZero, BelowZero int
	Recharges                map[string]int // by the state of auto-recharge
}

// Tally adds at most limit accounts of a shard, beginning after the id that is given,
// to t. It returns the id after which the next ones begin, "" when there are none, and
// how many it has read. After an error t is what it was.
func (s *Store) Tally(ctx context.Context, shard int, after string, limit int, t *Tally) (last string, read int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	from := "-"
	if after != "" {
		from = "(" + after
	}
	ids, err := s.rdb.ZRangeByLex(ctx, indexKey(shard), &redis.ZRangeBy{Min: from, Max: "+", Count: int64(limit)}).Result()
	if err != nil {
		return "", 0, fmt.Errorf("list accounts of shard %d: %w", shard, err)
	}
	if len(ids) == 0 {
		return "", 0, nil
	}
	pipe := s.rdb.Pipeline()
	hashes := make([]*redis.SliceCmd, len(ids))
	names := []string{"funded", "spent", "forfeited", "state"}
	for i, id := range ids {
		hashes[i] = pipe.HMGet(ctx, accountKey(shard, id), names...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return "", 0, fmt.Errorf("read accounts of shard %d: %w", shard, err)
	}
	page := Tally{Recharges: map[string]int{}}
	for i := range ids {
		r := readerOf(names, hashes[i].Val())
		if r.micros("funded")-r.micros("spent")-r.micros("forfeited") < 0 {
			page.BelowZero++
		} else {
			page.AtOrAboveZero++
		}
		page.Recharges[cmp.Or(r.h["state"], "idle")]++
		if r.err != nil {
			return "", 0, fmt.Errorf("read an account of shard %d: %w", shard, r.err)
		}
	}
	t.add(&page)
	if len(ids) == limit {
		last = ids[limit-1]
	}
	return last, len(ids), nil
}

func (t *Tally) add(page *Tally) {
	t.AtOrAboveZero += page.AtOrAboveZero
	t.BelowZero += page.BelowZero
	if t.Recharges == nil {
		t.Recharges = map[string]int{}
	}
	for state, n := range page.Recharges {
		t.Recharges[state] += n
	}
}

// Memory returns how many bytes the server uses that uses the most of those that hold
// the store, and how many it may; 0: it has no limit.
func (s *Store) Memory(ctx context.Context) (used, limit int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	var mu sync.Mutex // masters of a cluster are asked side by side
	ask := func(ctx context.Context, rdb redis.Cmdable) error {
		text, err := rdb.Info(ctx, "memory").Result()
		if err != nil {
			return fmt.Errorf("read memory of redis: %w", err)
		}
		u, err := infoNumber(text, "used_memory")
		if err != nil {
			return err
		}
		l, err := infoNumber(text, "maxmemory")
		mu.Lock()
		defer mu.Unlock()
		if u > used {
			used, limit = u, l
		}
		return err
	}
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return ask(ctx, c) })
	} else {
		err = ask(ctx, s.rdb)
	}
	return used, limit, err
}

// infoNumber returns a number of an answer to INFO.
func infoNumber(text, name string) (int64, error) {
	_, rest, found := strings.Cut(text, "\n"+name+":")
	if !found {
		return 0, faultf("redis does not say %s in INFO", name)
	}
	line, _, _ := strings.Cut(rest, "\r")
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		return 0, faultf("redis says %s is %q: %w", name, line, err)
	}
	return n, nil
}

// SliceIDs returns how many ids the largest set of the slices around now holds, and up
// to how many a set is kept as an array of 9 bytes an id; beyond it takes some 65.
func (s *Store) SliceIDs(ctx context.Context, now time.Time) (largest, compact int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	pipe := s.rdb.Pipeline()
	var sizes []*redis.IntCmd
	for sh := range s.opt.Shards {
		for n := s.Slice(now) - 1; n <= s.Slice(now); n++ {
			sizes = append(sizes, pipe.SCard(ctx, seenKey(sh, n)))
		}
	}
	const setting = "set-max-intset-entries"
	config := pipe.ConfigGet(ctx, setting)
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, 0, fmt.Errorf("count ids: %w", err)
	}
	for _, n := range sizes {
		largest = max(largest, n.Val())
	}
	compact, err = strconv.ParseInt(config.Val()[setting], 10, 64)
	if err != nil {
		return 0, 0, faultf("redis says %s is %q: %w", setting, config.Val()[setting], err)
	}
	return largest, compact, nil
}
