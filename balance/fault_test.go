package balance_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// A Redis that answers and takes no writes is told apart from one that is away; both
// are waited for.
func TestRefusesWrites(t *testing.T) {
	t.Parallel()
	server, err := redisserver.Start(t.Context(), redisserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	w := &world{}
	rdb := balance.Client(&redis.UniversalOptions{Addrs: []string{server.Addr()}})
	t.Cleanup(func() { _ = rdb.Close() })
	store, err := balance.Open(t.Context(), rdb, options(w))
	if err != nil {
		t.Fatal(err)
	}
	src := balance.Source{Topic: "cdrs"}
	held, err := store.TakeOver(t.Context(), src, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	confirm := func() error {
		return store.Confirm(t.Context(), []*balance.Confirmation{{Source: src, Expect: held[0].Mark, Next: 1, Last: balance.Last{Digest: "d"}}})
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := confirm(); !balance.RefusesWrites(err) || !balance.Temporary(err) {
		t.Errorf("memory is full: %v", err)
	}
	server.Stop()
	if err := confirm(); err == nil || balance.RefusesWrites(err) || !balance.Temporary(err) {
		t.Errorf("it is away: %v", err)
	}
}
