package verify_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/verify"
)

// A shard that lags behind the others, as after a failover, is compared with what it
// has applied: of commands as of CDRs, and of accounts that it does not know yet.
func TestShardsMayLag(t *testing.T) {
	w := newWorld(t)
	acme, other := w.apart()
	w.append(create(acme), create(other), topUp(acme, "1", 5_000_000), topUp(other, "1", 5_000_000))
	w.produce(0, call("1", acme, 60), call("2", other, 61))
	w.applied()
	older := w.copyOf(acme)
	later := acme // another account of its shard
	for i := 0; later == acme; i++ {
		if a := "later-" + strconv.Itoa(i); w.store.ShardOf(a) == w.store.ShardOf(acme) {
			later = a
		}
	}
	w.append(topUp(acme, "2", 7_000_000), topUp(other, "2", 7_000_000), create(later))
	w.produce(0, call("3", acme, 62), call("4", other, 63))
	w.applied()
	w.well(3)
	w.put(acme, older)
	w.well(2)
	w.append(create("never-applied"), topUp(other, "3", 9_000_000))
	w.produce(1, call("5", other, 64))
	w.well(2)
	w.applied()
	w.well(4)
}

// What a shard has and its marks deny is told with the records above the mark.
func TestAppliedAboveTheMark(t *testing.T) {
	w := newWorld(t)
	acme, other := w.apart()
	w.append(create(acme), create(other))
	w.produce(0, call("1", acme, 60), call("2", other, 61))
	w.applied()
	marks := w.key(acme, "marks")
	older, err := w.rdb.HGetAll(t.Context(), marks).Result()
	if err != nil {
		t.Fatal(err)
	}
	w.append(topUp(acme, "late", 7_000_000), topUp(other, "1", 7_000_000))
	w.produce(0, call("3", acme, 62), call("4", acme, 63), call("5", other, 64))
	w.applied()
	for source, mark := range older {
		w.do("HSET", marks, source, mark)
	}
	rep := w.report(w.config())
	w.differ(rep,
		acme+" funded 7000000 "+verify.FoundAbove+": funds.top_up late",
		acme+" lots",
		acme+" spent 125000 "+verify.FoundAbove+": pbx/3 pbx/4")
	for _, d := range rep.Differences {
		if d.Field == verify.Spent && (d.Records[0].Rated != string(balance.Charged) || d.Records[0].Amount != 62_000 || d.Records[0].Offset != 2) {
			t.Errorf("%+v", d.Records[0])
		}
	}
}

// One amount of each kind is spoiled; nothing else is told.
func TestEachFieldIsCompared(t *testing.T) {
	w := newWorld(t)
	w.append(create("sound"))
	for _, account := range []string{"funded", "spent", "forfeited", "currency", "closed", "lots", "recharge", "gone"} {
		w.append(create(account), topUp(account, "1", 5_000_000))
		w.produce(0, call("call-of-"+account, account, 60))
	}
	w.applied()
	w.well(9)
	w.add("funded", "funded", 1)
	w.add("spent", "spent", -1)
	w.add("forfeited", "forfeited", 1)
	w.do("HSET", w.key("currency", "acct:currency"), "cur", "EUR")
	w.do("HSET", w.key("closed", "acct:closed"), "closed", "1")
	w.do("DEL", w.key("lots", "lots:lots"))
	w.do("HSET", w.key("recharge", "acct:recharge"), "state", "suspended", "n", 3)
	w.do("DEL", w.key("gone", "acct:gone"))
	w.do("HSET", w.key("ghost", "acct:ghost"), "cur", "USD", "funded", 1, "spent", 0, "forfeited", 0)
	w.do("ZADD", w.key("ghost", "accounts"), 0, "ghost")
	rep := w.report(w.config())
	w.differ(rep, "funded funded 1", "spent spent -1", "forfeited forfeited 1", "currency currency", "closed closed", "lots lots", "recharge recharge",
		"gone existence its records: account.put create funds.top_up 1 pbx/call-of-gone", "ghost existence its records:")
	if rep.Accounts != 10 {
		t.Errorf("%d accounts", rep.Accounts)
	}
	cfg := w.config()
	cfg.Explain = 1 // the first: closed
	w.differ(w.report(cfg), "funded funded 1", "spent spent -1", "forfeited forfeited 1", "currency currency", "closed closed", "lots lots",
		"recharge recharge", "gone existence", "ghost existence")
}

// Of many records that explain a difference some are listed, and all counted.
func TestRecordsAreListedUpToABound(t *testing.T) {
	w := newWorld(t)
	w.append(create("acme"))
	for i := range 2 * verify.MaxRecords {
		w.produce(i%partitions, call(strconv.Itoa(i), "acme", 60))
	}
	w.applied()
	w.do("DEL", w.key("acme", "acct:acme"))
	d := w.report(w.config()).Differences[0]
	if len(d.Records) != verify.MaxRecords || d.Count != 2*verify.MaxRecords+1 {
		t.Errorf("%d records of %d", len(d.Records), d.Count)
	}
}

// Copies that differ in price leave it open which counts: every sum of one price of
// each call is right, and no other; with very many such calls, any sum between.
func TestCopiesOfAnotherPrice(t *testing.T) {
	w := newWorld(t)
	w.append(create("few"), create("many"), create("three"))
	for i := range 3 { // 1,000,000 or 1,001,000; 1,002,000; 1,004,000
		w.produce(0, call(fmt.Sprint("few-", i), "few", 1000), call(fmt.Sprint("few-", i), "few", 1000+1<<i))
	}
	for i := range 17 { // 2^17 sums
		w.produce(1, call(fmt.Sprint("many-", i), "many", 1), call(fmt.Sprint("many-", i), "many", 1+1<<i))
	}
	w.produce(0, call("three", "three", 10), call("three", "three", 20), call("three", "three", 10), call("three", "three", 40))
	w.applied()
	if rep := w.well(3); rep.Doubtful != 21 {
		t.Errorf("%d doubtful calls", rep.Doubtful)
	}
	spent := func(account string, sum int64, right bool) {
		t.Helper()
		w.do("HSET", w.key(account, "acct:"+account), "spent", sum)
		if got := len(w.report(w.config()).Differences) == 0; got != right {
			t.Errorf("%s spent %d: right is %v", account, sum, got)
		}
	}
	for sum := int64(2_999_000); sum <= 3_008_000; sum += 500 {
		spent("few", sum, sum%1000 == 0 && sum >= 3_000_000 && sum <= 3_007_000)
	}
	spent("few", 3_000_000, true)
	for _, sum := range []int64{0, 10_000, 20_000, 30_000, 40_000, 50_000} {
		spent("three", sum, sum == 10_000 || sum == 20_000 || sum == 40_000)
	}
	spent("three", 10_000, true)
	const least, most = 17 * 1000, (17 + 1<<17 - 1) * 1000
	spent("many", least, true)
	spent("many", least+500, true) // not a sum: too many to look at
	spent("many", most, true)
	spent("many", least-1, false)
	spent("many", most+1, false)
}

// between runs something after a shard was listed for the first time.
type between struct {
	redis.Hook // of go-redis: what is not overridden is not called

	do   func()
	done atomic.Bool
}

func (*between) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*between) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (b *between) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, c := range cmds {
			if c.Name() == "zrangebylex" && len(c.(*redis.StringSliceCmd).Val()) > 0 && b.done.CompareAndSwap(false, true) {
				b.do()
			}
		}
		return err
	}
}

// A shard fails over to an older copy between two pages, or goes on.
func TestPagesAreOfDifferentMoments(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run("back "+strconv.FormatBool(back), func(t *testing.T) {
			w := newWorld(t)
			of := func(n int) (accounts []string) { // of one shard
				for i := 0; len(accounts) < n; i++ {
					if a := fmt.Sprintf("%04d", i); w.store.ShardOf(a) == 0 {
						accounts = append(accounts, a)
					}
				}
				return accounts
			}
			a := of(6)
			for _, account := range a[1:4] {
				w.append(create(account), topUp(account, "1", 1_000_000))
				w.produce(0, call(account, account, 10))
			}
			w.applied()
			older := w.copyOf(a[1])
			for _, account := range a {
				w.append(create(account), topUp(account, "2", 2_000_000))
				w.produce(1, call("2-"+account, account, 20))
			}
			w.applied()
			put := older
			if !back {
				put = w.copyOf(a[1])
				w.put(a[1], older)
			}
			hook := &between{do: func() { w.put(a[1], put) }}
			w.rdb.AddHook(hook)
			cfg := w.config()
			cfg.PageSize = 1
			rep := w.report(cfg)
			if rep.Verdict() != verify.Well || !hook.done.Load() {
				t.Errorf("%s (%v):\n%s", rep.Verdict(), hook.done.Load(), strings.Join(told(rep), "\n"))
			}
		})
	}
}

// Where the logs are not those that Redis speaks of, nothing is said of any balance.
func TestLogsThatRedisDoesNotSpeakOf(t *testing.T) {
	w := newWorld(t)
	w.append(create("acme"), topUp("acme", "1", 1_000_000))
	w.produce(0, call("1", "acme", 10), call("2", "acme", 10))
	w.applied()
	unreadable := func(want string) {
		t.Helper()
		rep, err := verify.Run(t.Context(), w.config())
		if !errors.Is(err, verify.ErrUnreadable) || !strings.Contains(w.kafka.Bare(err.Error()), want) {
			t.Errorf("%v, %+v; want %q", err, rep, want)
		}
	}
	marks := w.key("acme", "marks")
	mark, err := w.rdb.HGet(t.Context(), marks, w.cdrs+"/0").Result()
	if err != nil {
		t.Fatal(err)
	}
	w.do("HSET", marks, w.cdrs+"/0", strings.Replace(mark, "2 ", "3 ", 1))
	unreadable("the mark of cdrs/0 is at 3, and the log ends at 2: the topic was recreated or truncated")
	w.do("HSET", marks, w.cdrs+"/0", mark, w.cdrs+"/2", mark)
	unreadable("has a mark of cdrs/2, and the topic has 2 partitions")
	w.do("HDEL", marks, w.cdrs+"/2")
	w.well(1)

	cfg, deleted := w.config(), false
	cfg.Progress = func(done, total int64) {
		if done == total { // all is read
			w.kafka.DeleteRecords(w.cdrs, 0, 1)
			deleted = true
		}
	}
	if _, err := verify.Run(t.Context(), cfg); !errors.Is(err, verify.ErrUnreadable) || !deleted ||
		!strings.Contains(w.kafka.Bare(err.Error()), "retention has deleted records 0 to 1 of cdrs/0 while they were read: run it again") {
		t.Errorf("%v (%v)", err, deleted)
	}
	if rep := w.well(1); rep.Rated != 1 || rep.CDRs != 1 {
		t.Errorf("%d rated, %d CDRs", rep.Rated, rep.CDRs)
	}
	w.kafka.DeleteRecords(w.topics.Commands, int32(w.partitionOf("acme")), 1)
	unreadable("begins at 1, and commands must be kept for ever")
}

// A command of a newer version is not passed over: what it does is not known.
func TestCommandOfANewerVersion(t *testing.T) {
	w := newWorld(t)
	w.append(create("acme"))
	w.applied()
	p := w.partitionOf("acme")
	w.write(w.topics.Commands, p, "no command", `{"type":"funds.double","account":"acme"}`)
	w.well(1) // above the mark
	marks := w.key("acme", "marks")
	mark, err := w.rdb.HGet(t.Context(), marks, fmt.Sprint(w.topics.Commands, "/", p)).Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(mark, " ")
	ends, err := w.client.Ends(t.Context(), w.topics.Commands)
	if err != nil {
		t.Fatal(err)
	}
	w.do("HSET", marks, fmt.Sprint(w.topics.Commands, "/", p), fmt.Sprint(ends[p], " ", rest))
	if _, err := verify.Run(t.Context(), w.config()); !errors.Is(err, verify.ErrUnreadable) || !errors.Is(err, balance.ErrNewerCommand) {
		t.Error(err)
	}
}
