package balance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/rating"
)

// schemaVersion changes when keys or entries change so that an older version
// would misread them.
const schemaVersion = 2

// Options are the facts of a store. Those that say what a record means (shards,
// partitions, slices, window, limits) are fixed when it is created: a replay must
// read the log as it was read before (design rule 7).
type Options struct {
	Shards            int           // default 64
	CommandPartitions int           // partitions of the commands topic
	CDRTopic          string        // part of the names of marks and outboxes
	CommandTopic      string        //
	SliceWidth        time.Duration // of answer time, for ids; default 10 minutes
	Window            time.Duration // how long ids are remembered; default 35 days
	MaxDuration       time.Duration // a longer call is parked; default 24 h
	MaxCharge         rating.Micros // a dearer call is parked; default rating.MaxCharge
	Slack             time.Duration // between the brokers' clocks; default 250 ms
	ExpiryGrace       time.Duration // how long an expired lot waits for late calls; default 6 h
	CallTimeout       time.Duration // of one round trip; default 5 s
	Logger            *slog.Logger
	Now               func() time.Time
}

func (o *Options) setDefaults() {
	if o.Shards == 0 {
		o.Shards = 64
	}
	if o.MaxCharge == 0 {
		o.MaxCharge = rating.MaxCharge
	}
	for _, d := range []struct {
		at *time.Duration
		is time.Duration
	}{
		{&o.SliceWidth, 10 * time.Minute},
		{&o.Window, 35 * 24 * time.Hour},
		{&o.MaxDuration, 24 * time.Hour},
		{&o.Slack, 250 * time.Millisecond},
		{&o.ExpiryGrace, 6 * time.Hour},
		{&o.CallTimeout, 5 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.is
		}
	}
}

// A Store is the balances in one Redis, seen by one process. Its methods are safe
// for concurrent use.
type Store struct {
	rdb redis.UniversalClient
	opt Options
}

// Client returns a Redis client with the settings that a store needs.
func Client(opt *redis.UniversalOptions) redis.UniversalClient {
	o := *opt
	// A lost reply is a take-over: a repeat would only find that the mark has moved.
	// That of a cluster repeats a call all the same, up to MaxRedirects (3) times.
	o.MaxRetries = -1
	o.ContextTimeoutEnabled = true // else deadlines are ignored
	if o.DialTimeout == 0 {
		o.DialTimeout = 2 * time.Second
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 5 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 5 * time.Second
	}
	if len(o.Addrs) > 1 {
		c := o.Cluster()
		c.ClusterStateReloadInterval = clusterReload
		return redis.NewClusterClient(c)
	}
	return redis.NewUniversalClient(&o)
}

// clusterReload is how often the nodes of a cluster are asked who serves what. A
// master that is dead answers no MOVED, and without retries nothing else makes the
// client ask: with its 60 s, workers went on calling the dead one that long after its
// replica had taken over.
const clusterReload = 2 * time.Second

// ErrMismatch is wrapped by Open when the store was created with other facts.
var ErrMismatch = errors.New("this Redis holds a store of other facts")

// Open loads the scripts and creates the store, or checks that it is the one
// described: its facts are fixed for its life. It refuses a server that evicts keys.
func Open(ctx context.Context, rdb redis.UniversalClient, opt Options) (*Store, error) {
	opt.setDefaults()
	s := &Store{rdb: rdb, opt: opt}
	if err := s.loadScripts(ctx); err != nil {
		return nil, err
	}
	if err := s.checkServer(ctx); err != nil {
		return nil, err
	}
	return s, s.checkMeta(ctx)
}

func (s *Store) checkMeta(ctx context.Context) error {
	want := [][2]string{
		{"schema", strconv.Itoa(schemaVersion)},
		{"shards", strconv.Itoa(s.opt.Shards)},
		{"command_partitions", strconv.Itoa(s.opt.CommandPartitions)},
		{"slice_width", s.opt.SliceWidth.String()},
		{"id_window", s.opt.Window.String()},
		{"max_duration", s.opt.MaxDuration.String()},
		{"max_charge", s.opt.MaxCharge.String()},
		{"cdr_topic", s.opt.CDRTopic},
		{"command_topic", s.opt.CommandTopic},
		{"created", s.opt.Now().UTC().Format(time.RFC3339)},
	}
	args := make([]any, 0, 2*len(want))
	for _, w := range want {
		args = append(args, w[0], w[1])
	}
	replies, errs := s.run(ctx, []call{{create, []string{metaKey}, args}})
	if errs[0] != nil {
		return errs[0]
	}
	words, err := texts(replies[0])
	if err != nil {
		return fmt.Errorf("read %s: %w", metaKey, err)
	}
	have := map[string]string{}
	for i := 0; i+1 < len(words); i += 2 {
		have[words[i]] = words[i+1]
	}
	var wrong []string
	for _, w := range want[:len(want)-1] {
		if have[w[0]] != w[1] {
			wrong = append(wrong, fmt.Sprintf("%s is %s there and %s here", w[0], have[w[0]], w[1]))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%w (%s, created %s): %s; configure what it has, or use another Redis",
			ErrMismatch, metaKey, have["created"], strings.Join(wrong, "; "))
	}
	return nil
}

// checkServer refuses a server that may throw keys away, and warns about one that
// keeps nothing.
func (s *Store) checkServer(ctx context.Context) error {
	check := func(ctx context.Context, rdb redis.Cmdable) error {
		policy, err := rdb.ConfigGet(ctx, "maxmemory-policy").Result()
		if err != nil {
			if Temporary(err) {
				return fmt.Errorf("read maxmemory-policy: %w", err)
			}
			s.opt.Logger.WarnContext(ctx, "cannot read the configuration of redis: check by hand that maxmemory-policy is noeviction", "error", err)
			return nil
		}
		if p := policy["maxmemory-policy"]; p != "noeviction" {
			return faultf("redis has maxmemory-policy %q and would throw balances away: set it to noeviction", p)
		}
		aof, err := rdb.ConfigGet(ctx, "appendonly").Result()
		if err == nil && aof["appendonly"] == "no" {
			s.opt.Logger.WarnContext(ctx, "redis does not keep an append-only file: after a restart it is rebuilt from the logs, as far as they reach back")
		}
		replicas, err := rdb.Info(ctx, "replication").Result()
		least, err2 := rdb.ConfigGet(ctx, "min-replicas-to-write").Result()
		if err == nil && err2 == nil && !strings.Contains(replicas, "connected_slaves:0") &&
			strings.Contains(replicas, "connected_slaves:") && least["min-replicas-to-write"] == "0" {
			s.opt.Logger.WarnContext(ctx, "redis has replicas but min-replicas-to-write is 0: a failover may go back further than needed")
		}
		return nil
	}
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return check(ctx, c) })
	}
	return check(ctx, s.rdb)
}

// Window is how long ids are remembered: an older CDR is parked.
func (s *Store) Window() time.Duration { return s.opt.Window }

// Limits returns the longest call and the dearest charge that are believed.
func (s *Store) Limits() (longest time.Duration, dearest rating.Micros) {
	return s.opt.MaxDuration, s.opt.MaxCharge
}

// Slack is how much later than a CDR the first command of its account may have
// been appended.
func (s *Store) Slack() time.Duration { return s.opt.Slack }

// Shards returns the number of shards.
func (s *Store) Shards() int { return s.opt.Shards }

// ShardOf returns the shard of an account.
func (s *Store) ShardOf(account string) int { return shardOf(account, s.opt.Shards) }

// CommandPartition returns the partition of the commands topic from which a shard
// takes its commands.
func (s *Store) CommandPartition(shard int) int { return shard % s.opt.CommandPartitions }

// Sources of the two kinds.
func (s *Store) commandSource(partition int) Source {
	return Source{Topic: s.opt.CommandTopic, Partition: partition}
}

// Slice returns the slice of answer time that remembers a CDR's id.
func (s *Store) Slice(answered time.Time) int64 {
	return floorDiv(answered.UnixMilli(), s.opt.SliceWidth.Milliseconds())
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (s *Store) clock() string { return strconv.FormatInt(s.opt.Now().UnixMicro(), 10) }

// texts turns a reply of words into strings.
func texts(reply any) ([]string, error) {
	list, ok := reply.([]any)
	if !ok {
		return nil, faultf("reply is %T, a list is expected", reply)
	}
	out := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case string:
			out[i] = v
		case int64:
			out[i] = strconv.FormatInt(v, 10)
		default:
			return nil, faultf("item %d of the reply is %T, text is expected", i, v)
		}
	}
	return out, nil
}
