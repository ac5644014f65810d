package balance_test

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// pot is an account as the design tells it, slowly and with big integers: the model
// that random operations are compared with. It shares no code with the scripts:
// calls and lots are kept one by one and spent anew when somebody looks, windows of
// caps are counted from all requests there ever were, dates are those of package
// time.
type pot struct {
	id, currency string
	closed       bool
	lots         []*potLot
	used         []*big.Int // calls and adjustments below zero
	taken        *big.Int   // by adjustments below zero
	entries      []string   // ledger, oldest first

	lows  []balance.Level
	last  *big.Int // purchase
	told  *big.Int // the level that was told of and is not recovered from; nil: none
	below bool     // zero
	valid int      // months

	overdraft *big.Int // nil: not set

	auto            bool
	trigger, amount *big.Int
	method          string
	caps            balance.Caps
	state           string
	n, soft, seen   int64
	asks            map[int64]*ask

	timers  map[string]int64 // when they are due
	known   map[string]string
	said    map[string]int64 // the last warning of a lot
	out     []string
	refused string
	looked  bool
}

type potLot struct {
	name            string // as in a command: id:amount:bought
	amount          *big.Int
	bought, expires int64
	gone            bool
	forfeited       *big.Int
}

// ask is one payment request.
type ask struct {
	amount   *big.Int
	at       int64
	answered string // "", declined, paid
	paid     *big.Int
	paidAt   int64
	declined bool // and perhaps paid after all
}

// last is what was paid, before that what was asked for.
func (a *ask) last() *big.Int {
	if a.paid != nil {
		return a.paid
	}
	return a.amount
}

func newPot(id string) *pot {
	return &pot{
		id: id, taken: new(big.Int), last: new(big.Int), valid: 12, state: "idle", asks: map[int64]*ask{},
		timers: map[string]int64{}, known: map[string]string{}, said: map[string]int64{},
	}
}

func sum(all []*big.Int) *big.Int {
	s := new(big.Int)
	for _, x := range all {
		s.Add(s, x)
	}
	return s
}

func (p *pot) funded() *big.Int {
	s := new(big.Int)
	for _, l := range p.lots {
		s.Add(s, l.amount)
	}
	return s
}

func (p *pot) forfeited() *big.Int {
	s := new(big.Int)
	for _, l := range p.lots {
		if l.gone {
			s.Add(s, l.forfeited)
		}
	}
	return s
}

func (p *pot) balance() *big.Int {
	s := p.funded()
	return s.Sub(s, sum(p.used)).Sub(s, p.forfeited())
}

// standing returns the lots that are not gone, earliest expiry first.
func (p *pot) standing() []*potLot {
	live := slices.DeleteFunc(slices.Clone(p.lots), func(l *potLot) bool { return l.gone })
	slices.SortFunc(live, func(a, b *potLot) int {
		if a.expires != b.expires {
			return int(a.expires/1000 - b.expires/1000) // times of the tests differ by minutes
		}
		return strings.Compare(a.name, b.name)
	})
	return live
}

// left spends everything that was used, from the lots that are gone what they gave,
// then from the others in order; and returns what is left of a lot.
func (p *pot) left(of *potLot) *big.Int {
	rest := sum(p.used)
	for _, l := range p.lots {
		if l.gone {
			rest.Sub(rest, new(big.Int).Sub(l.amount, l.forfeited))
		}
	}
	for _, l := range p.standing() {
		pays := smaller(l.amount, rest)
		if pays.Sign() < 0 {
			pays = new(big.Int)
		}
		rest = new(big.Int).Sub(rest, pays)
		if l == of {
			return new(big.Int).Sub(l.amount, pays)
		}
	}
	return new(big.Int)
}

func smaller(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

func (p *pot) event(kind string, fields ...any) {
	words := []string{"event", p.id, kind, p.balance().String(), p.currency}
	for i := 0; i < len(fields); i += 2 {
		words = append(words, fmt.Sprintf("%s=%v", fields[i], fields[i+1]))
	}
	p.out = append(p.out, strings.Join(words, " "))
}

func (p *pot) entry(kind string, amount *big.Int, at int64, reference string) {
	p.entries = append(p.entries, fmt.Sprintf("%d %s %s %d %s", len(p.entries)+1, kind, amount, at, reference))
}

// levels are what is in force, highest first.
func (p *pot) levels() []*big.Int {
	var out []*big.Int
	for _, l := range p.lows {
		switch at := new(big.Int); {
		case l.Percent == 0:
			out = append(out, big.NewInt(int64(l.Amount)))
		case p.last.Sign() > 0:
			at.Mul(p.last, big.NewInt(int64(l.Percent)))
			out = append(out, at.Quo(at, big.NewInt(100)))
		}
	}
	slices.SortFunc(out, func(a, b *big.Int) int { return b.Cmp(a) })
	return out
}

// armed is the balance above which a level may fire again.
func armed(level *big.Int) *big.Int {
	margin := new(big.Int).Quo(level, big.NewInt(10))
	if margin.Sign() == 0 {
		margin.SetInt64(1)
	}
	return margin.Add(margin, level)
}

// look tells what the balance has crossed.
func (p *pot) look() {
	p.looked = true
	bal := p.balance()
	var worst, held *big.Int
	for _, l := range p.levels() {
		if bal.Cmp(l) <= 0 {
			worst = l
		}
		if p.told != nil && l.Cmp(p.told) > 0 && bal.Cmp(armed(l)) <= 0 {
			held = l
		}
	}
	switch {
	case worst != nil && (p.told == nil || worst.Cmp(p.told) < 0):
		p.told = worst
		p.event("balance.low", "threshold", worst)
	case p.told != nil && bal.Cmp(armed(p.told)) > 0:
		p.event("balance.recovered", "threshold", p.told)
		p.told = held
	}
	if below := bal.Sign() < 0; below != p.below {
		p.below = below
		var limit []any
		if p.overdraft != nil {
			limit = []any{"overdraft_limit", p.overdraft}
		}
		p.event(map[bool]string{true: "balance.depleted", false: "balance.restored"}[below], limit...)
	}
}

func (p *pot) recharges() bool {
	return p.auto && !p.closed && p.state == "idle" && p.balance().Cmp(p.trigger) <= 0
}

// wish asks for the least number of amounts that lands above the trigger, if
// anything has happened.
func (p *pot) wish() {
	looked := p.looked
	p.looked = false
	if !looked || !p.recharges() {
		return
	}
	want := new(big.Int).Set(p.amount)
	for new(big.Int).Add(p.balance(), want).Cmp(p.trigger) <= 0 {
		want.Add(want, p.amount)
	}
	p.out = append(p.out, fmt.Sprintf("wish %s %d %s %s %d", p.id, p.n+1, want, p.currency, p.seen))
}

// call is one batch of calls.
func (p *pot) call(charges ...int64) {
	for _, c := range charges {
		if c > 0 {
			p.used = append(p.used, big.NewInt(c))
			p.look()
		}
	}
}

// expiry is when what is bought at a time expires.
func expiry(at int64, months int) int64 {
	t := time.UnixMilli(at).UTC()
	e := t.AddDate(0, months, 0)
	for e.Day() != t.Day() && e.Day() < 4 { // AddDate went on into the next month
		e = e.AddDate(0, 0, -1)
	}
	return e.UnixMilli()
}

// due returns the timers that are due, as dueText says them.
func (p *pot) due(now int64) []string {
	var out []string
	first := p.standing()
	for key, at := range p.timers {
		kind, of, _ := strings.Cut(key, " ")
		if at > now {
			continue
		}
		switch kind {
		case "expire":
			if len(first) == 0 || first[0].name != of {
				continue // lots expire one after the other
			}
			out = append(out, fmt.Sprintf("lot.expire %s %s %s", p.id, of, p.left(first[0])))
		case "warn":
			days, lot, _ := strings.Cut(of, " ")
			i := slices.IndexFunc(p.lots, func(l *potLot) bool { return l.name == lot })
			out = append(out, fmt.Sprintf("lot.warn %s %s %s %s", p.id, lot, p.left(p.lots[i]), days))
		default:
			out = append(out, fmt.Sprintf("recharge.%s %s %s", kind, p.id, of))
		}
	}
	slices.Sort(out)
	return out
}

// dueText says a command of Due in the same words.
func dueText(c *balance.Command) string {
	if c.Type == balance.ExpireLot {
		return fmt.Sprintf("%s %s %s %d", c.Type, c.Account, c.Lot, int64(*c.Amount))
	}
	if c.Type == balance.WarnLot {
		return fmt.Sprintf("%s %s %s %d %d", c.Type, c.Account, c.Lot, int64(*c.Amount), c.Days)
	}
	return fmt.Sprintf("%s %s %s", c.Type, c.Account, strconv.FormatInt(c.N, 10))
}

// holds says all that is stored of the account.
func (p *pot) holds() []string {
	out := []string{p.state, i64(p.n), fmt.Sprintf("%s %s %s %s %t", p.funded(), sum(p.used), p.forfeited(), p.taken, p.closed)}
	for _, l := range p.standing() {
		out = append(out, fmt.Sprintf("lot %s %d %s", l.name, l.expires, p.left(l)))
	}
	return append(out, p.entries...)
}
