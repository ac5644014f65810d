package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// rebuildArgs are those of `creditstream rebuild` by a Redis.
func (p *plant) rebuildArgs(redis string) []string {
	return []string{"rebuild", "--redis", redis, "--deck", p.deck, "--session-timeout", "1s", "--partitions", strconv.Itoa(plantPartitions), "--shards", "16"}
}

// rebuilds runs `creditstream rebuild` to its end.
func (p *plant) rebuilds(code int, want ...string) {
	p.t.Helper()
	wants(p.t, p.tool(code, p.rebuildArgs(strings.Join(p.redis, ","))...), want...)
}

// balances returns what the API says of the accounts of the traffic.
func (p *plant) balances() string {
	p.t.Helper()
	var all strings.Builder
	for _, a := range names(12) {
		_, _ = all.WriteString(must(p.t, http.MethodGet, "http://"+p.http+"/v1/accounts/"+a, nil, "") + "\n")
	}
	return all.String()
}

// isAsBefore checks what a rebuild has made, and starts a processor on it: balances are
// those of before, and nothing was paid for again.
func (p *plant) isAsBefore(balances string, requests int) *process {
	p.t.Helper()
	if v := p.verifies(0); v.Verdict != "well" {
		p.t.Errorf("%+v", v)
	}
	run := p.processor(p.http)
	awaitReady(p.t, run, "http://"+p.http)
	if after := p.balances(); after != balances {
		p.t.Errorf("before:\n%s\nafter:\n%s", balances, after)
	}
	p.verify()
	if again := len(p.read("recharge-requests")); again != requests {
		p.t.Errorf("%d payments were requested, then %d", requests, again)
	}
	return run
}

// Redis is emptied; a processor refuses it, a rebuild fills it, and nothing is paid
// for again.
func TestRebuild(t *testing.T) {
	server := ownRedis(t) // is spoiled
	p := newPlantOn(t, []string{server.Addr()}, 0)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	stop := p.pay(rand.New(rand.NewPCG(1, 1)), "tenant-0")
	p.traffic(1500)
	p.settled()
	stop()
	p.verify()
	before, requests, rated := p.balances(), len(p.read("recharge-requests")), p.read("rated-cdrs")
	p.rebuilds(0, "nothing to do")

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.refuses(run, "has lost data", "has consumed ", "but of that nothing is in ", "creditstream rebuild")
	if err := rdb.FlushAll(t.Context()).Err(); err != nil { // what others than shards have noted meanwhile
		t.Fatal(err)
	}
	refused := p.processor(p.http)
	p.refuses(refused, "database 0, is empty, but the consumer group \"creditstream\" has already consumed cdrs (0 up to ",
		" and credit-commands (", "creditstream rebuild", "--accept-empty-redis", "another --group")
	p.refuses(p.processor(p.http, "--group", "another"), "database 0, is empty, but credit-commands is not", "(another: its offsets may be forgotten)", "--accept-empty-redis")
	if n, err := rdb.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("%d keys after a refusal (%v)", n, err)
	}
	if err := rdb.Set(t.Context(), "other", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p.rebuilds(1, "is used by something else (1 key, none of them of creditstream)")
	if err := rdb.Del(t.Context(), "other").Err(); err != nil {
		t.Fatal(err)
	}
	p.rebuilds(0, "rebuilt: ")
	run = p.isAsBefore(before, requests)
	// Of two copies of a call, another may count by now.
	price := func(r kafka.Record) string { return strings.ReplaceAll(string(r.Value), `"duplicate"`, `"charged"`) }
	known := map[string]bool{}
	for _, r := range rated {
		known[price(r)] = true
	}
	for _, r := range p.read("rated-cdrs") {
		if !strings.Contains(string(r.Value), `"charge":"0.000000"`) && !known[price(r)] {
			t.Errorf("rated otherwise: %s", r.Value)
		}
	}
	run.stop(t)
}

// refuses waits until a process has ended with 1, and said so.
func (p *plant) refuses(c *process, want ...string) {
	p.t.Helper()
	if code := c.wait(p.t, 60*time.Second); code != 1 {
		p.t.Errorf("exit code %d", code)
	}
	wants(p.t, p.kafka.Bare(c.out.String()), want...)
}

// A node of a cluster that comes back without data takes a part of the keys with it:
// here those of one shard, then the facts of the store.
func TestAPartOfRedisIsLost(t *testing.T) {
	server := ownRedis(t) // is spoiled
	p := newPlantOn(t, []string{server.Addr()}, 0)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	stop := p.pay(rand.New(rand.NewPCG(1, 1)), "tenant-0")
	p.traffic(300)
	p.settled()
	stop()
	before := p.balances()
	run.stop(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	lose := func(pattern string) {
		t.Helper()
		keys, err := rdb.Keys(t.Context(), pattern).Result()
		if err == nil {
			err = rdb.Del(t.Context(), keys...).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lose("cs:{3}:*")
	p.refuses(p.processor(p.http), "has lost data", "but of that nothing is in 1 shard: 3.", "--accept-empty-redis")
	p.rebuilds(0, "rebuilt: ")
	if v := p.verifies(0); v.Verdict != "well" {
		t.Errorf("%+v", v)
	}
	run = p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	if after := p.balances(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	run.stop(t)

	lose("cs:meta")
	p.rebuilds(1, "but no cs:meta, which every store has: a node has lost its data", "Do NOT empty anything")
	p.refuses(p.processor(p.http, "--accept-empty-redis"), "Do NOT empty anything")
	if n, err := rdb.Exists(t.Context(), "cs:meta").Result(); err != nil || n != 0 {
		t.Errorf("cs:meta was made again (%v)", err)
	}
}

// A rebuild begins while Redis is away: it is somebody else's when it comes.
func TestRebuildRefusesAForeignRedisThatComesLater(t *testing.T) {
	server := ownRedis(t)
	p := newPlantOn(t, []string{server.Addr()}, 0)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.Set(t.Context(), "other", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	rebuild := start(t, p.environ(), append(p.rebuildArgs(server.Addr()), "--brokers", strings.Join(p.brokers, ","))...)
	await(t, 60*time.Second, "waits for Redis", func() error {
		if out := rebuild.out.String(); !strings.Contains(out, "waiting for Redis") {
			return errors.New(out)
		}
		return nil
	})
	restart(t, server, server.Dir())
	p.refuses(rebuild, "is used by something else (1 key, none of them of creditstream)")
	if n, err := rdb.DBSize(t.Context()).Result(); err != nil || n != 1 {
		t.Errorf("%d keys after a refusal (%v)", n, err)
	}
}

// Off a terminal a rebuild says by lines how far it is, and warns when it does not get on.
func TestRebuildTells(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	began := time.Now()
	r := rebuild{
		processor: &processor{log: slog.New(slog.NewTextHandler(&out, nil))}, stderr: &out, told: began, moved: began, total: 100,
		bar: newProgress(&out, 100, began),
	}
	for _, step := range []struct {
		after time.Duration
		done  int64
		want  string
	}{
		{5 * time.Second, 20, ""},
		{10 * time.Second, 40, "40 records, 4/s, about 15s left"},
		{15 * time.Second, 40, ""},
		{20 * time.Second, 40, "rebuilds nothing for now: if processors of the group work on another Redis, stop them"},
		{29 * time.Second, 40, ""},
		{30 * time.Second, 60, "60 records"},
	} {
		out.Reset()
		r.show(t.Context(), step.done, began.Add(step.after))
		if got := out.String(); (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("after %s: %q, want %q", step.after, got, step.want)
		}
	}
}

// A rebuild is killed or interrupted with a script on its way, here and there; it goes
// on from there.
func TestARebuildThatIsKilledGoesOn(t *testing.T) {
	server := ownRedis(t) // is emptied
	p := newPlantOn(t, []string{server.Addr()}, 0)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	stop := p.pay(rand.New(rand.NewPCG(1, 1)), "tenant-0")
	p.traffic(300)
	r := rand.New(rand.NewPCG(2, 2))
	for range 20 { // batches of the log, so that a rebuild has many calls to make
		var cdrs [][]byte
		for range 60 {
			cdrs = append(cdrs, p.cdr(r, names(12)[r.IntN(12)]))
		}
		p.send(r, 0.1, cdrs...)
	}
	p.settled()
	stop()
	before, requests := p.balances(), len(p.read("recharge-requests"))
	size, err := p.backlog()
	if err != nil {
		t.Fatal(err)
	}
	run.kill()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	kills, out := 0, ""
	for calls := int64(2); out == ""; calls *= 2 {
		proxy := newStaller(t, server.Addr(), calls)
		rebuild := start(t, p.environ(), append(p.rebuildArgs(proxy.addr), "--fetch-bytes", "4096", "--brokers", strings.Join(p.brokers, ","))...)
		select {
		case <-proxy.stalled:
			if kills == 1 { // by Ctrl-C
				rebuild.signal(os.Interrupt)
				if code := rebuild.wait(t, 30*time.Second); code != 1 {
					t.Errorf("exit code %d after an interrupt", code)
				}
				wants(t, rebuild.out.String(), "interrupted: run it again to go on from here")
			}
			rebuild.kill()
			if left := p.left(rdb); 0 < left && left < size {
				kills++
			}
		case <-rebuild.exited:
			out = rebuild.out.String()
		}
	}
	if kills < 2 {
		t.Errorf("ended in the middle %d times only: the test has not tested all", kills)
	}
	if strings.Contains(out, "rebuilt: "+count(size, "record")) || !strings.Contains(out, "rebuilt: ") && !strings.Contains(out, "nothing to do") {
		t.Errorf("it has not gone on from where it was: %s", out)
	}
	run = p.isAsBefore(before, requests)
	run.stop(t)
}

// staller is a way to Redis that lets nothing through any more once it has passed on so
// many calls that debit.
type staller struct {
	addr    string
	calls   atomic.Int64
	stalled chan struct{} // is closed then
}

func newStaller(t *testing.T, to string, calls int64) *staller {
	t.Helper()
	s := &staller{stalled: make(chan struct{})}
	s.calls.Store(calls)
	s.addr = serveEach(t, func(client net.Conn) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			_ = client.Close()
			return
		}
		go s.pass(client, server, nil)
		s.pass(server, client, []byte(":seen:")) // the keys of ids
	})
	return s
}

// pass copies until either end is closed, and counts what has a mark.
func (s *staller) pass(to, from net.Conn, mark []byte) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 1<<20)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-s.stalled:
			continue
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if mark != nil && bytes.Contains(buf[:n], mark) && s.calls.Add(-1) == 0 {
			close(s.stalled)
		}
	}
}

// left returns how many records of the logs some shard has not applied.
func (p *plant) left(rdb *redis.Client) (n int) {
	p.t.Helper()
	store, err := balance.Attach(p.t.Context(), rdb, time.Now)
	if err != nil {
		p.t.Fatal(err)
	}
	marks, err := store.AllMarks(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, name := range []string{"cdrs", "credit-commands"} {
		ends, err := p.client.Ends(p.t.Context(), p.topic(name))
		if err != nil {
			p.t.Fatal(err)
		}
		for partition, end := range ends {
			low := end
			for shard, m := range marks {
				if name == "cdrs" || store.CommandPartition(shard) == partition {
					low = min(low, m[balance.Source{Topic: p.topic(name), Partition: partition}].Next)
				}
			}
			n += int(end - low)
		}
	}
	return n
}

// An older copy of Redis is brought up to the logs, by what came since and no more;
// one that they do not reach back to is not.
func TestRebuildGoesOnFromABackup(t *testing.T) {
	server := ownRedis(t) // its data is replaced
	p := newPlantOn(t, []string{server.Addr()}, 0)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	defer p.pay(rand.New(rand.NewPCG(1, 1)), "tenant-0")()
	p.traffic(1000)
	p.settled()
	size, err := p.backlog()
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	older := filepath.Join(t.TempDir(), "older")
	if err := os.CopyFS(older, os.DirFS(server.Dir())); err != nil {
		t.Fatal(err)
	}
	server = restart(t, server, server.Dir())
	awaitReady(t, run, "http://"+p.http)
	r := rand.New(rand.NewPCG(3, 3))
	var cdrs [][]byte
	for _, a := range names(12) {
		p.topUp(a, "second", "7.00")
		for range 20 {
			cdrs = append(cdrs, p.cdr(r, a))
		}
	}
	p.send(r, 0.1, cdrs...)
	p.settled()
	grown, err := p.backlog()
	if err != nil {
		t.Fatal(err)
	}
	before, requests := p.balances(), len(p.read("recharge-requests"))
	run.kill()
	server.Stop()
	again := filepath.Join(t.TempDir(), "again")
	if err := os.CopyFS(again, os.DirFS(older)); err != nil {
		t.Fatal(err)
	}
	server = restart(t, server, older)
	p.rebuilds(0, "rebuilt: "+count(grown-size, "record")+" in ")
	run = p.isAsBefore(before, requests)
	run.stop(t)

	server.Stop()
	restart(t, server, again)
	p.kafka.DeleteRecords(p.topic("cdrs"), 1, -1) // retention was too short
	p.rebuilds(1, "but the log begins at", "restore a Redis backup whose marks are in the log")
}
