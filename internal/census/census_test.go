package census_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/census"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/rating"
)

func TestMain(m *testing.M) { testserver.Run(m) }

const partitions = 2

func open(t *testing.T, opt *redis.UniversalOptions) *balance.Store {
	t.Helper()
	rdb := balance.Client(opt)
	t.Cleanup(func() { _ = rdb.Close() })
	store, err := balance.Open(t.Context(), rdb, balance.Options{
		Shards: 4, CommandPartitions: partitions, CDRTopic: "cdrs", CommandTopic: "credit-commands",
		Logger: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// fill makes accounts and lets each owe something, shard by shard.
func fill(t *testing.T, store *balance.Store, n int) (byPartition [partitions]int) {
	t.Helper()
	batches := map[int]*balance.CommandBatch{}
	amount := rating.Micros(-1)
	for i := range n {
		account := fmt.Sprintf("tenant-%d", i)
		sh := store.ShardOf(account)
		b := batches[sh]
		if b == nil {
			b = &balance.CommandBatch{Position: balance.Position{
				Shard: sh, Source: balance.Source{Topic: "credit-commands", Partition: store.CommandPartition(sh)},
				Expect: balance.Mark{Name: "-", Last: balance.Last{Offset: -1}}, Last: balance.Last{Digest: "d"},
			}}
			batches[sh] = b
		}
		for _, c := range []*balance.Command{
			{Type: balance.PutAccount, Account: account, Put: &balance.Settings{Currency: "USD"}},
			{Type: balance.Adjust, Account: account, ID: "adjust/1", Amount: &amount, Currency: "USD", Reason: "test", Operator: "test"},
		} {
			b.Orders = append(b.Orders, balance.Order{Offset: b.Next, AppendMillis: 1, Command: c})
			b.Next++
		}
		byPartition[store.CommandPartition(sh)]++
	}
	for _, b := range batches {
		if r := store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0]; r.Status != balance.Applied {
			t.Fatalf("%+v", r)
		}
	}
	return byPartition
}

// run runs a census until the test ends.
func run(t *testing.T, store *balance.Store, held func() []int, log io.Writer) (figure func(name, label string) (value float64, found bool)) {
	t.Helper()
	reg := prometheus.NewRegistry()
	began := time.Now()
	fast := func() time.Time { return began.Add(20 * time.Since(began)) } // a round with every step
	c := census.New(census.Config{Store: store, Held: held, Registerer: reg, Now: fast, Logger: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return func(name, label string) (float64, bool) {
		families, err := reg.Gather()
		if err != nil {
			t.Error(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "creditstream_census_"+name && (label == "" || m.GetLabel()[0].GetValue() == label) {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue(), true
				}
			}
		}
		return 0, false
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited 20 s for: %s", what)
		case <-tick.C:
		}
	}
}

// A process counts the accounts of its own partitions, more of them than one step
// reads, and forgets them when they are another's.
func TestAccountsOfTheShardsThatAreHeld(t *testing.T) {
	t.Parallel()
	store := open(t, testserver.NewRedis(t).Options())
	want := fill(t, store, 3100)
	var partition atomic.Int64
	figure := run(t, store, func() []int {
		if p := partition.Load(); p >= 0 {
			return []int{int(p)}
		}
		return nil
	}, io.Discard)
	for p := range partitions {
		partition.Store(int64(p))
		until(t, fmt.Sprintf("%d accounts of partition %d", want[p], p), func() bool {
			below, _ := figure("accounts", "below_zero")
			idle, _ := figure("recharge_accounts", "idle")
			return below == float64(want[p]) && idle == below
		})
		if above, found := figure("accounts", "at_or_above_zero"); above != 0 || !found {
			t.Errorf("%v accounts at or above zero, want a zero", above)
		}
		if unresolved, found := figure("recharge_accounts", "unresolved"); unresolved != 0 || !found {
			t.Errorf("%v unresolved recharges, want a zero", unresolved)
		}
	}
	partition.Store(-1)
	until(t, "no accounts", func() bool { _, found := figure("accounts", ""); return !found })
	if used, _ := figure("redis_used_bytes", ""); used == 0 {
		t.Error("no memory is used")
	}
}

// lines counts what is logged.
type lines struct{ atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.Add(1)
	return len(p), nil
}

// While Redis is away it says so once, and keeps its last figures.
func TestRedisIsAway(t *testing.T) {
	t.Parallel()
	server, err := redisserver.Start(t.Context(), redisserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	store := open(t, &redis.UniversalOptions{Addrs: []string{server.Addr()}})
	want := fill(t, store, 10)
	var log lines
	figure := run(t, store, func() []int { return []int{0, 1} }, &log)
	all := float64(want[0] + want[1])
	until(t, "a count", func() bool { n, _ := figure("accounts", "below_zero"); return n == all })
	server.Stop()
	until(t, "errors", func() bool { n, _ := figure("errors_total", ""); return n > 2 })
	if n := log.Load(); n != 1 {
		t.Errorf("it says so %d times, want once", n)
	}
	if n, _ := figure("accounts", "below_zero"); n != all {
		t.Errorf("%v accounts, want the last count of %v", n, all)
	}
}
