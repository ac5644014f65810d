package simulation_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
	"github.com/creditstream/creditstream/rating"
)

// check compares what is at the end with what the logs say.
func (w *world) check() {
	accounts := w.replay()
	charges := w.checkRecords(accounts)
	for _, name := range w.names {
		p := accounts[name]
		if p == nil {
			p = oracle.New(name)
		}
		p.Call(charges[name])
		w.checkAccount(p)
	}
	w.checkAbsent(accounts)
	w.checkUsage(charges)
	w.checkEvents()
	w.checkPayments(accounts)
}

// replay has the oracle live through the commands. Expiries and requests are
// checked where they stand in the log.
func (w *world) replay() map[string]*oracle.Account {
	out := map[string]*oracle.Account{}
	for p := range w.commands {
		src := balance.Source{Topic: commandTopic, Partition: p}
		for _, r := range w.log.all[src].records {
			c, err := balance.DecodeCommand(r.Value)
			if err != nil {
				if w.seen.letters[place{src, r.Offset}] != "bad_command" {
					w.violation("no-dead-letter", "%s %d: %v", src, r.Offset, err)
				}
				continue
			}
			if c.Type == balance.Tick {
				continue
			}
			a := out[c.Account]
			if a == nil {
				a = oracle.New(c.Account)
				out[c.Account] = a
			}
			w.step(a, c, r.AppendMillis)
		}
	}
	maps.DeleteFunc(out, func(_ string, a *oracle.Account) bool { return !a.Exists })
	return out
}

func (w *world) step(a *oracle.Account, c *balance.Command, at int64) {
	n := a.N
	if c.Type == balance.ExpireLot {
		w.checkExpiry(a, c, at)
	}
	funded := a.Funded().Int64()
	a.Command(c, at)
	if a.N == n {
		return
	}
	needed := slices.ContainsFunc(w.redis.wishes, func(x wish) bool {
		return x.account == a.ID && x.n == a.N && x.funded-x.spent-x.forfeited+funded-x.funded <= x.one
	})
	if !needed {
		w.violation("unneeded-payment", "%s/%d is accepted after money has come in", a.ID, a.N)
	}
}

// checkExpiry: a lot forfeits no more than it holds after all calls that were
// appended before its end.
func (w *world) checkExpiry(a *oracle.Account, c *balance.Command, at int64) {
	for _, l := range a.Lots {
		if l.Name() != c.Lot || l.Gone() {
			continue
		}
		due := l.Expires() + w.grace().Milliseconds() - maxSkew.Milliseconds() // by a clock that is ahead
		before := at - w.business(5*time.Second).Milliseconds()                // decided some time before: what came since does not count
		spent := int64(0)
		counted := map[string]bool{}
		for p, c := range w.calls {
			r := &w.log.all[p.source].records[p.offset]
			if c.account == a.ID && r.AppendMillis <= min(due, before) && !counted[c.identity] && w.meaning(p, c, a) == "" {
				counted[c.identity] = true
				spent += c.charge
			}
		}
		if held := a.LeftAfter(l, big.NewInt(spent)); int64(*c.Amount) > held.Int64() && a.Taken().Sign() == 0 {
			w.violation("expired-too-much", "%s forfeits %d of %s, which held %s", a.ID, int64(*c.Amount), c.Lot, held)
		}
	}
}

// meaning is why a record is parked, or "".
func (w *world) meaning(p place, c *call, a *oracle.Account) string {
	r := &w.log.all[p.source].records[p.offset]
	switch {
	case c.parked == "not_json":
		return c.parked
	case r.AppendMillis*1e6-c.answered > int64(w.window()):
		return "too_old"
	case c.answered-r.AppendMillis*1e6 > int64(24*time.Hour):
		return "bad_field" // too far ahead
	case c.parked != "" || c.free:
		return c.parked
	case a == nil || a.Created > r.AppendMillis+slack.Milliseconds():
		return "unknown_account"
	case c.charge > 0 && c.currency != a.Currency:
		return "currency_mismatch"
	}
	return ""
}

// checkRecords: every CDR has one outcome, the right one, and it is told. It
// returns what accounts were charged.
func (w *world) checkRecords(accounts map[string]*oracle.Account) map[string]int64 {
	charged, copies := map[string]int{}, map[string]bool{}
	sums := map[string]int64{}
	places := slices.SortedFunc(maps.Keys(w.calls), func(a, b place) int {
		return strings.Compare(fmt.Sprintf("%s %06d", a.source, a.offset), fmt.Sprintf("%s %06d", b.source, b.offset))
	})
	for _, p := range places {
		c := w.calls[p]
		shard := p.source.Partition % w.shards
		if c.parked != "not_json" {
			shard = w.shardOf(c.account)
		}
		got := w.outcome(shard, p)
		want := w.meaning(p, c, accounts[c.account])
		if want != "" {
			if got != "parked "+want {
				w.violation("outcome", "%s %d: %q, want parked %s", p.source, p.offset, got, want)
			}
			if w.seen.letters[p] != want {
				w.violation("no-dead-letter", "%s %d %s: %q", p.source, p.offset, want, w.seen.letters[p])
			}
			if _, ok := w.seen.rated[p]; ok {
				w.violation("rated-but-parked", "%s %d %s", p.source, p.offset, want)
			}
			continue
		}
		w.checkRated(p, c, got)
		switch {
		case got == "" && c.claims:
			charged[c.identity]++
			fallthrough
		case got == "duplicate" && c.claims:
			if !copies[c.identity] {
				copies[c.identity] = true
				sums[c.account] += c.charge
			}
		case got != "":
			w.violation("outcome", "%s %d: %q, want free", p.source, p.offset, got)
		}
	}
	for id := range copies {
		if charged[id] != 1 {
			w.violation("charged-not-once", "call %s: %d times", id, charged[id])
		}
	}
	return sums
}

// outcome is what the one entry of the record says: "", "duplicate", "parked why".
func (w *world) outcome(shard int, p place) string {
	found, out := 0, ""
	for _, e := range w.redis.entries {
		if !e.undone && e.shard == shard && e.source == p.source && e.first <= p.offset && p.offset < e.end {
			found++
			out = e.of(w.calls[p], p.offset)
		}
	}
	if found != 1 {
		return fmt.Sprintf("in %d entries", found)
	}
	return out
}

func (w *world) checkAccount(p *oracle.Account) {
	sh := w.shardOf(p.ID)
	key := func(kind string) string { return fmt.Sprintf("cs:{%d}:%s:%s", sh, kind, p.ID) }
	h := w.redis.keys.hashes[key("acct")]
	if len(h) == 0 {
		if p.Exists {
			w.violation("account-lost", "%s", p.ID)
		}
		return
	}
	state := h["state"]
	if state == "" {
		state = "idle"
	}
	got := []string{state, strconv.FormatInt(whole(h["n"]), 10), fmt.Sprintf("%d %d %d %d %t", whole(h["funded"]), whole(h["spent"]), whole(h["forfeited"]), whole(h["adjusted"]), h["closed"] == "1")}
	upTo := whole(h["gone"])
	lots := w.redis.keys.do([]string{"ZRANGE", key("lots"), "0", "-1", "WITHSCORES"})
	for l := lots.([]any); len(l) > 1; l = l[2:] {
		amount := whole(strings.Split(l[0].(string), ":")[1])
		upTo += amount
		got = append(got, fmt.Sprintf("lot %s %s %d", l[0], l[1], max(0, min(amount, upTo-whole(h["spent"])-whole(h["forfeited"])))))
	}
	for _, e := range slices.Backward(w.redis.keys.lists[key("ledger")]) {
		f := strings.SplitN(e, " ", 4)
		if f[1] == "expiry" {
			f[2] = strconv.FormatInt(-whole(f[2]), 10)
		}
		got = append(got, strings.Join(f, " "))
	}
	if want := p.Holds(); !slices.Equal(got, want) {
		w.violation("account", "%s holds\n  %s\nwant\n  %s", p.ID, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	bal := whole(h["funded"]) - whole(h["spent"]) - whole(h["forfeited"])
	if h["auto"] == "1" && h["closed"] != "1" && state == "idle" && bal <= whole(h["trigger"]) {
		w.violation("recharge-lost", "%s has %d, the trigger is %s", p.ID, bal, h["trigger"])
	}
	if state == "pending" || state == "unresolved" {
		asked := slices.ContainsFunc(w.requests, func(q request) bool { return q.account == p.ID && q.n == whole(h["n"]) })
		if !asked {
			w.violation("payment-never-asked", "%s/%s", p.ID, h["n"])
		}
	}
}

// checkRated: what is told of a CDR is what it costs, and that it is charged or free
// when it was, or a copy; other timelines may have told that, too.
func (w *world) checkRated(p place, c *call, got string) {
	u, ok := w.seen.rated[p]
	if !ok {
		w.violation("no-rated-record", "%s %d %s", p.source, p.offset, got)
		return
	}
	for _, charge := range u.charges {
		if m, err := rating.ParseMicros(charge); err != nil || int64(m) != c.charge {
			w.violation("rated-charge", "%s %d: %s, want %d micros", p.source, p.offset, charge, c.charge)
		}
	}
	own := "charged"
	if c.charge == 0 {
		own = "free"
	}
	want := cmp.Or(got, own)
	if !slices.Contains(u.outcomes, want) {
		w.violation("rated-outcome", "%s %d: told as %v, want %s", p.source, p.offset, u.outcomes, want)
	}
	for _, o := range u.outcomes {
		if o != own && o != "duplicate" || o == "duplicate" && !c.claims {
			w.violation("rated-outcome", "%s %d: told as %s", p.source, p.offset, o)
		}
	}
}

// checkUsage: a reader of rated-cdrs who counts each call once has what was spent.
func (w *world) checkUsage(charges map[string]int64) {
	counted, sums := map[string]bool{}, map[string]int64{}
	for p, u := range w.seen.rated {
		c := w.calls[p]
		if c == nil {
			w.violation("rated-without-record", "%v", p)
			continue
		}
		if key := u.account + " " + u.identity; !counted[key] {
			counted[key] = true
			sums[u.account] += c.charge
		}
	}
	for a, sum := range sums {
		if sum != charges[a] {
			w.violation("usage-ledger-differs", "%s: %d, spent %d", a, sum, charges[a])
		}
	}
}

// checkAbsent: what an entry says of accounts that do not exist is so in the log.
func (w *world) checkAbsent(accounts map[string]*oracle.Account) {
	for _, e := range w.redis.entries {
		for id, until := range e.unknown {
			if a := accounts[id]; a != nil && a.Created < until {
				w.violation("absent-though-there", "%s at %d: %s is there since %d, not from %d on", e.source, e.first, id, a.Created, until)
			}
		}
	}
}

func (w *world) checkEvents() {
	causes := map[string]bool{}
	for _, e := range w.redis.entries {
		for _, x := range e.events {
			causes[x.id] = true
			if _, ok := w.seen.events[x.id]; !ok && !e.undone {
				w.violation("event-lost", "%s", x.id)
			}
		}
	}
	for id := range w.seen.events {
		if !causes[id] {
			w.violation("event-without-cause", "%s", id)
		}
	}
}

// checkPayments: every request is one that the log holds, and says one thing.
func (w *world) checkPayments(accounts map[string]*oracle.Account) {
	amounts := map[string]int64{}
	for _, q := range w.requests {
		id := fmt.Sprintf("%s/%d", q.account, q.n)
		if was, ok := amounts[id]; ok && was != q.amount {
			w.violation("payment-of-two-amounts", "%s: %d and %d", id, was, q.amount)
		}
		amounts[id] = q.amount
		a := accounts[q.account]
		if a == nil || a.Asks[q.n] == nil {
			w.violation("payment-without-request", "%s", id)
		}
	}
}
