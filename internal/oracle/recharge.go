package oracle

import (
	"cmp"
	"fmt"
	"math/big"
	"time"

	"github.com/creditstream/creditstream/balance"
)

func (p *Account) purchased(amount *big.Int) {
	if p.State == "suspended" {
		p.resume()
	}
	p.last = amount
}

func (p *Account) resume() {
	if p.State == "suspended" {
		p.event("account.resumed")
	}
	p.State, p.soft = "idle", 0
}

// within returns how many requests there were in the window of a time, and what
// was or may yet be paid of them. What was declined first and paid after all is
// money of the time at which it was paid.
func (p *Account) within(at int64, layout string) (count int64, money *big.Int) {
	money = new(big.Int)
	window := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(layout) }
	for _, a := range p.Asks {
		if window(a.at) == window(at) {
			count++
			if !a.declined {
				money.Add(money, a.amount)
			}
		}
		if a.declined && a.answered == "paid" && window(a.paidAt) == window(at) {
			money.Add(money, a.paid)
		}
	}
	return count, money
}

// allowed returns what the caps leave of an amount, in whole recharges; or why
// nothing and until when.
func (p *Account) allowed(amount *big.Int, at int64) (left *big.Int, why []any, until int64) {
	now := time.UnixMilli(at).UTC()
	left = amount
	if p.most != nil {
		whole := new(big.Int).Quo(p.most, p.Amount)
		if whole.Sign() == 0 {
			whole.SetInt64(1)
		}
		left = smaller(left, whole.Mul(whole, p.Amount))
	}
	for _, w := range []struct {
		name, layout string
		cap          *balance.Cap
		end          time.Time
	}{
		{"month", "2006-01", p.caps.PerMonth, time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)},
		{"day", "2006-01-02", p.caps.PerDay, time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)},
	} {
		if w.cap == nil {
			continue
		}
		count, money := p.within(at, w.layout)
		if w.cap.Count != nil && count >= *w.cap.Count {
			return nil, []any{"reason", w.name + "_count", "cap_count", *w.cap.Count}, w.end.UnixMilli()
		}
		if w.cap.Amount == nil {
			continue
		}
		fits := new(big.Int).Sub(bigOf(w.cap.Amount), money)
		fits.Quo(fits, p.Amount).Mul(fits, p.Amount)
		if left = smaller(left, fits); left.Sign() <= 0 {
			return nil, []any{"reason", w.name + "_amount", "cap_amount", int64(*w.cap.Amount)}, w.end.UnixMilli()
		}
	}
	return left, nil, 0
}

func (p *Account) request(c *balance.Command, at int64) string {
	switch {
	case c.N != p.N+1:
		return "not_next"
	case !p.auto || p.Closed || p.State != "idle":
		return "not_idle"
	case c.Seen != p.seen:
		return "stale"
	}
	amount, why, until := p.allowed(bigOf(c.Amount), at)
	if amount == nil {
		p.State = "capped"
		p.timers["retry "+digits(c.N)], p.again = until, until
		p.event("recharge.suppressed", append(append([]any{"amount", int64(*c.Amount)}, why...), "until", until)...)
		return "over_cap"
	}
	if p.beyond(amount) {
		p.State = "suspended"
		p.event("account.suspended", "amount", amount, "reason", "out_of_bounds")
		return "out_of_bounds"
	}
	p.N++
	p.State = "pending"
	p.Asks[p.N] = &Ask{amount: amount, at: at}
	p.timers["unanswered "+digits(p.N)] = at + hour/4
	today, _ := p.within(at, "2006-01-02")
	p.Out = append(p.Out, fmt.Sprintf("payment %s/%d %s %s %s", p.ID, p.N, amount, p.Currency, p.method))
	p.event("recharge.requested", "n", p.N, "amount", amount, "requests_today", today)
	return ""
}

func (p *Account) result(c *balance.Command, at int64) string {
	paid := cmp.Or(c.Currency, "-")
	amount := new(big.Int)
	if c.Amount != nil {
		amount = bigOf(c.Amount)
	}
	a := p.Asks[c.N]
	mismatch := func(why string) {
		fields := []any{"n", c.N, "reason", why, "amount", amount, "paid_currency", paid}
		if a != nil {
			fields = append(fields, "requested", a.last())
		}
		p.event("recharge.mismatched", fields...)
	}
	if a == nil {
		mismatch("no_request")
		return "no_request"
	}
	if c.Status == "declined" {
		return p.declined(c, a, at)
	}
	if c.Currency != p.Currency {
		mismatch("currency")
		return "currency_mismatch"
	}
	if amount.Cmp(a.last()) != 0 {
		mismatch("amount")
	}
	if a.answered == "paid" {
		return "already_credited"
	}
	if p.beyond(amount) {
		mismatch("out_of_bounds")
		return "out_of_bounds"
	}
	a.answered, a.paid, a.paidAt = "paid", amount, at
	p.soft = 0
	expires := expiry(at, p.valid)
	p.add("recharge", "r"+digits(c.N), amount, at, expires, p.ID+"/"+digits(c.N))
	p.purchased(amount)
	if c.N == p.N && p.State != "capped" {
		p.State = "idle"
	}
	delete(p.timers, "unanswered "+digits(c.N))
	delete(p.timers, "retry "+digits(c.N))
	p.event("recharge.succeeded", "n", c.N, "amount", amount, "expires_at", expires)
	return ""
}

func (p *Account) declined(c *balance.Command, a *Ask, at int64) string {
	if a.answered != "" {
		return "already_answered"
	}
	a.answered, a.declined = "declined", true
	if c.N != p.N || p.State != "pending" && p.State != "unresolved" { // it was abandoned
		if p.State == "capped" {
			p.State = "idle"
		}
		return ""
	}
	delete(p.timers, "unanswered "+digits(c.N))
	p.soft++
	if c.Class == balance.Soft && p.soft < 3 {
		p.State = "cooling"
		again := at + map[int64]int64{1: hour, 2: 6 * hour}[p.soft]
		p.timers["retry "+digits(c.N)], p.again = again, again
		p.event("recharge.failed", "n", c.N, "amount", a.amount, "code", c.Code, "class", c.Class, "next", "cooling", "retry_at", again)
		return ""
	}
	p.State, p.soft = "suspended", 0
	why := string(c.Class)
	if c.Class == balance.Soft {
		why = "soft_limit"
	}
	p.event("recharge.failed", "n", c.N, "amount", a.amount, "code", c.Code, "class", c.Class, "next", "suspended")
	p.event("account.suspended", "n", c.N, "amount", a.amount, "code", c.Code, "class", c.Class, "reason", why)
	return ""
}

// turn moves the state machine without money.
func (p *Account) turn(c *balance.Command, at int64) string {
	waits := p.State == "cooling" && c.N == p.N || p.State == "capped" && c.N == p.N+1
	asked := p.Asks[c.N]
	if c.Type == balance.Retry && waits && at < p.again || c.Type == balance.Unanswered && asked != nil && at < asked.at+hour/4 {
		return "too_early"
	}
	delete(p.timers, map[balance.CommandType]string{balance.Unanswered: "unanswered ", balance.Retry: "retry "}[c.Type]+digits(c.N))
	switch {
	case c.Type == balance.Unanswered && p.State == "pending" && c.N == p.N:
		p.State = "unresolved"
		p.event("recharge.unresolved", "n", c.N, "amount", p.Asks[p.N].amount)
	case c.Type == balance.Unanswered:
		return "not_pending"
	case c.Type == balance.Retry && waits:
		p.State = "idle"
	case c.Type == balance.Retry:
		return "not_waiting"
	case c.Type == balance.Abandon && p.State == "unresolved" && c.N == p.N:
		p.State = "idle"
		p.seen++
	case c.Type == balance.Abandon:
		return "not_unresolved"
	case p.State == "suspended" || p.State == "cooling":
		p.resume()
		p.seen++
	default:
		return "not_suspended"
	}
	return ""
}
