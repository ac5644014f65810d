package testserver

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// databases of the redis-server that is started: as many tests of one process may
// use it at once.
const databases = 4000

// Redis is the Redis, or the Redis Cluster, of one test. It is empty at first.
type Redis struct {
	tb  testing.TB
	opt redis.UniversalOptions
	rdb redis.UniversalClient
}

// NewRedis returns the Redis for a test. A test that calls it again may find that
// what it had in the first is gone.
func NewRedis(tb testing.TB) *Redis {
	tb.Helper()
	r := &Redis{tb: tb, opt: redis.UniversalOptions{Addrs: chosen().redis}}
	if len(r.opt.Addrs) == 0 {
		r.opt = startedRedis(tb)
		r.connect()
		r.Flush() // an earlier test may have had the database
		return r
	}
	if slices.Equal(r.opt.Addrs, []string{container}) {
		addr, err := redisContainer()
		if err != nil {
			tb.Fatalf("%s: start a container of %s: %v", redisEnv, chosen().redisImage, err)
		}
		r.opt.Addrs = []string{addr}
	}
	answers(tb, redisEnv, r.opt.Addrs[0])
	before := shared.take(tb)
	r.connect()
	if n := len(r.Keys("*")); n > 0 && !before {
		tb.Fatalf("%s: %v holds %d keys and would be emptied: if it is for tests, empty it first", redisEnv, r.opt.Addrs, n)
	}
	r.Flush()
	tb.Cleanup(r.Flush)
	return r
}

// startedRedis returns the next database of the redis-server of this process.
func startedRedis(tb testing.TB) redis.UniversalOptions {
	tb.Helper()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.redis == "" {
		dir, err := os.MkdirTemp("", "creditstream-redis-") //nolint:usetesting // it outlives the test
		if err != nil {
			tb.Fatal(err)
		}
		shared.closers = append(shared.closers, func() { _ = os.RemoveAll(dir) })
		s, err := redisserver.Start(beyond(tb), redisserver.Options{Dir: dir, Args: []string{"--databases", strconv.Itoa(databases)}})
		if err != nil {
			tb.Fatalf("tests of money need a redis-server: %v", err)
		}
		shared.closers = append(shared.closers, s.Kill)
		shared.redis = s.Addr()
	}
	shared.given++
	return redis.UniversalOptions{Addrs: []string{shared.redis}, DB: shared.given % databases}
}

func (r *Redis) connect() {
	r.rdb = redis.NewUniversalClient(r.Options())
	r.tb.Cleanup(func() { _ = r.rdb.Close() })
}

// Options say how to reach it.
func (r *Redis) Options() *redis.UniversalOptions {
	o := r.opt
	return &o
}

// Addrs are its addresses, host:port; DB is the database of a Redis that is no
// cluster.
func (r *Redis) Addrs() []string { return r.opt.Addrs }

// DB is the database, 0 in a cluster.
func (r *Redis) DB() int { return r.opt.DB }

// masters calls f for each node that holds keys.
func (r *Redis) masters(f func(ctx context.Context, node *redis.Client) error) {
	r.tb.Helper()
	ctx, cancel := context.WithTimeout(beyond(r.tb), patience)
	defer cancel()
	var err error
	switch rdb := r.rdb.(type) {
	case *redis.ClusterClient:
		err = rdb.ForEachMaster(ctx, f)
	case *redis.Client:
		err = f(ctx, rdb)
	}
	if err != nil {
		r.tb.Fatal(err)
	}
}

// Flush removes every key.
func (r *Redis) Flush() {
	r.tb.Helper()
	r.masters(func(ctx context.Context, node *redis.Client) error { return node.FlushDB(ctx).Err() })
}

// Keys returns the keys that match a pattern.
func (r *Redis) Keys(pattern string) (keys []string) {
	r.tb.Helper()
	var mu sync.Mutex
	r.masters(func(ctx context.Context, node *redis.Client) error {
		some, err := node.Keys(ctx, pattern).Result()
		mu.Lock()
		defer mu.Unlock()
		keys = append(keys, some...)
		return err
	})
	return keys
}

// A Copy is all that a Redis holds, by the address of the node.
type Copy map[string]map[string]string

// Dump copies every key, of each node in one step.
func (r *Redis) Dump() Copy {
	r.tb.Helper()
	var mu sync.Mutex
	c := Copy{}
	r.masters(func(ctx context.Context, node *redis.Client) error {
		all, err := node.Eval(ctx, `local out = {}
			for _, k in ipairs(redis.call('KEYS', '*')) do out[#out + 1] = k; out[#out + 1] = redis.call('DUMP', k) end
			return out`, nil).StringSlice()
		keys := map[string]string{}
		for i := 0; i+1 < len(all); i += 2 {
			keys[all[i]] = all[i+1]
		}
		mu.Lock()
		defer mu.Unlock()
		c[node.Options().Addr] = keys
		return err
	})
	return c
}

// Restore takes every node back to a copy, each in one step, as a failover does.
func (r *Redis) Restore(c Copy) {
	r.tb.Helper()
	r.masters(func(ctx context.Context, node *redis.Client) error {
		var args []any
		for k, v := range c[node.Options().Addr] {
			args = append(args, k, v)
		}
		// Not MULTI: a cluster has no transaction over several slots.
		return node.Eval(ctx, `redis.call('FLUSHDB')
			for i = 1, #ARGV, 2 do redis.call('RESTORE', ARGV[i], 0, ARGV[i + 1]) end
			return 1`, nil, args...).Err()
	})
}
