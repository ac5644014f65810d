package balance_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// A Redis that throws balances away is refused; one that may forget some is warned of.
func TestServersThatLoseBalances(t *testing.T) {
	t.Parallel()
	started := func(args ...string) *redisserver.Server {
		t.Helper()
		s, err := redisserver.Start(t.Context(), redisserver.Options{Dir: t.TempDir(), Args: args})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Kill)
		return s
	}
	server := started()
	rdb := balance.Client(server.ClientOptions())
	t.Cleanup(func() { _ = rdb.Close() })
	set := func(name, value string) {
		t.Helper()
		if err := rdb.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	open := func() (said string, err error) {
		t.Helper()
		if err := rdb.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		opt := options(&world{})
		opt.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, err = balance.Open(t.Context(), rdb, opt)
		return log.String(), err
	}
	if said, err := open(); err != nil || said != "" {
		t.Fatalf("%v: %s", err, said)
	}
	for _, policy := range []string{"allkeys-lru", "volatile-ttl"} {
		set("maxmemory-policy", policy)
		_, err := open()
		if want := fmt.Sprintf("redis has maxmemory-policy %q and would throw balances away", policy); err == nil || !strings.Contains(err.Error(), want) || balance.Temporary(err) {
			t.Errorf("%v, want %s", err, want)
		}
		if n := rdb.DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys were made", n)
		}
	}
	set("maxmemory-policy", "noeviction")
	set("appendonly", "no")
	if said, err := open(); err != nil || !strings.Contains(said, "does not keep an append-only file") {
		t.Errorf("%v: %s", err, said)
	}
	set("appendonly", "yes")

	_, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	replica := redis.NewClient(&redis.Options{Addr: started("--replicaof", "127.0.0.1", port).Addr()})
	t.Cleanup(func() { _ = replica.Close() })
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(replica.Info(t.Context(), "replication").Val(), "master_link_status:up"); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the replica does not follow within 20 s")
		}
	}
	if said, err := open(); err != nil || !strings.Contains(said, "redis has replicas but min-replicas-to-write is 0") {
		t.Errorf("%v: %s", err, said)
	}
	set("min-replicas-to-write", "1")
	for deadline := time.Now().Add(20 * time.Second); redis.HasErrorPrefix(rdb.FlushAll(t.Context()).Err(), "NOREPLICAS"); <-tick.C {
		if time.Now().After(deadline) { // it counts them once a second
			t.Fatal("the replica does not count within 20 s")
		}
	}
	if said, err := open(); err != nil || said != "" {
		t.Errorf("%v: %s", err, said)
	}
}
