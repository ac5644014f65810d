package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/rating"
)

// ErrUnknownAccount means that no account.put of this id has been accepted.
var ErrUnknownAccount = errors.New("unknown account")

// An Account is what is stored of one account, read in one step.
type Account struct {
	ID                       string
	Currency                 string
	Funded, Spent, Forfeited rating.Micros
	Adjusted                 rating.Micros // of Spent: what adjustments have taken, not calls
	CreatedMillis            int64
	Closed                   bool
	LowBalance               []Level       // as they were set
	LotMonths                int           // 0: the default, 12
	Overdraft                rating.Micros // see Settings.OverdraftLimit
	BlockedPrefixes          []string
	BlockHighRisk            bool
	AutoRecharge             *AccountRecharge
	Lots                     []Lot // earliest expiry first
}

// An AccountRecharge is the auto-recharge of an account: settings and state.
type AccountRecharge struct {
	Enabled         bool
	Trigger, Amount *rating.Micros
	PaymentMethod   string
	Caps            Caps
	State           string // idle, pending, cooling, suspended, unresolved, capped
	N               int64  // of the last request; 0: there was none
	Pending         rating.Micros
}

// A Lot is one purchase.
type Lot struct {
	ID                    string
	Amount, Remaining     rating.Micros
	PurchasedAt, ExpireAt time.Time
}

// Balance is funded - spent - forfeited.
func (a *Account) Balance() rating.Micros { return a.Funded - a.Spent - a.Forfeited }

// Status is active, depleted (the balance is below zero) or closed.
func (a *Account) Status() string {
	switch {
	case a.Closed:
		return "closed"
	case a.Balance() < 0:
		return "depleted"
	}
	return "active"
}

// Account reads an account. It returns ErrUnknownAccount when there is none.
func (s *Store) Account(ctx context.Context, id string) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	sh := s.ShardOf(id)
	var hash *redis.MapStringStringCmd
	var lots *redis.ZSliceCmd
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		hash = p.HGetAll(ctx, accountKey(sh, id))
		lots = p.ZRangeWithScores(ctx, lotsKey(sh, id), 0, -1)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read account: %w", err)
	}
	if len(hash.Val()) == 0 {
		return nil, ErrUnknownAccount
	}
	return accountOf(id, hash.Val(), lots.Val())
}

// accountOf reads what is stored of an account.
func accountOf(id string, h map[string]string, lots []redis.Z) (a *Account, err error) {
	a = &Account{ID: id, Currency: h["cur"], Closed: h["closed"] == "1"}
	r := reader{h: h}
	a.Funded, a.Spent, a.Forfeited = r.micros("funded"), r.micros("spent"), r.micros("forfeited")
	a.Adjusted, a.CreatedMillis = r.micros("adjusted"), r.number("at")
	a.LowBalance = r.levels("lows")
	a.LotMonths, a.Overdraft = int(r.number("months")), r.micros("overdraft")
	a.BlockedPrefixes, a.BlockHighRisk = split(h["blocked"]), h["risk"] != "0"
	a.AutoRecharge = r.recharge()
	gone := r.micros("gone")
	if r.err != nil {
		return nil, fmt.Errorf("read account: %w", r.err)
	}
	a.Lots, err = lotsOf(lots, gone, a.Spent+a.Forfeited)
	return a, err
}

// lotsOf computes what each lot still holds. Lots are spent in order of expiry,
// so with A(i) the sum of the amounts up to lot i, those that expired included,
// lot i holds clamp(A(i) - used, 0, amount).
func lotsOf(members []redis.Z, gone, used rating.Micros) ([]Lot, error) {
	out := make([]Lot, 0, len(members))
	for _, z := range members {
		member, _ := z.Member.(string)
		f := strings.Split(member, ":")
		if len(f) != 3 {
			return nil, faultf("lot %q: want 3 fields", member)
		}
		amount, err := strconv.ParseInt(f[1], 10, 64)
		bought, err2 := strconv.ParseInt(f[2], 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return nil, faultf("lot %q: %w", member, err)
		}
		out = append(out, Lot{
			ID: f[0], Amount: rating.Micros(amount),
			PurchasedAt: time.UnixMilli(bought).UTC(), ExpireAt: time.UnixMilli(int64(z.Score)).UTC(),
		})
	}
	slices.SortStableFunc(out, func(a, b Lot) int { return cmp.Compare(a.ExpireAt.UnixMilli(), b.ExpireAt.UnixMilli()) })
	upTo := gone
	for i := range out {
		upTo += out[i].Amount
		out[i].Remaining = max(0, min(out[i].Amount, upTo-used))
	}
	return out, nil
}

type reader struct {
	h   map[string]string
	err error
}

// readerOf reads the answer to an HMGET of names; nil is a field that is not there.
func readerOf(names []string, values []any) reader {
	r := reader{h: make(map[string]string, len(names))}
	for i, v := range values {
		r.h[names[i]], _ = v.(string)
	}
	return r
}

func (r *reader) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) number(name string) int64 {
	if r.h[name] == "" {
		return 0
	}
	n, err := strconv.ParseInt(r.h[name], 10, 64)
	if err != nil {
		r.keep(fmt.Errorf("field %s: %w", name, err))
	}
	return n
}

func (r *reader) micros(name string) rating.Micros { return rating.Micros(r.number(name)) }

// split is the parts between commas; none of the empty text.
func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// levels reads levels as joinLevels wrote them.
func (r *reader) levels(name string) []Level {
	var out []Level
	for _, l := range split(r.h[name]) {
		digits, percent := strings.CutSuffix(l, "%")
		n, err := strconv.ParseInt(digits, 10, 64)
		r.keep(err)
		if percent {
			out = append(out, Level{Percent: int(n)})
		} else {
			out = append(out, Level{Amount: rating.Micros(n)})
		}
	}
	return out
}

// caps reads caps as Caps.word wrote them.
func (r *reader) caps(name string) (c Caps) {
	parts := split(r.h[name])
	if len(parts) != 0 && len(parts) != 4 {
		r.keep(fmt.Errorf("field %s: %q", name, r.h[name]))
		return c
	}
	for i, w := range [...]**Cap{&c.PerDay, &c.PerMonth} {
		if len(parts) == 0 || parts[2*i] == "" && parts[2*i+1] == "" {
			continue
		}
		*w = new(Cap)
		for j, into := range [...]func(int64){
			func(n int64) { (*w).Count = &n },
			func(n int64) { m := rating.Micros(n); (*w).Amount = &m },
		} {
			if text := parts[2*i+j]; text != "" {
				n, err := strconv.ParseInt(text, 10, 64)
				r.keep(err)
				into(n)
			}
		}
	}
	return c
}

func (r *reader) recharge() *AccountRecharge {
	a := &AccountRecharge{
		Enabled: r.h["auto"] == "1", PaymentMethod: r.h["pm"], Caps: r.caps("caps"), State: cmp.Or(r.h["state"], "idle"),
		N: r.number("n"), Pending: r.micros("open"),
	}
	for name, to := range map[string]**rating.Micros{"trigger": &a.Trigger, "recharge": &a.Amount} {
		if r.h[name] != "" {
			m := r.micros(name)
			*to = &m
		}
	}
	if !a.Enabled && a.Trigger == nil && a.Amount == nil && a.PaymentMethod == "" && r.h["caps"] == "" && a.N == 0 {
		return nil
	}
	return a
}

// A CommandResult is what an account remembers of a command with an id.
type CommandResult struct {
	Digest  string // Command.Digest of what was applied under this id
	Refused string // why it was refused; empty: it was accepted
}

// CommandResult returns what became of a command of an account. found is false
// while none of this id has been applied.
func (s *Store) CommandResult(ctx context.Context, account, id string) (r CommandResult, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	v, err := s.rdb.HGet(ctx, commandsKey(s.ShardOf(account), account), "c/"+id).Result()
	if errors.Is(err, redis.Nil) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("read command result: %w", err)
	}
	digest, outcome, _ := strings.Cut(v, " ")
	if outcome != "ok" {
		r.Refused = outcome
	}
	r.Digest = digest
	return r, true, nil
}

// AppliedTo returns the next offset of the commands partition that the account's
// shard takes its commands from: a command below it is applied.
func (s *Store) AppliedTo(ctx context.Context, account string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	sh := s.ShardOf(account)
	return s.nextOf(ctx, sh, s.commandSource(s.CommandPartition(sh)))
}

// nextOf returns the next offset of a source that a shard applies.
func (s *Store) nextOf(ctx context.Context, shard int, src Source) (int64, error) {
	v, err := s.rdb.HGet(ctx, marksKey(shard), src.String()).Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read mark: %w", err)
	}
	m, err := parseMark(v)
	return m.Next, err
}
