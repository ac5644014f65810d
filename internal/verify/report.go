package verify

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// A Verdict says whether all is well.
type Verdict string

// Verdicts of a run.
const (
	Well    Verdict = "well"    // every account is what the logs say
	Differs Verdict = "differs" // at least one is not
	Unknown Verdict = "unknown" // no difference was found, but not all could be recomputed
)

// counts are how much was read.
type counts struct{ commands, cdrs, rated atomic.Int64 }

// A Report is what a run found.
type Report struct {
	Accounts    int
	Commands    int64 // applied to an account
	CDRs        int64 // read
	Rated       int64 // calls taken from rated-cdrs, as their CDRs are gone
	Doubtful    int   // calls whose copies differ in price, so that each price is right
	Differences []Difference
	// Unverified says what could not be recomputed, and what to do; "": nothing.
	Unverified string
	Took       time.Duration
}

// Verdict sums the report up.
func (r *Report) Verdict() Verdict {
	switch {
	case len(r.Differences) > 0:
		return Differs
	case r.Unverified != "":
		return Unknown
	}
	return Well
}

// A Field is what of an account differs.
type Field string

// Fields of an account that are compared.
const (
	Existence Field = "existence" // it is in Redis, or in the logs, alone
	Funded    Field = "funded"
	Spent     Field = "spent"
	Forfeited Field = "forfeited"
	Currency  Field = "currency"
	Lots      Field = "lots"
	Recharge  Field = "recharge" // state and number of auto-recharge
	Closed    Field = "closed"
)

// Fields returns all of them.
func Fields() []Field {
	return []Field{Existence, Funded, Spent, Forfeited, Currency, Lots, Recharge, Closed}
}

// A Difference is one field of one account.
type Difference struct {
	Account string
	Shard   int
	Field   Field
	Logs    string // what the logs say
	Redis   string // what Redis holds
	// Off is how much Redis has more than the logs say; nil for what is no money.
	Off *big.Int
	// Records explain it, if Found says how; at most MaxRecords of Count.
	Found   string
	Records []Record
	Count   int
}

// MaxRecords is how many records of one difference are listed.
const MaxRecords = 20

// A Record is one record of a log.
type Record struct {
	Source balance.Source
	Offset int64
	ID     string // of the CDR, its source before it; or the type of the command and its id
	Amount rating.Micros
	Rated  string // of a CDR: what rated-cdrs says of it
}

func (r *run) compare() *Report {
	rep := &Report{Commands: r.counts.commands.Load(), CDRs: r.counts.cdrs.Load(), Rated: r.counts.rated.Load()}
	rep.Unverified = r.unverified()
	for _, s := range r.shards {
		for _, a := range s.accounts {
			if a.model != nil && !a.model.Exists {
				a.model = nil // commands, and none that made it
			}
			if a.held == nil && a.model == nil {
				continue // neither there nor here: what was said to it, was said to nobody
			}
			rep.Accounts++
			rep.Doubtful += len(a.doubtful)
			d := difference{rep: rep, shard: s.number, account: a}
			d.compare()
		}
	}
	slices.SortFunc(rep.Differences, func(a, b Difference) int {
		return cmp.Or(strings.Compare(a.Account, b.Account), slices.Index(Fields(), a.Field)-slices.Index(Fields(), b.Field))
	})
	return rep
}

// unverified says why spent cannot be recomputed, if it cannot.
func (r *run) unverified() string {
	if r.rated == nil {
		return ""
	}
	var gone []string
	for i := range r.cdrs {
		if l := &r.cdrs[i]; l.start > 0 && l.limit > 0 {
			gone = append(gone, fmt.Sprintf("%s begins at %d", l.source, l.start))
		}
	}
	for i := range r.rated {
		if l := &r.rated[i]; l.start > 0 {
			return fmt.Sprintf("what calls cost: %s, and %s, which would have it, begins at %d. Funded, forfeited and lots were compared. "+
				"To compare all, keep rated-cdrs from its beginning (retention.ms=-1), or have a longer retention than the store's age",
				strings.Join(gone, ", "), l.source, l.start)
		}
	}
	return ""
}

// A difference compares one account.
type difference struct {
	rep     *Report
	shard   int
	account *account
}

func (d *difference) add(f Field, logs, redis string, off *big.Int) {
	d.rep.Differences = append(d.rep.Differences, Difference{
		Account: d.account.id, Shard: d.shard, Field: f, Logs: logs, Redis: redis, Off: off,
	})
}

func (d *difference) compare() {
	a := d.account
	switch {
	case a.model == nil:
		d.add(Existence, "no command made it", "funded "+a.held.Funded.String()+", spent "+a.held.Spent.String(), nil)
		return
	case a.held == nil:
		d.add(Existence, "funded "+text(a.model.Funded())+", spent "+text(a.spent()), "nothing", nil)
		return
	}
	h, m := a.held, a.model
	d.money(Funded, m.Funded(), h.Funded)
	if d.rep.Unverified == "" {
		d.spent()
	}
	d.money(Forfeited, m.Forfeited(), h.Forfeited)
	if h.Currency != m.Currency {
		d.add(Currency, m.Currency, h.Currency, nil)
	}
	if h.Closed != m.Closed {
		d.add(Closed, strconv.FormatBool(m.Closed), strconv.FormatBool(h.Closed), nil)
	}
	d.lots()
	state, n := "idle", int64(0)
	if h.AutoRecharge != nil {
		state, n = h.AutoRecharge.State, h.AutoRecharge.N
	}
	if state != m.State || n != m.N {
		d.add(Recharge, fmt.Sprintf("%s %d", m.State, m.N), fmt.Sprintf("%s %d", state, n), nil)
	}
}

func (d *difference) money(f Field, logs *big.Int, redis rating.Micros) {
	off := new(big.Int).Sub(big.NewInt(int64(redis)), logs)
	if off.Sign() != 0 {
		d.add(f, text(logs), redis.String(), off)
	}
}

// spent compares with what calls and adjustments took, each call whose copies differ
// at any of its prices.
func (d *difference) spent() {
	a := d.account
	rest := new(big.Int).Sub(big.NewInt(int64(a.held.Spent)), a.spent())
	if rest.Sign() == 0 && len(a.doubtful) == 0 || len(a.doubtful) > 0 && reaches(a.doubtful, rest) {
		return
	}
	logs, off := text(a.spent()), rest
	if len(a.doubtful) > 0 {
		low := new(big.Int)
		for _, prices := range a.doubtful {
			low.Add(low, big.NewInt(slices.Min(prices)))
		}
		logs = fmt.Sprintf("%s or more: the copies of %d of its calls differ in price", text(low.Add(low, a.spent())), len(a.doubtful))
		off = new(big.Int).Sub(big.NewInt(int64(a.held.Spent)), low)
	}
	d.add(Spent, logs, a.held.Spent.String(), off)
}

// spent is what is certain of it: without calls whose copies differ.
func (a *account) spent() *big.Int { return new(big.Int).Add(a.model.Spent(), &a.calls) }

// maxSums bounds how many sums of doubtful calls are looked at; beyond it, any sum
// between the least and the most is taken for right.
const maxSums = 1 << 16

// reaches reports whether one price of each call can add up to a sum.
func reaches(calls map[uint64][]int64, sum *big.Int) bool {
	if !sum.IsInt64() {
		return false
	}
	sums := map[int64]bool{0: true}
	var low, high int64
	for _, prices := range calls {
		low, high = low+slices.Min(prices), high+slices.Max(prices)
		if sums == nil {
			continue
		}
		next := map[int64]bool{}
		for s := range sums {
			for _, p := range prices {
				next[s+p] = true
			}
		}
		if sums = next; len(sums) > maxSums {
			sums = nil
		}
	}
	if sums == nil {
		return sum.Int64() >= low && sum.Int64() <= high
	}
	return sums[sum.Int64()]
}

func (d *difference) lots() {
	held := make([]string, len(d.account.held.Lots))
	for i, l := range d.account.held.Lots {
		held[i] = fmt.Sprintf("%s:%d:%d %d", l.ID, int64(l.Amount), l.PurchasedAt.UnixMilli(), l.ExpireAt.UnixMilli())
	}
	told := d.account.model.StandingLots()
	slices.Sort(held)
	slices.Sort(told)
	if slices.Equal(held, told) {
		return
	}
	only := func(a, b []string) string {
		rest := slices.DeleteFunc(slices.Clone(a), func(l string) bool { return slices.Contains(b, l) })
		return fmt.Sprintf("%d, of which not in the other: %s", len(a), strings.Join(rest[:min(len(rest), 5)], ", "))
	}
	d.add(Lots, only(told, held), only(held, told), nil)
}

// text writes micros as rating.Micros does.
func text(m *big.Int) string {
	if m.IsInt64() {
		return rating.Micros(m.Int64()).String()
	}
	return new(big.Rat).SetFrac(m, big.NewInt(1_000_000)).FloatString(6)
}
