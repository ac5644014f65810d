package balance_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
)

const (
	randomRuns = 20 // times the checks of rapid (100): 2,000
	randomOps  = 55 // of one run; one in thirteen is none
)

// TestRandomOperations has random commands, calls and timers done to a store and
// to the model (pot), and compares all that both emit after every operation, and
// all that they hold after the run. A failing run is made as short as it gets, and
// says how to repeat it.
func TestRandomOperations(t *testing.T) {
	t.Parallel()
	seen := &sights{}
	t.Cleanup(func() { seen.complete(t) })
	for i := range randomRuns {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			rapid.Check(t, func(rt *rapid.T) {
				r := newRandomRun(rt, w, seen)
				for range randomOps {
					r.operation()
				}
				r.compare()
				seen.runs.Add(1)
			})
		})
	}
}

// sights are what the runs have met: those that meet nothing prove nothing.
type sights struct {
	runs atomic.Int64
	what sync.Map // kinds of events, refusals
}

func (s *sights) complete(t *testing.T) {
	t.Helper()
	if t.Failed() || s.runs.Load() < 2000 {
		return
	}
	want := balance.EventKinds()
	for _, why := range []string{
		"ok", "already_answered", "already_closed", "already_credited", "already_expired", "already_said", "auto_recharge_incomplete",
		"cap_below_amount", "currency_is_fixed", "currency_mismatch", "no_lot", "no_request", "not_idle", "not_next", "not_pending",
		"not_suspended", "not_unresolved", "not_waiting", "out_of_bounds", "over_cap", "stale",
	} {
		want = append(want, "refused "+why)
	}
	for _, what := range want {
		if _, met := s.what.Load(what); !met {
			t.Errorf("%d runs have never met %s", s.runs.Load(), what)
		}
	}
}

// randomRun is one run: a store that is empty, two accounts of one shard, and the
// commands that wishes and timers have asked for.
type randomRun struct {
	*world

	rt    *rapid.T
	pots  map[string]*oracle.Account
	names []string
	queue []*balance.Command
	sent  []balance.Debit
	steps int64
	seen  *sights
	story []string // what was done, for a person who must find out why it failed
}

func newRandomRun(rt *rapid.T, w *world, seen *sights) *randomRun {
	w.redis.Flush()
	clear(w.log)
	clear(w.marks)
	clear(w.outs)
	w.now = time.Date(2027, 12, 30, 20, 0, 0, 0, time.UTC)
	r := &randomRun{world: w, rt: rt, seen: seen, pots: map[string]*oracle.Account{}, names: []string{"acme", neighbour(w)}}
	for _, id := range r.names {
		r.pots[id] = oracle.New(id)
	}
	return r
}

func (r *randomRun) operation() {
	r.now = r.now.Add(time.Second)
	switch k := rapid.IntRange(0, 12).Draw(r.rt, "operation"); {
	case k == 0: // nothing, so that a failing run becomes short
	case k < 4:
		r.calls()
	case k < 7:
		r.apply(r.hands())
	case k < 11 && len(r.queue) > 0:
		r.apply(r.queued())
	default:
		r.pass()
	}
}

func (r *randomRun) tell(format string, a ...any) {
	r.story = append(r.story, moment(r.now)+" "+fmt.Sprintf(format, a...))
}

func (r *randomRun) fail(format string, a ...any) {
	r.rt.Fatalf("%s\n%s", strings.Join(r.story, "\n"), fmt.Sprintf(format, a...))
}

func (r *randomRun) pick(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(r.rt, label)
}

// calls charges one account, or sends a call again.
func (r *randomRun) calls() {
	p := r.pots[r.pick("account", r.names...)]
	charges := rapid.SliceOfN(rapid.SampledFrom([]int64{0, 1, 999_999, 1_000_000, 5_000_000, 20_000_000, 70_000_000}), 1, 4).Draw(r.rt, "charges")
	l, b := r.cdrBatch(rapid.IntRange(0, 1).Draw(r.rt, "partition"), p.ID, charges...)
	for i := range b.Debits {
		b.Debits[i].Currency = p.Currency
	}
	if len(r.sent) > 0 && rapid.IntRange(0, 3).Draw(r.rt, "again") == 0 {
		d := rapid.SampledFrom(r.sent).Draw(r.rt, "call")
		d.Offset, d.AppendMillis = b.Debits[0].Offset, b.Debits[0].AppendMillis
		b.Debits, charges = []balance.Debit{d}, nil
		r.log[l.source] = b.Debits[0].Offset + 1
		b.Next, b.Last.Offset = d.Offset+1, d.Offset
		p = r.pots[d.Account]
	} else if p.Currency != "" {
		r.sent = append(r.sent, b.Debits...)
	}
	if p.Currency == "" {
		r.log[l.source] -= int64(len(b.Debits)) // no account: the CDR would wait
		return
	}
	b.Trim = r.trim(l)
	p.Out = nil
	p.Call(charges...)
	p.Wish()
	e := r.took(l, r.store.ApplyCDRs(r.tb.Context(), []*balance.CDRBatch{b})[0])
	r.tell("calls %s %v", p.ID, charges)
	r.check(e)
}

func (r *randomRun) trim(l lane) []string {
	var names []string
	for _, e := range r.outs[l] {
		names = append(names, e.Name)
	}
	r.outs[l] = nil
	return names
}

// apply has commands applied in one batch.
func (r *randomRun) apply(commands []*balance.Command) {
	var text []string
	var orders []balance.Order
	for _, p := range r.pots {
		p.Out = nil
	}
	src := balance.Source{Topic: "credit-commands", Partition: r.store.CommandPartition(r.store.ShardOf("acme"))}
	for _, c := range commands {
		b, err := c.Encode()
		if err != nil {
			r.rt.Fatalf("%+v: %v", c, err)
		}
		text = append(text, string(b))
		orders = append(orders, balance.Order{Offset: r.log[src], AppendMillis: r.now.UnixMilli(), Command: c})
		r.log[src]++
		r.pots[c.Account].Command(c, r.now.UnixMilli())
	}
	for _, id := range r.names {
		if slices.ContainsFunc(commands, func(c *balance.Command) bool { return c.Account == id }) {
			r.pots[id].Wish()
		}
	}
	l := lane{r.store.ShardOf("acme"), src}
	b := &balance.CommandBatch{Position: r.position(l, r.log[src]), Orders: orders}
	b.Trim = r.trim(l)
	e := r.took(l, r.store.ApplyCommands(r.tb.Context(), []*balance.CommandBatch{b})[0])
	r.tell("%s", strings.Join(text, "\n"))
	r.check(e)
}

// pass lets time go by, and takes what is due.
func (r *randomRun) pass() {
	r.now = r.now.Add(rapid.SampledFrom([]time.Duration{
		time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 31 * 24 * time.Hour, 366 * 24 * time.Hour,
	}).Draw(r.rt, "pass"))
	r.tell("time goes by")
	due := r.due()
	var got, want []string
	for _, c := range due {
		got = append(got, oracle.DueText(c))
	}
	slices.Sort(got)
	for _, id := range r.names {
		want = append(want, r.pots[id].Due(r.now.UnixMilli())...)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.fail("then is due\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r.queue = append(r.queue, due...)
}

// check compares what an operation emitted.
func (r *randomRun) check(e *balance.Entry) {
	var got, want []string
	for i := range e.Events {
		ev := &e.Events[i]
		r.seen.what.Store(ev.Kind, true)
		words := []string{"event", ev.Account, ev.Kind, i64(int64(ev.Balance)), ev.Currency}
		for _, f := range ev.Fields {
			words = append(words, f.Name+"="+f.Value)
		}
		got = append(got, strings.Join(words, " "))
	}
	for i := range e.Requests {
		p := &e.Requests[i]
		got = append(got, fmt.Sprintf("payment %s %d %s %s", p.ID(), int64(p.Amount), p.Currency, p.PaymentMethod))
		r.queue = append(r.queue, r.answer(p))
	}
	for _, w := range e.Wishes {
		got = append(got, fmt.Sprintf("wish %s %d %d %s %d", w.Account, w.N, int64(w.Amount), w.Currency, w.Seen))
		r.queue = append(r.queue, request(w))
	}
	for _, id := range r.names {
		want = append(want, r.pots[id].Out...)
		r.pots[id].Out = nil
	}
	slices.SortStableFunc(got, byAccountAndKind)
	slices.SortStableFunc(want, byAccountAndKind)
	if !slices.Equal(got, want) {
		r.fail("that emits\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// byAccountAndKind orders lines by what an entry does not keep: events stay in
// their order.
func byAccountAndKind(a, b string) int {
	x, y := strings.Fields(a), strings.Fields(b)
	id := func(s string) string { name, _, _ := strings.Cut(s, "/"); return name }
	return strings.Compare(x[0]+id(x[1]), y[0]+id(y[1]))
}

// compare compares all that both hold.
func (r *randomRun) compare() {
	for _, id := range r.names {
		p := r.pots[id]
		got, err := holds(r.world, id)
		if errors.Is(err, balance.ErrUnknownAccount) != !p.Exists || p.Exists && err != nil {
			r.fail("%s: %v, it exists: %t", id, err, p.Exists)
		}
		for id, outcome := range p.Known {
			res, found, err := r.store.CommandResult(r.tb.Context(), p.ID, id)
			r.seen.what.Store("refused "+orOK(res.Refused), true)
			if text := res.Digest + " " + orOK(res.Refused); err != nil || !found || text != outcome {
				r.fail("%s of %s: %s, want %s (%v)", id, p.ID, text, outcome, err)
			}
		}
		if want := p.Holds(); p.Exists && !slices.Equal(got, want) {
			r.fail("%s holds\n%s\nwant\n%s", id, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// holds says what is stored of an account, as pot.holds does.
func holds(w *world, id string) ([]string, error) {
	a, err := w.store.Account(w.tb.Context(), id)
	if err != nil {
		return nil, err
	}
	out := []string{"idle", "0"}
	if rc := a.AutoRecharge; rc != nil {
		out = []string{rc.State, i64(rc.N)}
	}
	out = append(out, fmt.Sprintf("%d %d %d %d %t", int64(a.Funded), int64(a.Spent), int64(a.Forfeited), int64(a.Adjusted), a.Closed))
	for _, l := range a.Lots {
		out = append(out, fmt.Sprintf("lot %s:%d:%d %d %d", l.ID, int64(l.Amount), l.PurchasedAt.UnixMilli(), l.ExpireAt.UnixMilli(), int64(l.Remaining)))
	}
	ledger, err := w.store.Ledger(w.tb.Context(), id, 0, 1000)
	for _, e := range slices.Backward(ledger) {
		out = append(out, fmt.Sprintf("%d %s %d %d %s", e.Number, e.Kind, int64(e.Amount), e.At.UnixMilli(), e.Reference))
	}
	return out, err
}

func orOK(refused string) string {
	if refused == "" {
		return "ok"
	}
	return refused
}
