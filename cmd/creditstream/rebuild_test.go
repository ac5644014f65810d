package main

import (
	"bytes"
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
	run.kill()

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	refused := p.processor(p.http)
	if code := refused.wait(t, 30*time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
	wants(t, p.kafka.Bare(refused.out.String()), "database 0, is empty, but the consumer group \"creditstream\" has already consumed cdrs (0 up to ",
		" and credit-commands (", "creditstream rebuild", "--accept-empty-redis", "another --group")
	if n, err := rdb.DBSize(t.Context()).Result(); err != nil || n != 0 {
		t.Errorf("%d keys after a refusal (%v)", n, err)
	}
	if err := rdb.Set(t.Context(), "other", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	p.rebuilds(1, "is not empty and holds no balances of creditstream (1 key)")
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
