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

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

const hour, day = int64(3_600_000), int64(86_400_000)

// mostTaken is what adjustments may take in all, in micros.
const mostTaken = int64(1_000_000_000_000_000)

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
		return
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
	if !p.Exists && p.Refused != "" {
		return // the account begins with the first settings that are accepted
	}
	if !p.Exists {
		p.Exists, p.Created = true, at
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
		return p.turn(c, at)
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
	if p.Closed && !s.Reopen {
		return "account_closed"
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
	p.limit(s.AutoRecharge)
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

// limit sets the most that one request may ask for.
func (p *Account) limit(r *balance.Nullable[balance.AutoRecharge]) {
	if r != nil && r.Null {
		p.most = nil
	} else if r != nil && r.Value.Most != nil {
		p.most = bigOf(r.Value.Most)
	}
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
	key := c.ID
	for _, verb := range []string{"top-up/", "grant/", "adjust/"} { // of the API; other ids are as somebody made them
		if rest, found := strings.CutPrefix(c.ID, verb); found {
			key = rest
		}
	}
	switch {
	case c.Currency != "" && c.Currency != p.Currency && c.Type != balance.TopUp:
		return "currency_mismatch"
	case c.Type == balance.Grant && c.Expires.UnixMilli() <= at:
		return "already_expired"
	case amount.Sign() > 0 && p.beyond(amount), amount.Sign() < 0 && new(big.Int).Sub(p.taken, amount).Cmp(big.NewInt(mostTaken)) > 0:
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
		p.used.Add(p.used, taken)
		p.taken = new(big.Int).Add(p.taken, taken)
		p.entry("adjustment", amount, at, key)
		p.event("funds.adjusted", "amount", amount, "reference", key, "reason", url.QueryEscape(c.Reason), "operator", c.Operator)
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
	l := p.lot(c.Lot)
	if l != nil && at < l.expires-c.Days*day {
		return "too_early"
	}
	delete(p.timers, fmt.Sprintf("warn %d %s", c.Days, c.Lot))
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
	l := p.lot(c.Lot)
	if l != nil && at < l.expires {
		return "too_early"
	}
	delete(p.timers, "expire "+c.Lot)
	if l == nil {
		return "no_lot"
	}
	if bigOf(c.Amount).Cmp(l.amount) > 0 {
		return "more_than_the_lot"
	}
	l.gone, l.forfeited = true, bigOf(c.Amount)
	p.lost.Add(p.lost, l.forfeited)
	delete(p.said, c.Lot)
	if l.forfeited.Sign() > 0 {
		p.entry("expiry", new(big.Int).Neg(l.forfeited), at, c.Lot)
		p.event("credit.expired", "amount", l.forfeited, "purchased_at", l.bought, "expires_at", l.expires)
	}
	return ""
}
