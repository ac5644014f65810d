package balance_test

import (
	"math/big"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
	"github.com/creditstream/creditstream/rating"
)

// hands returns commands that people and payment services may send at any time.
func (r *randomRun) hands() []*balance.Command {
	n := rapid.IntRange(1, 3).Draw(r.rt, "commands")
	out := make([]*balance.Command, n)
	for i := range out {
		p := r.pots[r.pick("account", r.names...)]
		if p.Currency == "" {
			out[i] = r.settings(p)
			continue
		}
		switch rapid.IntRange(0, 9).Draw(r.rt, "command") {
		case 0, 1, 2:
			out[i] = r.settings(p)
		case 3, 4:
			out[i] = &balance.Command{Type: balance.TopUp, ID: r.key("top-up"), Amount: r.amount()}
		case 5:
			out[i] = &balance.Command{Type: balance.Adjust, ID: r.key(r.pick("verb", "adjust", "correct")), Amount: r.amount(), Currency: r.currency(p), Reason: "wrong rate", Operator: "ann"}
			if rapid.Bool().Draw(r.rt, "take") {
				*out[i].Amount = -*out[i].Amount
			}
		case 6:
			out[i] = &balance.Command{Type: balance.Grant, ID: r.key("grant"), Amount: r.amount(), Reason: "welcome", Operator: "ann"}
			out[i].Expires = r.now.Truncate(time.Hour).Add(time.Duration(rapid.IntRange(-1, 400).Draw(r.rt, "days")) * 24 * time.Hour)
		case 7:
			out[i] = &balance.Command{Type: balance.Abandon, ID: r.key("abandon"), N: max(1, p.N)}
		case 8:
			out[i] = &balance.Command{Type: balance.Resume, ID: r.key("resume")}
		case 9:
			r.steps++
			out[i] = r.result(p)
			out[i].ID = "result/" + i64(r.steps)
		}
		if rapid.IntRange(0, 30).Draw(r.rt, "close") == 0 {
			out[i] = &balance.Command{Type: balance.CloseAccount, ID: r.key("close")}
		}
		out[i].Account = p.ID
	}
	return out
}

func (r *randomRun) key(verb string) string {
	return verb + "/" + i64(int64(rapid.IntRange(0, 99).Draw(r.rt, "key")))
}

func (r *randomRun) amount() *rating.Micros {
	return micros(rapid.SampledFrom([]int64{10_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000, 330_000_000, 999_999_999_999_000}).Draw(r.rt, "amount"))
}

func (r *randomRun) currency(p *oracle.Account) string {
	if rapid.IntRange(0, 9).Draw(r.rt, "other currency") == 0 {
		return "EUR"
	}
	return p.Currency
}

func (r *randomRun) settings(p *oracle.Account) *balance.Command {
	s := &balance.Settings{Reopen: rapid.Bool().Draw(r.rt, "reopen")}
	if p.Currency == "" || rapid.IntRange(0, 9).Draw(r.rt, "currency") == 0 {
		s.Currency = rapid.SampledFrom([]string{"USD", "USD", "USD", "EUR"}).Draw(r.rt, "currency")
	}
	maybe := func(label string) bool { return rapid.IntRange(0, 2).Draw(r.rt, label) == 0 }
	if maybe("levels") {
		s.LowBalance = &balance.Nullable[[]balance.Level]{Value: rapid.SliceOfN(rapid.SampledFrom([]balance.Level{
			{}, {Amount: 5}, {Amount: 10_000_000}, {Amount: 50_000_000}, {Percent: 10}, {Percent: 33}, {Percent: 100},
		}), 0, 4).Draw(r.rt, "levels")}
	}
	if maybe("overdraft") {
		s.OverdraftLimit = &balance.Nullable[rating.Micros]{Value: rating.Micros(rapid.Int64Range(0, 2).Draw(r.rt, "limit"))}
		s.OverdraftLimit.Null = s.OverdraftLimit.Value == 2
		if s.OverdraftLimit.Null {
			s.OverdraftLimit.Value = 0
		}
	}
	if maybe("months") {
		s.LotMonths = &balance.Nullable[int]{Value: rapid.IntRange(1, 13).Draw(r.rt, "months")}
		s.LotMonths.Null = s.LotMonths.Value == 13
	}
	if maybe("recharge") || p.Currency == "" {
		s.AutoRecharge = &balance.Nullable[balance.AutoRecharge]{Null: rapid.IntRange(0, 19).Draw(r.rt, "remove") == 0}
		if !s.AutoRecharge.Null {
			s.AutoRecharge.Value = r.autoRecharge()
		}
	}
	id := ""
	if maybe("key") {
		id = r.key("put")
	}
	return &balance.Command{Type: balance.PutAccount, Account: p.ID, ID: id, Put: s}
}

func (r *randomRun) autoRecharge() balance.AutoRecharge {
	a := balance.AutoRecharge{}
	maybe := func(label string) bool { return rapid.IntRange(0, 3).Draw(r.rt, label) > 0 }
	if !maybe("most") {
		a.Most = micros(rapid.SampledFrom([]int64{1, 60_000_000, 150_000_000}).Draw(r.rt, "most"))
	}
	if maybe("enabled") {
		on := rapid.IntRange(0, 5).Draw(r.rt, "on") > 0
		a.Enabled = &on
	}
	if maybe("trigger") {
		a.Trigger = micros(rapid.SampledFrom([]int64{0, 10_000_000, 20_000_000}).Draw(r.rt, "trigger"))
	}
	if maybe("amount") {
		a.Amount = micros(rapid.SampledFrom([]int64{10_000_000, 15_000_000, 50_000_000}).Draw(r.rt, "recharge"))
	}
	if maybe("method") {
		pm := r.pick("method", "pm_1", "pm_2")
		a.PaymentMethod = &pm
	}
	if rapid.IntRange(0, 2).Draw(r.rt, "caps") == 0 {
		a.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{PerDay: r.cap(), PerMonth: r.cap()}}
		a.Caps.Null = rapid.IntRange(0, 3).Draw(r.rt, "no caps") == 0
		if a.Caps.Null {
			a.Caps.Value = balance.Caps{}
		}
	}
	return a
}

func (r *randomRun) cap() *balance.Cap {
	c := &balance.Cap{}
	if rapid.Bool().Draw(r.rt, "count") {
		n := rapid.Int64Range(1, 3).Draw(r.rt, "count")
		c.Count = &n
	}
	if rapid.Bool().Draw(r.rt, "money") {
		c.Amount = micros(rapid.SampledFrom([]int64{10_000_000, 55_000_000, 120_000_000}).Draw(r.rt, "money"))
	}
	return c
}

// answer is what the payment service may say to a request.
func (r *randomRun) answer(p *balance.PaymentRequest) *balance.Command {
	return r.result(&oracle.Account{ID: p.Account, N: p.N - 1, Currency: p.Currency, Amount: big.NewInt(int64(p.Amount))})
}

// result answers one of the numbers of an account, or the one after.
func (r *randomRun) result(p *oracle.Account) *balance.Command {
	c := &balance.Command{Type: balance.Result, Account: p.ID, N: p.N + 1}
	if p.Asks != nil {
		c.N = rapid.Int64Range(1, p.N+1).Draw(r.rt, "n")
	}
	if rapid.IntRange(0, 2).Draw(r.rt, "declined") == 0 {
		c.Status, c.Code = "declined", r.pick("code", "try_later", "expired_card", "requires_action")
		c.Class = balance.ClassOf(c.Code)
		return c
	}
	c.Status, c.Currency, c.Amount = "succeeded", r.currency(p), micros(50_000_000)
	if p.Amount != nil && rapid.IntRange(0, 9).Draw(r.rt, "as asked") > 0 {
		c.Amount = micros(p.Amount.Int64())
	}
	return c
}

// queued takes some of what wishes, timers and payments have asked for, in any
// order, and leaves a copy of it now and then.
func (r *randomRun) queued() []*balance.Command {
	var out []*balance.Command
	for range rapid.IntRange(1, 3).Draw(r.rt, "queued") {
		if len(r.queue) == 0 {
			break
		}
		n := rapid.IntRange(0, len(r.queue)-1).Draw(r.rt, "which")
		c := *r.queue[n]
		if rapid.Bool().Draw(r.rt, "id") { // its outcome is remembered; it is no repeat of itself
			r.steps++
			c.ID = "step/" + i64(r.steps)
		}
		out = append(out, &c)
		if rapid.IntRange(0, 5).Draw(r.rt, "copy") > 0 {
			r.queue = slices.Delete(r.queue, n, n+1)
		}
	}
	return out
}
