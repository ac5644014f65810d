package balance_test

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/balance"
)

// The theorem: a balance is a function of the sequence of commands and of the set
// of CDRs. One world lives through both in some order and writes the log that its
// wishes and timers make; another gets the same log with the CDRs in another
// order, other partitions, other batches and with repeats. They must agree, and
// both with a sum made by other means.

type logged struct {
	at      time.Time
	command *balance.Command
}

type rung struct { // one call
	account string
	charge  int64
	digest  int64
	at      time.Time
}

var people = []string{"acme", "globex", "initech", "hooli"}

func TestBalanceIsAFunctionOfTheLogs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := newWorld(rapidTB{t, rt})
		var log []logged
		var calls []rung
		var queue []*balance.Command // what entries wish, and timers
		for _, p := range people {
			queue = append(queue, auto(put(p, 30_000_000), 20_000_000, 50_000_000))
		}
		command := func(c *balance.Command) {
			e := a.command(c)
			log = append(log, logged{a.now, c})
			for _, w := range e.Wishes {
				queue = append(queue, request(w))
			}
			for _, p := range e.Requests {
				queue = append(queue, answer(rt, &p))
			}
		}
		for range people {
			command(queue[0])
			queue = queue[1:]
		}
		for i := range 40 {
			a.now = a.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(rt, "minutes")) * time.Minute)
			switch k := rapid.IntRange(0, 9).Draw(rt, "what"); {
			case k < 4:
				who := rapid.SampledFrom(people).Draw(rt, "who")
				r := rung{who, rapid.Int64Range(0, 30_000_000).Draw(rt, "charge"), int64(i + 1), a.now}
				calls = append(calls, r)
				for _, w := range ring(a, rapid.IntRange(0, 1).Draw(rt, "partition"), r).Wishes {
					queue = append(queue, request(w))
				}
			case k < 8 && len(queue) > 0:
				n := rapid.IntRange(0, len(queue)-1).Draw(rt, "which")
				c := queue[n]
				queue = slices.Delete(queue, n, n+1)
				command(c)
			case k == 8 && rapid.Bool().Draw(rt, "adjust"):
				amount := rapid.Int64Range(1, 20_000_000).Draw(rt, "adjustment")
				if rapid.Bool().Draw(rt, "take") {
					amount = -amount
				}
				command(adjust(rapid.SampledFrom(people).Draw(rt, "who"), "adjust"+i64(int64(rapid.IntRange(0, 5).Draw(rt, "key"))), amount))
			case k == 8:
				command(topUp(rapid.SampledFrom(people).Draw(rt, "who"), "k"+i64(int64(rapid.IntRange(0, 5).Draw(rt, "key"))), 5_000_000))
			default:
				if rapid.IntRange(0, 3).Draw(rt, "year") == 0 {
					a.now = a.now.AddDate(1, 0, 1)
				}
				queue = append(queue, a.due()...)
			}
		}
		first := ends(a)
		b := newWorld(rapidTB{t, rt}) // it may take a's place in the same Redis
		replayOther(rt, b, log, calls)
		compare(rt, first, ends(b), log, calls)
	})
}

// rapidTB fails the rapid run and cleans up with the test.
type rapidTB struct {
	*testing.T
	rt *rapid.T
}

func (r rapidTB) Fatal(args ...any)            { r.rt.Fatal(args...) }
func (r rapidTB) Fatalf(f string, args ...any) { r.rt.Fatalf(f, args...) }
func (r rapidTB) Helper()                      {}

func answer(rt *rapid.T, p *balance.PaymentRequest) *balance.Command {
	c := &balance.Command{Type: balance.Result, Account: p.Account, N: p.N}
	if rapid.IntRange(0, 3).Draw(rt, "declined") == 0 {
		c.Status, c.Code = "declined", rapid.SampledFrom([]string{"expired_card", "try_later"}).Draw(rt, "code")
		c.Class = balance.ClassOf(c.Code)
		return c
	}
	c.Status, c.Amount, c.Currency = "succeeded", &p.Amount, p.Currency
	return c
}

// ring applies one call in a batch of its own.
func ring(w *world, partition int, r rung) *balance.Entry {
	l, b := w.cdrBatch(partition, r.account, r.charge)
	b.Debits[0].Digest, b.Debits[0].AppendMillis, b.Debits[0].Slice = r.digest, r.at.UnixMilli(), w.store.Slice(r.at)
	return w.took(l, w.store.ApplyCDRs(w.tb.Context(), []*balance.CDRBatch{b})[0])
}

func replayOther(rt *rapid.T, b *world, log []logged, calls []rung) {
	created := len(people) // the first commands create the accounts
	for _, l := range log[:created] {
		b.now = l.at.Add(-time.Millisecond)
		b.command(l.command)
	}
	log = log[created:]
	todo := slices.Clone(calls)
	for range len(calls) / 4 { // sent twice
		todo = append(todo, rapid.SampledFrom(append(calls, rung{})).Draw(rt, "again"))
	}
	todo = slices.DeleteFunc(todo, func(r rung) bool { return r.account == "" })
	todo = rapid.Permutation(todo).Draw(rt, "order")
	for len(log) > 0 || len(todo) > 0 {
		if len(todo) == 0 || len(log) > 0 && rapid.Bool().Draw(rt, "command") {
			b.now = log[0].at.Add(-time.Millisecond)
			b.command(log[0].command)
			log = log[1:]
			continue
		}
		ring(b, rapid.IntRange(0, 1).Draw(rt, "partition"), todo[0])
		todo = todo[1:]
	}
}

// ends returns how the accounts are at the end.
func ends(w *world) map[string]*balance.Account {
	all := map[string]*balance.Account{}
	for _, who := range people {
		all[who] = w.account(who)
	}
	return all
}

func compare(rt *rapid.T, a, b map[string]*balance.Account, log []logged, calls []rung) {
	for _, who := range people {
		x, y := a[who], b[who]
		if x.Funded != y.Funded || x.Spent != y.Spent || x.Forfeited != y.Forfeited ||
			x.AutoRecharge.State != y.AutoRecharge.State || x.AutoRecharge.N != y.AutoRecharge.N || !slices.Equal(x.Lots, y.Lots) {
			rt.Fatalf("%s:\n%+v %+v\n%+v %+v", who, x, x.AutoRecharge, y, y.AutoRecharge)
		}
		spent := new(big.Int)
		for _, r := range calls {
			if r.account == who {
				spent.Add(spent, big.NewInt(r.charge))
			}
		}
		funded := new(big.Int)
		seen := map[string]bool{}
		for _, l := range log {
			c := l.command
			money := c.Type == balance.TopUp || c.Type == balance.Adjust || c.Type == balance.Result && c.Status == "succeeded"
			key := c.ID + "/" + i64(c.N)
			if c.Account != who || !money || seen[key] {
				continue
			}
			seen[key] = true
			if amount := big.NewInt(int64(*c.Amount)); amount.Sign() > 0 {
				funded.Add(funded, amount)
			} else {
				spent.Sub(spent, amount)
			}
		}
		if spent.Cmp(big.NewInt(int64(x.Spent))) != 0 || funded.Cmp(big.NewInt(int64(x.Funded))) != 0 {
			rt.Fatalf("%s: spent %d, want %s; funded %d, want %s", who, x.Spent, spent, x.Funded, funded)
		}
		held := big.NewInt(0)
		for _, l := range x.Lots {
			held.Add(held, big.NewInt(int64(l.Remaining)))
		}
		if bal := big.NewInt(int64(x.Balance())); bal.Sign() >= 0 && held.Cmp(bal) != 0 || bal.Sign() < 0 && held.Sign() != 0 {
			rt.Fatalf("%s: lots hold %s, balance %s", who, held, bal)
		}
	}
}
