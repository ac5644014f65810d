// Package oracle says what an account must be after the commands and calls of the
// logs: another telling of the design's sections 2 and 5, by other means than the
// scripts of package balance, for tests, the fault harness and `creditstream verify`.
package oracle

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// An Account is an account as the design tells it, slowly and with big integers. It
// shares no code with the scripts: lots are kept one by one and spent anew when
// somebody looks, windows of caps are counted from all requests there ever were,
// dates are those of package time.
type Account struct {
	ID          string
	Exists      bool  // settings were accepted
	Created     int64 // append time of the first of these
	Currency    string
	Closed      bool
	Lots        []*Lot   // in the order of the log
	Entries     []string // ledger, oldest first
	used, taken *big.Int // by calls and adjustments below zero; by those alone
	in, lost    *big.Int // what the lots were, and what was forfeited of them

	lows  []balance.Level
	last  *big.Int // purchase
	told  *big.Int // the level that was told of and is not recovered from; nil: none
	below bool     // zero
	valid int      // months

	overdraft *big.Int // nil: not set

	auto          bool
	trigger       *big.Int
	Amount        *big.Int // of one recharge
	method        string
	caps          balance.Caps
	most          *big.Int // of one request; nil: any
	again         int64    // when cooling or capped ends
	State         string
	N, soft, seen int64
	Asks          map[int64]*Ask

	timers  map[string]int64  // when they are due
	said    map[string]int64  // the last warning of a lot
	Known   map[string]string // ids of commands: digest and outcome
	Out     []string          // events, wishes and payment requests since somebody took them
	Refused string            // why the last command was
	looked  bool
}

// A Lot is money that was added at once.
type Lot struct {
	name            string // as in a command: id:amount:bought
	amount          *big.Int
	bought, expires int64
	gone            bool
	forfeited       *big.Int
}

// Name is what commands call the lot: id:amount:bought.
func (l *Lot) Name() string { return l.name }

// Expires is when, in milliseconds.
func (l *Lot) Expires() int64 { return l.expires }

// Gone reports whether it has expired.
func (l *Lot) Gone() bool { return l.gone }

// An Ask is one payment request.
type Ask struct {
	amount   *big.Int
	at       int64
	answered string // "", declined, paid
	paid     *big.Int
	paidAt   int64
	declined bool // and perhaps paid after all
}

// last is what was paid, before that what was asked for.
func (a *Ask) last() *big.Int {
	if a.paid != nil {
		return a.paid
	}
	return a.amount
}

// New returns an account that does not exist yet: the first settings that are accepted create it.
func New(id string) *Account {
	return &Account{
		ID: id, used: new(big.Int), taken: new(big.Int), in: new(big.Int), lost: new(big.Int), last: new(big.Int), valid: 12,
		State: "idle", Asks: map[int64]*Ask{}, timers: map[string]int64{}, Known: map[string]string{}, said: map[string]int64{},
	}
}

// Funded is the sum of all lots there ever were.
func (p *Account) Funded() *big.Int { return new(big.Int).Set(p.in) }

// Spent is what calls and adjustments below zero took.
func (p *Account) Spent() *big.Int { return new(big.Int).Set(p.used) }

// Taken is what adjustments below zero took of it.
func (p *Account) Taken() *big.Int { return new(big.Int).Set(p.taken) }

// Forfeited is what lots held when they expired.
func (p *Account) Forfeited() *big.Int { return new(big.Int).Set(p.lost) }

// Balance is funded - spent - forfeited.
func (p *Account) Balance() *big.Int {
	s := p.Funded()
	return s.Sub(s, p.used).Sub(s, p.lost)
}

// standing returns the lots that are not gone, earliest expiry first.
func (p *Account) standing() []*Lot {
	live := slices.DeleteFunc(slices.Clone(p.Lots), func(l *Lot) bool { return l.gone })
	slices.SortFunc(live, func(a, b *Lot) int {
		return cmp.Or(cmp.Compare(a.expires, b.expires), strings.Compare(a.name, b.name))
	})
	return live
}

// Left spends everything that was used, from the lots that are gone what they gave,
// then from the others in order; and returns what is left of a lot.
func (p *Account) Left(of *Lot) *big.Int { return p.LeftAfter(of, p.Spent()) }

// LeftAfter is Left with another sum of what was used.
func (p *Account) LeftAfter(of *Lot, used *big.Int) *big.Int {
	rest := new(big.Int).Set(used)
	for _, l := range p.Lots {
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

// beyond reports whether to add an amount would pass the bound of totals.
func (p *Account) beyond(amount *big.Int) bool {
	return new(big.Int).Add(p.in, amount).Cmp(big.NewInt(int64(rating.MaxTotal))) > 0
}

func smaller(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

func (p *Account) event(kind string, fields ...any) {
	words := []string{"event", p.ID, kind, p.Balance().String(), p.Currency}
	for i := 0; i+1 < len(fields); i += 2 {
		words = append(words, fmt.Sprintf("%s=%v", fields[i], fields[i+1]))
	}
	p.Out = append(p.Out, strings.Join(words, " "))
}

func (p *Account) entry(kind string, amount *big.Int, at int64, reference string) {
	p.Entries = append(p.Entries, fmt.Sprintf("%d %s %s %d %s", len(p.Entries)+1, kind, amount, at, reference))
}

// levels are what is in force, highest first.
func (p *Account) levels() []*big.Int {
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

// Reached returns the lowest level that the balance is at or below; nil: none.
func (p *Account) Reached() (level *big.Int) {
	for _, l := range p.levels() { // highest first
		if p.Balance().Cmp(l) <= 0 {
			level = l
		}
	}
	return level
}

// look tells what the balance has crossed.
func (p *Account) look() {
	p.looked = true
	bal := p.Balance()
	worst := p.Reached()
	var held *big.Int
	for _, l := range p.levels() {
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

func (p *Account) recharges() bool {
	return p.auto && !p.Closed && p.State == "idle" && p.Balance().Cmp(p.trigger) <= 0
}

// Wish asks for the least number of amounts that lands above the trigger, if
// anything has happened.
func (p *Account) Wish() {
	looked := p.looked
	p.looked = false
	if !looked || !p.recharges() {
		return
	}
	gap := new(big.Int).Sub(p.trigger, p.Balance())
	times := gap.Quo(gap, p.Amount)
	times.Add(times, big.NewInt(1))
	most := new(big.Int).Quo(big.NewInt(int64(balance.MaxPurchase)), p.Amount)
	want := new(big.Int).Mul(smaller(times, most), p.Amount)
	p.Out = append(p.Out, fmt.Sprintf("wish %s %d %s %s %d", p.ID, p.N+1, want, p.Currency, p.seen))
}

// Call is one batch of calls.
func (p *Account) Call(charges ...int64) {
	for _, c := range charges {
		if c > 0 {
			p.used.Add(p.used, big.NewInt(c))
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

// Due returns the timers that are due, as DueText says them.
func (p *Account) Due(now int64) []string {
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
			out = append(out, fmt.Sprintf("lot.expire %s %s %s", p.ID, of, p.Left(first[0])))
		case "warn":
			days, lot, _ := strings.Cut(of, " ")
			i := slices.IndexFunc(p.Lots, func(l *Lot) bool { return l.name == lot })
			out = append(out, fmt.Sprintf("lot.warn %s %s %s %s", p.ID, lot, p.Left(p.Lots[i]), days))
		default:
			out = append(out, fmt.Sprintf("recharge.%s %s %s", kind, p.ID, of))
		}
	}
	slices.Sort(out)
	return out
}

// DueText says a command of Due in the same words.
func DueText(c *balance.Command) string {
	if c.Type == balance.ExpireLot {
		return fmt.Sprintf("%s %s %s %d", c.Type, c.Account, c.Lot, int64(*c.Amount))
	}
	if c.Type == balance.WarnLot {
		return fmt.Sprintf("%s %s %s %d %d", c.Type, c.Account, c.Lot, int64(*c.Amount), c.Days)
	}
	return fmt.Sprintf("%s %s %s", c.Type, c.Account, strconv.FormatInt(c.N, 10))
}

// StandingLots says of each lot that is not gone its name and when it expires, earliest
// expiry first.
func (p *Account) StandingLots() []string {
	var out []string
	for _, l := range p.standing() {
		out = append(out, l.name+" "+digits(l.expires))
	}
	return out
}

// Holds says all that is stored of the account.
func (p *Account) Holds() []string {
	out := []string{p.State, digits(p.N), fmt.Sprintf("%s %s %s %s %t", p.Funded(), p.used, p.Forfeited(), p.taken, p.Closed)}
	for _, l := range p.standing() {
		out = append(out, fmt.Sprintf("lot %s %d %s", l.name, l.expires, p.Left(l)))
	}
	return append(out, p.Entries...)
}
