package balance_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
)

// The theorem: a balance is a function of the sequence of commands and of the set
// of CDRs. One world lives through both in some order and writes the log that its
// wishes and timers make; another gets the same log with the CDRs in another order,
// other partitions, other batches and with repeats, and the commands with repeats.
// They must agree, and both with the model, which gets every CDR when the log of
// commands is at its end.

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

// life is the first world, with the log that it writes.
type life struct {
	*world

	rt    *rapid.T
	log   []logged
	begun int // length of the log when all accounts existed
	calls []rung
	queue []*balance.Command // what entries wish, and timers
}

func TestBalanceIsAFunctionOfTheLogs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := &life{world: newWorld(rapidTB{t, rt}), rt: rt}
		a.begin()
		for range 60 {
			a.live()
		}
		a.compare(a.world, "lived")
		b := newWorld(rapidTB{t, rt}) // it may take a's place in the same Redis
		replayOther(a, b)
		a.compare(b, "replayed")
	})
}

// begin makes the accounts: some with settings that are refused first, and with calls
// that come before those that are accepted.
func (a *life) begin() {
	for _, p := range people {
		if rapid.Bool().Draw(a.rt, "refused") {
			a.do(incomplete(p, "put/refused"))
		}
	}
	var early []rung
	for _, p := range people {
		if rapid.Bool().Draw(a.rt, "early call") {
			early = append(early, rung{p, 5_000_000, int64(len(early) + 1), a.now})
		}
	}
	a.now = a.now.Add(time.Second)
	for _, r := range early {
		a.command(&balance.Command{Type: balance.Tick, Account: r.account})
		ring(a.world, 0, r)
	}
	a.calls = early
	for _, p := range people {
		a.do(keyed(auto(put(p, 30_000_000), 20_000_000, 50_000_000), "put/first"))
	}
	a.begun = len(a.log)
}

// rapidTB fails the rapid run and cleans up with the test.
type rapidTB struct {
	*testing.T
	rt *rapid.T
}

func (r rapidTB) Fatal(args ...any)            { r.rt.Fatal(args...) }
func (r rapidTB) Fatalf(f string, args ...any) { r.rt.Fatalf(f, args...) }
func (r rapidTB) Helper()                      {}

func keyed(c *balance.Command, id string) *balance.Command {
	c.ID = id
	return c
}

func (a *life) do(c *balance.Command) {
	e := a.command(c)
	a.log = append(a.log, logged{a.now, c})
	for _, w := range e.Wishes {
		a.queue = append(a.queue, request(w))
	}
	for _, p := range e.Requests {
		a.queue = append(a.queue, a.answer(&p))
	}
}

func (a *life) live() {
	a.now = a.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(a.rt, "minutes")) * time.Minute)
	who := rapid.SampledFrom(people).Draw(a.rt, "who")
	switch k := rapid.IntRange(0, 9).Draw(a.rt, "what"); {
	case k < 3:
		r := rung{who, rapid.Int64Range(0, 30_000_000).Draw(a.rt, "charge"), int64(len(a.calls) + 1), a.now}
		a.calls = append(a.calls, r)
		for _, w := range ring(a.world, rapid.IntRange(0, 1).Draw(a.rt, "partition"), r).Wishes {
			a.queue = append(a.queue, request(w))
		}
	case k < 7 && len(a.queue) > 0:
		n := rapid.IntRange(0, len(a.queue)-1).Draw(a.rt, "which")
		c := a.queue[n]
		a.queue = slices.Delete(a.queue, n, n+1)
		a.do(c)
	case k < 9:
		a.byHand(who)
	default:
		if rapid.IntRange(0, 3).Draw(a.rt, "year") == 0 {
			a.now = a.now.AddDate(1, 0, 1)
		}
		for sh := range shards {
			a.queue = append(a.queue, a.dueOn(sh)...)
		}
	}
}

// byHand has a person do something, under a key that may have been used before.
func (a *life) byHand(who string) {
	key := i64(rapid.Int64Range(0, 20).Draw(a.rt, "key"))
	amount := rapid.Int64Range(1, 2000).Draw(a.rt, "amount") * 10_000
	switch rapid.IntRange(0, 7).Draw(a.rt, "by hand") {
	case 0:
		a.do(topUp(who, "top-up/"+key, amount))
	case 1:
		a.do(adjust(who, "adjust/"+key, amount))
	case 2:
		a.do(adjust(who, "adjust/"+key, -amount))
	case 3:
		days := time.Duration(rapid.IntRange(-1, 500).Draw(a.rt, "days")) * 24 * time.Hour
		a.do(&balance.Command{
			Type: balance.Grant, Account: who, ID: "grant/" + key, Amount: micros(amount), Reason: "welcome", Operator: "ann",
			Expires: a.now.Add(days).Truncate(time.Minute),
		})
	case 4:
		a.do(&balance.Command{Type: balance.CloseAccount, Account: who, ID: "close/" + key})
	case 5:
		a.do(&balance.Command{Type: balance.Resume, Account: who, ID: "resume/" + key})
	case 6:
		a.do(&balance.Command{Type: balance.Abandon, Account: who, ID: "abandon/" + key, N: rapid.Int64Range(1, 4).Draw(a.rt, "n")})
	case 7:
		a.do(keyed(a.settings(who), "put/"+key))
	}
}

func (a *life) settings(who string) *balance.Command {
	c := auto(put(who), 20_000_000, rapid.SampledFrom([]int64{25_000_000, 50_000_000}).Draw(a.rt, "amount"))
	c.Put.LowBalance = &balance.Nullable[[]balance.Level]{Value: []balance.Level{{Percent: rapid.IntRange(1, 100).Draw(a.rt, "percent")}}}
	c.Put.LotMonths = &balance.Nullable[int]{Value: rapid.IntRange(1, 24).Draw(a.rt, "months")}
	count := rapid.Int64Range(1, 3).Draw(a.rt, "count")
	c.Put.AutoRecharge.Value.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{
		PerDay:   &balance.Cap{Count: &count},
		PerMonth: &balance.Cap{Amount: micros(rapid.SampledFrom([]int64{50_000_000, 120_000_000}).Draw(a.rt, "money"))},
	}}
	c.Put.AutoRecharge.Value.PaymentMethod = new(rapid.SampledFrom([]string{"pm_1", "pm_2"}).Draw(a.rt, "method"))
	return c
}

func (a *life) answer(p *balance.PaymentRequest) *balance.Command {
	c := &balance.Command{Type: balance.Result, Account: p.Account, N: p.N}
	if rapid.IntRange(0, 3).Draw(a.rt, "declined") == 0 {
		c.Status, c.Code = "declined", rapid.SampledFrom([]string{"expired_card", "try_later"}).Draw(a.rt, "code")
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

// replayOther applies the same log. What has an id or a number of its own comes
// again at any later place; a wish or the timer that ends a wait, which a crash may
// repeat, right behind the first.
func replayOther(a *life, b *world) {
	rt := a.rt
	var todo []rung
	for _, r := range a.calls {
		todo = append(todo, r)
		if rapid.IntRange(0, 3).Draw(rt, "sent twice") == 0 {
			todo = append(todo, r)
		}
	}
	todo = rapid.Permutation(todo).Draw(rt, "order")
	var done []*balance.Command
	for i, l := range a.log {
		b.now = l.at.Add(-time.Millisecond)
		b.command(l.command)
		again := l.command
		if again.Type != balance.Request && again.Type != balance.Retry {
			done = append(done, again)
			again = rapid.SampledFrom(done).Draw(rt, "again")
		}
		if rapid.IntRange(0, 2).Draw(rt, "repeat") == 0 {
			b.now = b.now.Add(-time.Millisecond)
			b.command(again)
		}
		for i >= a.begun-1 && len(todo) > 0 && rapid.Bool().Draw(rt, "call") {
			ring(b, rapid.IntRange(0, 1).Draw(rt, "partition"), todo[0])
			todo = todo[1:]
		}
	}
	for _, r := range todo {
		ring(b, rapid.IntRange(0, 1).Draw(rt, "partition"), r)
	}
}

// compare compares a world at its end with the model.
func (a *life) compare(w *world, as string) {
	pots := map[string]*oracle.Account{}
	for _, who := range people {
		pots[who] = oracle.New(who)
	}
	for _, l := range a.log {
		pots[l.command.Account].Command(l.command, l.at.UnixMilli())
	}
	for _, r := range a.calls {
		if pots[r.account].Created <= r.at.Add(w.store.Slack()).UnixMilli() {
			pots[r.account].Call(r.charge)
		}
	}
	for _, who := range people {
		got, err := holds(w, who)
		if err != nil {
			a.rt.Fatal(err)
		}
		if want := pots[who].Holds(); !slices.Equal(got, want) {
			a.rt.Fatalf("%s %s:\n%s\nmodel:\n%s", who, as, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for id, outcome := range pots[who].Known {
			if r, _, err := w.store.CommandResult(w.tb.Context(), who, id); err != nil || r.Digest+" "+orOK(r.Refused) != outcome {
				a.rt.Fatalf("%s of %s %s: %+v, want %s (%v)", id, who, as, r, outcome, err)
			}
		}
	}
}
