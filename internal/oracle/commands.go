package oracle

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // Redis names lots by it; a name, not a secret
	"encoding/hex"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

const hour, day = int64(3_600_000), int64(86_400_000)

// What totals stay within, in micros: all that was ever funded, and what adjustments
// may take.
const (
	most      = int64(9_000_000_000_000_000)
	mostTaken = int64(1_000_000_000_000_000)
)

// beyond reports whether a sum would pass its bound.
func beyond(sum, more *big.Int, bound int64) bool {
	return new(big.Int).Add(sum, more).Cmp(big.NewInt(bound)) > 0
}

func digits(n int64) string { return strconv.FormatInt(n, 10) }

func bigOf(m *rating.Micros) *big.Int {
	if m == nil {
		return nil
	}
	return big.NewInt(int64(*m))
}

// Command applies one command as of a time.
func (p *Account) Command(c *balance.Command, at int64) {
	p.Refused = ""
	if !p.Exists && (c.Type != balance.PutAccount || c.Put.Currency == "") {
		return // the account begins with its first settings
	}
	if !p.Exists {
		p.Exists, p.Created = true, at
	}
	digest, err := c.Digest()
	if err != nil {
		panic(err)
	}
	if _, known := p.Known[c.ID]; known && c.ID != "" {
		return
	}
	p.Refused = p.effect(c, at)
	if c.ID != "" {
		p.Known[c.ID] = digest + " " + cmp.Or(p.Refused, "ok")
	}
	p.look()
}

func (p *Account) effect(c *balance.Command, at int64) (refused string) {
	switch c.Type {
	case balance.PutAccount:
		return p.put(c.Put)
	case balance.CloseAccount:
		if p.Closed {
			return "already_closed"
		}
		p.Closed = true
		p.seen++
		p.event("account.closed")
	case balance.TopUp, balance.Grant, balance.Adjust:
		return p.byHand(c, at)
	case balance.Request:
		return p.request(c, at)
	case balance.Result:
		return p.result(c, at)
	case balance.Unanswered, balance.Retry, balance.Abandon, balance.Resume:
		return p.turn(c)
	case balance.WarnLot:
		return p.warn(c, at)
	case balance.ExpireLot:
		return p.expire(c, at)
	case balance.Tick:
	}
	return ""
}

func (p *Account) put(s *balance.Settings) string {
	if s.Currency != "" && p.Currency != "" && s.Currency != p.Currency {
		return "currency_is_fixed"
	}
	auto, trigger, amount, method, caps := p.autoAfter(s.AutoRecharge)
	if auto && (trigger == nil || amount == nil || method == "") {
		return "auto_recharge_incomplete"
	}
	for _, c := range []*balance.Cap{caps.PerDay, caps.PerMonth} {
		if c != nil && c.Amount != nil && amount != nil && bigOf(c.Amount).Cmp(amount) < 0 {
			return "cap_below_amount"
		}
	}
	p.recharge(auto, trigger, amount, method, caps)
	if s.LotMonths != nil {
		p.valid = 12
		if !s.LotMonths.Null {
			p.valid = s.LotMonths.Value
		}
	}
	if s.LowBalance != nil && !slices.Equal(levelSet(s.LowBalance.Value), levelSet(p.lows)) {
		p.lows, p.told = s.LowBalance.Value, nil
	}
	if s.OverdraftLimit != nil {
		p.overdraft = nil
		if !s.OverdraftLimit.Null {
			p.overdraft = bigOf(&s.OverdraftLimit.Value)
		}
	}
	p.Currency = cmp.Or(s.Currency, p.Currency)
	p.Closed = false
	p.seen++
	return ""
}

// recharge sets auto-recharge, and ends what waits for other settings.
func (p *Account) recharge(auto bool, trigger, amount *big.Int, method string, caps balance.Caps) {
	same := auto == p.auto && method == p.method && equal(trigger, p.trigger) && equal(amount, p.Amount) &&
		equalCap(caps.PerDay, p.caps.PerDay) && equalCap(caps.PerMonth, p.caps.PerMonth)
	switch {
	case (p.State == "suspended" || p.State == "cooling") && (method != p.method || auto && !p.auto):
		p.resume()
	case p.State == "capped" && !same:
		p.State = "idle"
	}
	p.auto, p.trigger, p.Amount, p.method, p.caps = auto, trigger, amount, method, caps
}

// autoAfter is auto-recharge as the settings would have it.
func (p *Account) autoAfter(s *balance.Nullable[balance.AutoRecharge]) (on bool, trigger, amount *big.Int, method string, caps balance.Caps) {
	if s == nil {
		return p.auto, p.trigger, p.Amount, p.method, p.caps
	}
	if s.Null {
		return false, nil, nil, "", balance.Caps{}
	}
	on, trigger, amount, method, caps = p.auto, p.trigger, p.Amount, p.method, p.caps
	if s.Value.Enabled != nil {
		on = *s.Value.Enabled
	}
	if s.Value.Trigger != nil {
		trigger = bigOf(s.Value.Trigger)
	}
	if s.Value.Amount != nil {
		amount = bigOf(s.Value.Amount)
	}
	if s.Value.PaymentMethod != nil {
		method = *s.Value.PaymentMethod
	}
	if s.Value.Caps != nil {
		caps = s.Value.Caps.Value
	}
	return on, trigger, amount, method, caps
}

// equalCap compares caps; one without bounds is none.
func equalCap(a, b *balance.Cap) bool {
	var none balance.Cap
	x, y := cmp.Or(a, &none), cmp.Or(b, &none)
	return equal(bigOf(x.Amount), bigOf(y.Amount)) && (x.Count == nil) == (y.Count == nil) && (x.Count == nil || *x.Count == *y.Count)
}

func levelSet(levels []balance.Level) []string {
	var out []string
	for _, l := range levels {
		out = append(out, l.String())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func equal(a, b *big.Int) bool { return (a == nil) == (b == nil) && (a == nil || a.Cmp(b) == 0) }

// add makes a lot, with the timers of its end.
func (p *Account) add(kind, id string, amount *big.Int, at, expires int64, reference string) {
	l := &Lot{name: fmt.Sprintf("%s:%s:%d", id, amount, at), amount: amount, bought: at, expires: expires}
	p.Lots = append(p.Lots, l)
	p.in.Add(p.in, amount)
	p.seen++
	p.timers["expire "+l.name] = expires + 6*hour
	p.nextWarning(l, at, 31)
	p.entry(kind, amount, at, reference)
}

func (p *Account) nextWarning(l *Lot, now, below int64) {
	for _, days := range []int64{30, 7, 1} {
		if days < below && now < l.expires-days*day {
			p.timers[fmt.Sprintf("warn %d %s", days, l.name)] = l.expires - days*day
			return
		}
	}
}

func lotID(letter, id string) string {
	h := sha1.Sum([]byte(id)) //nolint:gosec // a name, not a secret
	return letter + hex.EncodeToString(h[:])[:12]
}

func (p *Account) byHand(c *balance.Command, at int64) string {
	amount := bigOf(c.Amount)
	_, key, _ := strings.Cut(c.ID, "/")
	switch {
	case c.Currency != "" && c.Currency != p.Currency && c.Type != balance.TopUp:
		return "currency_mismatch"
	case c.Type == balance.Grant && c.Expires.UnixMilli() <= at:
		return "already_expired"
	case amount.Sign() > 0 && beyond(p.in, amount, most), amount.Sign() < 0 && beyond(p.taken, new(big.Int).Neg(amount), mostTaken):
		return "out_of_bounds"
	case c.Type == balance.TopUp:
		expires := expiry(at, p.valid)
		p.add("top_up", lotID("t", c.ID), amount, at, expires, key)
		p.purchased(amount)
		p.event("funds.added", "amount", amount, "expires_at", expires, "kind", "top_up", "reference", key)
	case c.Type == balance.Grant:
		expires := c.Expires.UnixMilli()
		p.add("promotion", lotID("p", c.ID), amount, at, expires, key)
		p.event("funds.added", "amount", amount, "expires_at", expires, "kind", "promotion", "reference", key,
			"reason", c.Reason, "operator", c.Operator)
	case amount.Sign() > 0:
		expires := expiry(at, p.valid)
		p.add("adjustment", lotID("a", c.ID), amount, at, expires, key)
		p.event("funds.adjusted", "amount", amount, "expires_at", expires, "reference", key, "reason", url.QueryEscape(c.Reason), "operator", c.Operator)
	default:
		taken := new(big.Int).Neg(amount)
		p.used.Add(p.used, taken)
		p.taken = new(big.Int).Add(p.taken, taken)
		p.entry("adjustment", amount, at, key)
		p.event("funds.adjusted", "amount", amount, "reference", key, "reason", url.QueryEscape(c.Reason), "operator", c.Operator)
	}
	return ""
}

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
		fits := new(big.Int)
		for next := new(big.Int).Set(p.Amount); next.Cmp(left) <= 0; next = new(big.Int).Add(next, p.Amount) {
			if new(big.Int).Add(money, next).Cmp(bigOf(w.cap.Amount)) <= 0 {
				fits = next
			}
		}
		if left = fits; left.Sign() == 0 {
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
		p.timers["retry "+digits(c.N)] = until
		p.event("recharge.suppressed", append(append([]any{"amount", int64(*c.Amount)}, why...), "until", until)...)
		return "over_cap"
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
	if beyond(p.in, amount, most) {
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
	if c.N != p.N || a.answered != "" || p.State != "pending" && p.State != "unresolved" {
		return "already_answered"
	}
	a.answered, a.declined = "declined", true
	delete(p.timers, "unanswered "+digits(c.N))
	p.soft++
	if c.Class == balance.Soft && p.soft < 3 {
		p.State = "cooling"
		again := at + map[int64]int64{1: hour, 2: 6 * hour}[p.soft]
		p.timers["retry "+digits(c.N)] = again
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
func (p *Account) turn(c *balance.Command) string {
	delete(p.timers, map[balance.CommandType]string{balance.Unanswered: "unanswered ", balance.Retry: "retry "}[c.Type]+digits(c.N))
	switch {
	case c.Type == balance.Unanswered && p.State == "pending" && c.N == p.N:
		p.State = "unresolved"
		p.event("recharge.unresolved", "n", c.N, "amount", p.Asks[p.N].amount)
	case c.Type == balance.Unanswered:
		return "not_pending"
	case c.Type == balance.Retry && (p.State == "cooling" && c.N == p.N || p.State == "capped" && c.N == p.N+1):
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

func (p *Account) lot(name string) *Lot {
	i := slices.IndexFunc(p.Lots, func(l *Lot) bool { return l.name == name && !l.gone })
	if i < 0 {
		return nil
	}
	return p.Lots[i]
}

func (p *Account) warn(c *balance.Command, at int64) string {
	delete(p.timers, fmt.Sprintf("warn %d %s", c.Days, c.Lot))
	l := p.lot(c.Lot)
	if l == nil {
		return "no_lot"
	}
	if said, ok := p.said[c.Lot]; ok && said <= c.Days {
		return "already_said"
	}
	days := c.Days // or fewer, when it is late
	for _, d := range []int64{7, 1} {
		if d < days && at >= l.expires-d*day {
			days = d
		}
	}
	p.said[c.Lot] = days
	p.nextWarning(l, at, days)
	if *c.Amount > 0 && at < l.expires {
		p.event("credit.expiring", "amount", int64(*c.Amount), "expires_at", l.expires, "days", days)
	}
	return ""
}

func (p *Account) expire(c *balance.Command, at int64) string {
	delete(p.timers, "expire "+c.Lot)
	l := p.lot(c.Lot)
	if l == nil {
		return "no_lot"
	}
	if bigOf(c.Amount).Cmp(l.amount) > 0 {
		return "more_than_the_lot"
	}
	l.gone, l.forfeited = true, bigOf(c.Amount)
	p.lost.Add(p.lost, l.forfeited)
	delete(p.said, c.Lot)
	p.entry("expiry", new(big.Int).Neg(l.forfeited), at, c.Lot)
	if l.forfeited.Sign() > 0 {
		p.event("credit.expired", "amount", l.forfeited, "purchased_at", l.bought, "expires_at", l.expires)
	}
	return ""
}
