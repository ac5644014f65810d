package balance_test

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

const hour, day = int64(3_600_000), int64(86_400_000)

func bigOf(m *rating.Micros) *big.Int {
	if m == nil {
		return nil
	}
	return big.NewInt(int64(*m))
}

// command applies one command as of a time.
func (p *pot) command(c *balance.Command, at int64) {
	if p.currency == "" && (c.Type != balance.PutAccount || c.Put.Currency == "") {
		return // the account begins with its first settings
	}
	digest, err := c.Digest()
	if err != nil {
		panic(err)
	}
	if _, known := p.known[c.ID]; known && c.ID != "" {
		return
	}
	refused := p.effect(c, at)
	if c.ID != "" {
		p.known[c.ID] = digest + " " + cmp.Or(refused, "ok")
	}
	p.look()
}

func (p *pot) effect(c *balance.Command, at int64) (refused string) {
	switch c.Type {
	case balance.PutAccount:
		return p.put(c.Put)
	case balance.CloseAccount:
		if p.closed {
			return "already_closed"
		}
		p.closed = true
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

func (p *pot) put(s *balance.Settings) string {
	if s.Currency != "" && p.currency != "" && s.Currency != p.currency {
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
	same := auto == p.auto && method == p.method && equal(trigger, p.trigger) && equal(amount, p.amount) && capText(caps.PerDay) == capText(p.caps.PerDay) &&
		capText(caps.PerMonth) == capText(p.caps.PerMonth)
	switch {
	case (p.state == "suspended" || p.state == "cooling") && (method != p.method || auto && !p.auto):
		p.resume()
	case p.state == "capped" && !same:
		p.state = "idle"
	}
	p.auto, p.trigger, p.amount, p.method, p.caps = auto, trigger, amount, method, caps
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
	p.currency = cmp.Or(s.Currency, p.currency)
	p.closed = false
	p.seen++
	return ""
}

// autoAfter is auto-recharge as the settings would have it.
func (p *pot) autoAfter(s *balance.Nullable[balance.AutoRecharge]) (on bool, trigger, amount *big.Int, method string, caps balance.Caps) {
	if s == nil {
		return p.auto, p.trigger, p.amount, p.method, p.caps
	}
	if s.Null {
		return false, nil, nil, "", balance.Caps{}
	}
	on, trigger, amount, method, caps = p.auto, p.trigger, p.amount, p.method, p.caps
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
func (p *pot) add(kind, id string, amount *big.Int, at, expires int64, reference string) {
	l := &potLot{name: fmt.Sprintf("%s:%s:%d", id, amount, at), amount: amount, bought: at, expires: expires}
	p.lots = append(p.lots, l)
	p.seen++
	p.timers["expire "+l.name] = expires + 6*hour
	p.nextWarning(l, at, 31)
	p.entry(kind, amount, at, reference)
}

func (p *pot) nextWarning(l *potLot, now, below int64) {
	for _, days := range []int64{30, 7, 1} {
		if days < below && now < l.expires-days*day {
			p.timers[fmt.Sprintf("warn %d %s", days, l.name)] = l.expires - days*day
			return
		}
	}
}

func lotID(letter, id string) string {
	h := sha1.Sum([]byte(id))
	return letter + hex.EncodeToString(h[:])[:12]
}

func (p *pot) byHand(c *balance.Command, at int64) string {
	amount := bigOf(c.Amount)
	_, key, _ := strings.Cut(c.ID, "/")
	switch {
	case c.Currency != "" && c.Currency != p.currency && c.Type != balance.TopUp:
		return "currency_mismatch"
	case c.Type == balance.Grant && c.Expires.UnixMilli() <= at:
		return "already_expired"
	case amount.Sign() > 0 && p.beyond(amount):
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
		if new(big.Int).Add(p.taken, taken).Cmp(big.NewInt(int64(balance.MaxPurchase))) > 0 {
			return "out_of_bounds"
		}
		p.used = append(p.used, taken)
		p.taken = new(big.Int).Add(p.taken, taken)
		p.entry("adjustment", amount, at, key)
		p.event("funds.adjusted", "amount", amount, "reference", key, "reason", url.QueryEscape(c.Reason), "operator", c.Operator)
	}
	return ""
}

func (p *pot) lot(name string) *potLot {
	i := slices.IndexFunc(p.lots, func(l *potLot) bool { return l.name == name && !l.gone })
	if i < 0 {
		return nil
	}
	return p.lots[i]
}

func (p *pot) warn(c *balance.Command, at int64) string {
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

func (p *pot) expire(c *balance.Command, at int64) string {
	delete(p.timers, "expire "+c.Lot)
	l := p.lot(c.Lot)
	if l == nil {
		return "no_lot"
	}
	l.gone, l.forfeited = true, bigOf(c.Amount)
	delete(p.said, c.Lot)
	p.entry("expiry", new(big.Int).Neg(l.forfeited), at, c.Lot)
	if l.forfeited.Sign() > 0 {
		p.event("credit.expired", "amount", l.forfeited, "purchased_at", l.bought, "expires_at", l.expires)
	}
	return ""
}
