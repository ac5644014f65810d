package balance_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// stage is a store on which a scenario is played: it does what the stream does
// around a store (wishes and timers become commands), and moves the clock.
type stage struct {
	*world

	way      *wire
	moving   *moving
	out      []string
	accounts []string         // in the order of their first command
	seq      map[string]int64 // of the last event
	spent    map[string]int64 // by calls and adjustments, as the entries say
	wishes   []balance.Wish   // not yet commands
	hold     bool             // wishes wait for apply-wishes
	copies   int              // of each wish and timer
	steps    int
	flying   []*balance.CDRBatch // in the log, not applied
	last     []balance.Debit     // for again
}

func newStage(t *testing.T, way *wire) *stage {
	t.Helper()
	s := stageOn(newWorld(t))
	if way == nil {
		return s
	}
	s.way = way
	s.rdb = clientBy(s.world, way)
	t.Cleanup(func() { _ = s.rdb.Close() })
	var err error
	if s.store, err = balance.Open(t.Context(), s.rdb, options(s.world)); err != nil {
		t.Fatal(err)
	}
	return s
}

func stageOn(w *world) *stage {
	return &stage{world: w, seq: map[string]int64{}, spent: map[string]int64{}, copies: 1}
}

func (s *stage) say(format string, a ...any) { s.out = append(s.out, fmt.Sprintf(format, a...)) }

// apply makes one call as a worker does: a lost call is a take-over, which finds
// either what the call has left, and then the same call again is refused, or
// nothing, and then it is made again.
func (s *stage) apply(l lane, trim *[]string, call func() balance.Reply) *balance.Entry {
	s.tb.Helper()
	*trim = nil
	for _, e := range s.outs[l] {
		*trim = append(*trim, e.Name)
	}
	s.outs[l] = nil
	switch {
	case s.moving != nil:
		return s.took(l, s.moving.call(s.world, l.shard, call))
	case s.way == nil:
		return s.took(l, call())
	}
	was := s.mark(l)
	s.way.armed.Store(true)
	r := call()
	if r.Status != balance.Unavailable || !balance.Temporary(r.Err) {
		s.tb.Fatalf("a call of which %s are lost says %d, %v", s.way, r.Status, r.Err)
	}
	h := s.holding(l)
	if s.way.loss == requests {
		if h.Mark.Next != was.Next || h.Mark.Name != was.Name || len(h.Outbox) != len(*trim) {
			s.tb.Fatalf("a call that never arrived has moved the mark %+v to %+v", was, h.Mark)
		}
		return s.took(l, call())
	}
	if len(h.Outbox) != 1 || h.Outbox[0].Name != h.Mark.Name {
		s.tb.Fatalf("mark %+v, outbox %+v: want the one entry of the lost reply", h.Mark, h.Outbox)
	}
	if again := call(); again.Status != balance.Refused || again.Mark != h.Mark {
		s.tb.Fatalf("the same call again: %+v", again)
	}
	return s.took(l, balance.Reply{Status: balance.Applied, Entry: h.Outbox[0], Mark: h.Mark})
}

// do applies a command as of now, tells what came of it, and goes on with what it
// wishes. A refusal is read by the id, so a command without gets one.
func (s *stage) do(c *balance.Command) {
	s.tb.Helper()
	s.steps++
	if c.ID == "" {
		c.ID = "step/" + strconv.Itoa(s.steps)
	}
	b, err := c.Encode()
	if err != nil {
		s.say("invalid: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	if c, err = balance.DecodeCommand(b); err != nil { // as it comes out of the log
		s.tb.Fatal(err)
	}
	if !slices.Contains(s.accounts, c.Account) {
		s.accounts = append(s.accounts, c.Account)
	}
	_, before, err := s.store.CommandResult(s.tb.Context(), c.Account, c.ID)
	if err != nil {
		s.tb.Fatal(err)
	}
	e := s.append(c)
	digest, err := c.Digest()
	if err != nil {
		s.tb.Fatal(err)
	}
	switch r, found, err := s.store.CommandResult(s.tb.Context(), c.Account, c.ID); {
	case err != nil:
		s.tb.Fatal(err)
	case !found:
		s.say("refused unknown_account")
	case before && r.Digest != digest:
		s.say("conflict: the key stands for another command")
	case before:
		s.say("known: %s", cmp.Or(r.Refused, "accepted"))
	case r.Refused != "":
		s.say("refused %s", r.Refused)
	case c.Type == balance.Adjust && *c.Amount < 0:
		s.spent[c.Account] -= int64(*c.Amount)
	}
	s.tell(e)
	s.conserved()
	s.fulfil()
}

// append applies one command at the end of its partition.
func (s *stage) append(c *balance.Command) *balance.Entry {
	s.tb.Helper()
	sh := s.store.ShardOf(c.Account)
	src := balance.Source{Topic: "credit-commands", Partition: s.store.CommandPartition(sh)}
	offset := s.log[src]
	s.log[src]++
	for other := src.Partition; other < shards; other += commandPartitions {
		if other == sh {
			continue
		}
		p := s.position(lane{other, src}, offset+1)
		k := &balance.Confirmation{Shard: other, Source: src, Expect: p.Expect, Next: p.Next, Last: p.Last}
		if err := s.store.Confirm(s.tb.Context(), []*balance.Confirmation{k}); err != nil || !k.OK {
			s.tb.Fatal(err, k.OK)
		}
		s.marks[lane{other, src}] = k.New()
	}
	l := lane{sh, src}
	b := &balance.CommandBatch{Position: s.position(l, offset+1), Orders: []balance.Order{{Offset: offset, AppendMillis: s.now.UnixMilli(), Command: c}}}
	return s.apply(l, &b.Trim, func() balance.Reply { return s.store.ApplyCommands(s.tb.Context(), []*balance.CommandBatch{b})[0] })
}

// fulfil appends the commands that are wished for, and those that these wish for.
func (s *stage) fulfil() {
	s.tb.Helper()
	for i := 0; len(s.wishes) > 0 && !s.hold; i++ {
		if i > 100 {
			s.tb.Fatal("wishes do not end")
		}
		w := s.wishes[0]
		s.wishes = s.wishes[1:]
		for range s.copies {
			s.do(request(w))
		}
	}
}

// deliver applies a batch of calls that is in the log.
func (s *stage) deliver(b *balance.CDRBatch) {
	s.tb.Helper()
	l := lane{b.Shard, b.Source}
	b.Expect = s.mark(l)
	b.CommandsEnd = s.log[balance.Source{Topic: "credit-commands", Partition: s.store.CommandPartition(l.shard)}]
	e := s.apply(l, &b.Trim, func() balance.Reply { return s.store.ApplyCDRs(s.tb.Context(), []*balance.CDRBatch{b})[0] })
	for _, d := range b.Debits {
		switch o, why := e.Of(d.Offset, d.Account, d.Amount); o {
		case balance.Charged:
			s.spent[d.Account] += int64(d.Amount)
		case balance.Parked:
			s.say("parked %s", why)
		case balance.Duplicate:
			s.say("duplicate: charged nothing")
		case balance.Free, balance.Skipped:
		}
	}
	s.tell(e)
	s.conserved()
	s.fulfil()
}

// call puts calls into the log: one batch, to be applied by deliver.
func (s *stage) call(partition int, account, currency string, charges []rating.Micros) *balance.CDRBatch {
	s.tb.Helper()
	n := make([]int64, len(charges))
	for i, c := range charges {
		n[i] = int64(c)
	}
	_, b := s.cdrBatch(partition, account, n...)
	for i := range b.Debits {
		b.Debits[i].Currency = currency
	}
	s.last = b.Debits
	return b
}

// again has the switch send its last calls a second time.
func (s *stage) again() *balance.CDRBatch {
	s.tb.Helper()
	sent := s.last
	charges := make([]rating.Micros, len(sent))
	for i := range sent {
		charges[i] = sent[i].Amount
	}
	b := s.call(0, sent[0].Account, sent[0].Currency, charges)
	for i := range b.Debits {
		b.Debits[i].Digest, b.Debits[i].Slice = sent[i].Digest, sent[i].Slice
	}
	return b
}

// until moves the clock and has every timer on the way do its work in time.
func (s *stage) until(t time.Time) {
	s.tb.Helper()
	from := "-inf"
	for range 1000 {
		at, ok := s.nextTimer(from)
		if !ok || at.After(t) {
			s.now = t
			return
		}
		s.now = later(s.now, at)
		from = "-inf"
		if s.fire() == 0 { // it waits for something
			from = "(" + i64(at.UnixMilli())
		}
	}
	s.tb.Fatal("timers do not end")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// nextTimer returns when the first timer from a score on is due.
func (s *stage) nextTimer(from string) (at time.Time, ok bool) {
	s.tb.Helper()
	for sh := range shards {
		z, err := s.rdb.ZRangeByScoreWithScores(s.tb.Context(), fmt.Sprintf("cs:{%d}:due", sh), &redis.ZRangeBy{Min: from, Max: "+inf", Count: 1}).Result()
		if err != nil {
			s.tb.Fatal(err)
		}
		if len(z) > 0 {
			if t := time.UnixMilli(int64(z[0].Score)).UTC(); !ok || t.Before(at) {
				at, ok = t, true
			}
		}
	}
	return at, ok
}

// fire appends the commands that are due now, and returns how many there were.
func (s *stage) fire() int {
	s.tb.Helper()
	n := 0
	for sh := range shards {
		due := s.dueOn(sh)
		for _, c := range due {
			n++
			for range s.copies {
				again := *c
				s.say("%s %s", moment(s.now), timerText(c))
				s.do(&again)
			}
		}
	}
	return n
}

// conserved checks every account: balance = funded - spent - forfeited = what lots
// hold - overdraft, spent is what calls and adjustments took, and the ledger adds
// up to the rest.
func (s *stage) conserved() {
	s.tb.Helper()
	for _, id := range s.accounts {
		a, err := s.store.Account(s.tb.Context(), id)
		if errors.Is(err, balance.ErrUnknownAccount) {
			continue // no settings were accepted
		}
		if err != nil {
			s.tb.Fatal(err)
		}
		held := new(big.Int)
		for _, l := range a.Lots {
			if l.Remaining < 0 || l.Remaining > l.Amount {
				s.tb.Fatalf("%s: a lot of %s holds %s", id, l.Amount, l.Remaining)
			}
			held.Add(held, big.NewInt(int64(l.Remaining)))
		}
		funded, spent, forfeited := big.NewInt(int64(a.Funded)), big.NewInt(int64(a.Spent)), big.NewInt(int64(a.Forfeited))
		bal := new(big.Int).Sub(funded, spent)
		bal.Sub(bal, forfeited)
		overdraft := new(big.Int)
		if bal.Sign() < 0 {
			overdraft.Neg(bal)
		}
		if held.Sub(held, overdraft).Cmp(bal) != 0 || int64(a.Balance()) != bal.Int64() {
			s.tb.Fatalf("%s: lots less overdraft are %s, the balance is %s", id, held, bal)
		}
		if spent.Int64() != s.spent[id] {
			s.tb.Fatalf("%s: spent is %s, calls and adjustments took %d", id, spent, s.spent[id])
		}
		s.seenAlike(a)
		in := s.ledgerSum(id)
		in.Sub(in, spent).Add(in, big.NewInt(int64(a.Adjusted)))
		if in.Cmp(bal) != 0 {
			s.tb.Fatalf("%s: the ledger less calls is %s, the balance is %s", id, in, bal)
		}
	}
}

// seenAlike checks that what authorize reads and what is listed is what the account is.
func (s *stage) seenAlike(a *balance.Account) {
	s.tb.Helper()
	st, err := s.store.Standing(s.tb.Context(), a.ID)
	if err != nil {
		s.tb.Fatal(err)
	}
	want := balance.Standing{
		Currency: a.Currency, Balance: a.Balance(), Overdraft: a.Overdraft, Closed: a.Closed,
		BlockedPrefixes: a.BlockedPrefixes, BlockHighRisk: a.BlockHighRisk,
	}
	if !reflect.DeepEqual(*st, want) {
		s.tb.Fatalf("standing %+v, want %+v", *st, want)
	}
	list, err := s.store.Accounts(s.tb.Context(), "", len(s.accounts)+1)
	if err != nil {
		s.tb.Fatal(err)
	}
	in := balance.AccountSummary{ID: a.ID, Currency: a.Currency, Balance: a.Balance(), Closed: a.Closed}
	if !slices.Contains(list, in) {
		s.tb.Fatalf("accounts %+v, want %+v among them", list, in)
	}
}

func (s *stage) ledgerSum(id string) *big.Int {
	s.tb.Helper()
	sum := new(big.Int)
	for _, l := range s.ledger(id) {
		sum.Add(sum, big.NewInt(int64(l.Amount)))
	}
	return sum
}

// keys writes every key of the store, for comparison.
func (s *stage) keys() string {
	s.tb.Helper()
	ctx := s.tb.Context()
	names := s.redis.Keys("*")
	slices.Sort(names)
	var w strings.Builder
	for _, k := range names {
		var v any
		var err error
		switch kind := s.rdb.Type(ctx, k).Val(); kind {
		case "hash":
			var h map[string]string
			h, err = s.rdb.HGetAll(ctx, k).Result()
			for _, f := range slices.Sorted(maps.Keys(h)) {
				fmt.Fprintf(&w, "%s %s %s\n", k, f, h[f])
			}
			v = len(h)
		case "list":
			v, err = s.rdb.LRange(ctx, k, 0, -1).Result()
		case "zset":
			v, err = s.rdb.ZRangeWithScores(ctx, k, 0, -1).Result()
		case "set":
			v, err = s.rdb.SMembers(ctx, k).Result()
		default:
			s.tb.Fatalf("key %s of type %q", k, kind)
		}
		if err != nil {
			s.tb.Fatal(err)
		}
		fmt.Fprintf(&w, "%s %v\n", k, v)
	}
	return w.String()
}
