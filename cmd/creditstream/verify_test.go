package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/internal/kafka"
)

// verifies runs `creditstream verify` with an exit code.
func (p *plant) verifies(code int, more ...string) (v verifiedJSON) {
	p.t.Helper()
	out := p.tool(code, append([]string{"verify", "--json", "--redis", strings.Join(p.redis, ","), "--deck", p.deck}, more...)...)
	line, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		p.t.Fatalf("%s: %v", out, err)
	}
	return v
}

// traffic sends calls, some of them twice or broken; some of others: euro is an
// account of another currency, late one that is made after its calls.
func (p *plant) traffic(calls int, others ...string) {
	p.t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	accounts := names(12)
	p.populate(accounts)
	p.retry(http.MethodPut, "/v1/accounts/euro", nil, `{"currency":"EUR"}`)
	var batch [][]byte
	for i := range calls {
		who := accounts[r.IntN(len(accounts))]
		if i%50 < len(others) {
			who = others[i%50]
		}
		batch = append(batch, p.cdr(r, who))
	}
	p.send(r, 0.1, batch...)
	p.awaitRead()
	p.create("late", "")
	p.topUp("late", "first", "1.00")
}

// awaitRead waits until a processor has committed the ends of cdrs.
func (p *plant) awaitRead() {
	p.t.Helper()
	await(p.t, 30*time.Second, "an end of cdrs", func() error {
		_, err := p.backlog()
		return err
	})
}

// The stream runs; then the balances are spoiled, and what is told explains it.
func TestVerify(t *testing.T) {
	server := ownRedis(t) // is spoiled
	p := newPlantOn(t, []string{server.Addr()}, 0)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	defer p.pay(rand.New(rand.NewPCG(1, 1)), "tenant-0")()
	p.traffic(1500, "late", "euro")
	calls, halt := p.flow()
	for range 6 {
		if v := p.verifies(0); v.Verdict != "well" || v.CDRs < 1500 {
			t.Errorf("%+v", v)
		}
	}
	halt()
	p.settled()
	now := time.Now().UTC().Format(time.RFC3339Nano)
	call := func(id, account string, seconds int) []byte {
		return fmt.Appendf(nil, `{"id":%q,"source":"pbx","account":%q,"kind":"user_out","callee":"+33142685300","answered_at":%q,"duration_ms":%d}`,
			id, account, now, seconds*1000)
	}
	p.send(rand.New(rand.NewPCG(2, 2)), 0, call("long", "tenant-1", 1234*60), call("twice", "tenant-1", 60), call("dear", "tenant-2", 777*60))
	p.awaitRead()
	p.send(rand.New(rand.NewPCG(2, 2)), 0, call("twice", "tenant-1", 600)) // a copy of another price
	var chain []kafka.Message
	for _, minutes := range []int{101, 103, 107, 109, 113, 109} {
		id := "chain-" + strconv.Itoa(minutes)
		chain = append(chain, kafka.Message{Topic: p.topic("cdrs"), Partition: 2, Value: call(id, "tenant-8", minutes*60)}, // the last one is a repeat
			kafka.Message{Topic: p.topic("cdrs"), Partition: 2, Value: call(id, "tenant-10", minutes*60)})
	}
	if err := p.writer.WriteAll(t.Context(), chain); err != nil {
		t.Fatal(err)
	}
	p.settled()
	v := p.verifies(0)
	if v.Verdict != "well" || v.Doubtful != 1 || v.Accounts != 14 || v.CDRs < 1500+int64(calls()) {
		t.Errorf("%+v", v)
	}

	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	keys, err := rdb.Keys(t.Context(), "cs:{*}:acct:tenant-*").Result()
	if err != nil {
		t.Fatal(err)
	}
	key := map[string]string{}
	for _, k := range keys {
		key[k[strings.LastIndexByte(k, ':')+1:]] = k
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run.stop(t)

	// A shard that lags behind the others.
	marks := strings.Split(key["tenant-10"], "acct:")[0] + "marks"
	behind := []string{"tenant-10"}
	if strings.HasPrefix(key["tenant-8"], strings.TrimSuffix(marks, "marks")) {
		behind = append(behind, "tenant-8")
	}
	mark, err := rdb.HGet(t.Context(), marks, p.topic("cdrs/2")).Result()
	must(err)
	next, rest, _ := strings.Cut(mark, " ")
	end, err := strconv.Atoi(next)
	must(err)
	for _, a := range behind {
		must(rdb.HIncrBy(t.Context(), key[a], "spent", -53_300_000).Err())
	}
	must(rdb.HSet(t.Context(), marks, p.topic("cdrs/2"), strconv.Itoa(end-len(chain))+" "+rest).Err())
	if v := p.verifies(0); v.Verdict != "well" {
		t.Errorf("%+v", v)
	}
	must(rdb.HSet(t.Context(), marks, p.topic("cdrs/2"), mark).Err())
	for _, a := range behind {
		must(rdb.HIncrBy(t.Context(), key[a], "spent", 53_300_000).Err())
	}

	must(rdb.HIncrBy(t.Context(), key["tenant-1"], "spent", -123_400_000).Err())
	must(rdb.HIncrBy(t.Context(), key["tenant-10"], "spent", 10_900_000).Err())
	must(rdb.HIncrBy(t.Context(), key["tenant-8"], "spent", -31_900_000).Err())
	must(rdb.HIncrBy(t.Context(), key["tenant-2"], "spent", 77_700_000).Err())
	must(rdb.HIncrBy(t.Context(), key["tenant-4"], "funded", 40_000_000).Err())
	must(rdb.Del(t.Context(), key["tenant-5"]).Err())
	must(rdb.HSet(t.Context(), key["tenant-3"], "state", "suspended").Err())
	metrics := filepath.Join(t.TempDir(), "verify.prom")
	v = p.verifies(1, "--metrics", metrics)
	want := []string{
		"tenant-10 spent 10.900000 repeats or parked, and charged 1 pbx/chain-109",
		"tenant-1 spent -123.400000 in the logs and not in Redis 1 pbx/long",
		"tenant-2 spent 77.700000 charged twice 1 pbx/dear",
		"tenant-3 recharge  ",
		"tenant-4 funded 40.000000 charged twice 1 funds.top_up top-up/first",
		"tenant-5 existence  its records",
		"tenant-8 spent -31.900000 in the logs and not in Redis 3 pbx/chain-103",
	}
	var got []string
	for _, d := range v.Differences {
		off, first := "", ""
		if d.Off != nil {
			off = d.Off.String()
		}
		if d.Off != nil && len(d.Records) > 0 {
			first = " " + strconv.Itoa(d.Count) + " " + d.Records[0].ID
		}
		got = append(got, strings.Join([]string{d.Account, string(d.Field), off, d.Found}, " ")+first)
	}
	slices.Sort(want)
	slices.Sort(got)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	text, err := os.ReadFile(metrics)
	must(err)
	wants(t, string(text), `creditstream_verify_verdict{verdict="differs"} 1`, `creditstream_verify_differing_accounts{field="spent"} 4`,
		`creditstream_verify_drift_units{field="spent"} 243.9`)
	wants(t, p.tool(1, "verify", "--redis", strings.Join(p.redis, ","), "--deck", p.deck),
		"tenant-1  shard ", "(123.400000 less in Redis)", "pbx/long  123.400000  rated as charged", "7 differences: see above")
}

// flow sends calls until halt; calls says how many.
func (p *plant) flow() (calls func() int, halt func()) {
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		r := rand.New(rand.NewPCG(9, 9))
		accounts := names(12)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			case <-tick.C:
				p.send(r, 0.1, p.cdr(r, accounts[r.IntN(len(accounts))]))
			}
		}
	}()
	sent := 0
	return func() int { return sent }, func() { close(stop); sent = <-done }
}

// What cannot be told is not called well.
func TestVerifyCannotTell(t *testing.T) {
	p := newPlant(t)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	p.traffic(200, "late", "euro")
	other := filepath.Join(t.TempDir(), "deck")
	if err := os.CopyFS(other, os.DirFS(p.deck)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "out.csv"), []byte("prefix,destination,country,setup_fee,price,first,next\n33,France,FR,0,0.11,60,60\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, p.tool(2, "verify", "--redis", strings.Join(p.redis, ","), "--deck", other), "these are not the decks of the processors")
	wants(t, p.tool(2, "verify", "--redis", strings.Join(p.redis, ","), "--deck", p.deck, "--zone=UTC"), "records are not read as the processors do")
	wants(t, p.tool(2, "verify", "--redis", freeAddr(t), "--deck", p.deck), "read cs:meta")

	// The beginning of a log is gone: rated-cdrs has it.
	p.kafka.DeleteRecords(p.topic("cdrs"), 0, 10)
	v := p.verifies(0)
	if v.Verdict != "well" || v.Rated == 0 {
		t.Errorf("%+v", v)
	}
	p.kafka.DeleteRecords(p.topic("rated-cdrs"), 1, 1)
	v = p.verifies(2)
	if v.Verdict != "unknown" || !strings.Contains(v.Unverified, "cdrs/0 begins at 10, and rated-cdrs/1, which would have it, begins at 1") {
		t.Errorf("%+v", v)
	}
	run.stop(t)
}
