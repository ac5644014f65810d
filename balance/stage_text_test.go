package balance_test

import (
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// money writes an amount as short as it can be read.
func money(m rating.Micros) string {
	whole, fraction, _ := strings.Cut(m.String(), ".")
	if fraction = strings.TrimRight(fraction, "0"); fraction == "" {
		return whole
	}
	for len(fraction) < 2 {
		fraction += "0"
	}
	return whole + "." + fraction
}

// moment writes a time to the second, or finer where it is.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func timerText(c *balance.Command) string {
	text := string(c.Type) + " " + c.Account
	if c.N > 0 {
		text += "/" + i64(c.N)
	}
	if c.Amount != nil {
		text += " " + money(*c.Amount)
	}
	return text
}

// tell says what an entry emits, and keeps its wishes.
func (s *stage) tell(e *balance.Entry) {
	s.tb.Helper()
	for i := range e.Events {
		ev := &e.Events[i]
		if ev.Sequence <= s.seq[ev.Account] {
			s.tb.Fatalf("event %s of %s has sequence %d after %d", ev.Kind, ev.Account, ev.Sequence, s.seq[ev.Account])
		}
		s.seq[ev.Account] = ev.Sequence
		words := []string{"event", ev.Account, ev.Kind}
		for _, f := range ev.Fields {
			words = append(words, f.Name+"="+fieldText(f))
		}
		s.say("%s -> %s %s", strings.Join(words, " "), money(ev.Balance), ev.Currency)
	}
	for _, w := range e.Wishes {
		s.say("wish %s/%d %s %s", w.Account, w.N, money(w.Amount), w.Currency)
	}
	for i := range e.Requests {
		p := &e.Requests[i]
		s.say("payment %s %s %s by %s", p.ID(), money(p.Amount), p.Currency, p.PaymentMethod)
	}
	s.wishes = append(s.wishes, e.Wishes...)
}

// fieldText turns micros into amounts and milliseconds into times.
func fieldText(f balance.Field) string {
	n, err := strconv.ParseInt(f.Value, 10, 64)
	switch {
	case err != nil:
	case f.Name == "amount" || f.Name == "threshold":
		return money(rating.Micros(n))
	case strings.HasSuffix(f.Name, "_at") || f.Name == "until":
		return moment(time.UnixMilli(n))
	}
	return f.Value
}

// show tells what is stored of an account.
func (s *stage) show(id string) {
	s.tb.Helper()
	a := s.account(id)
	s.say("%s %s: %s = %s funded - %s spent - %s forfeited; %s", id, a.Currency, money(a.Balance()),
		money(a.Funded), money(a.Spent), money(a.Forfeited), a.Status())
	for _, l := range a.Lots {
		s.say("  lot %s of %s left of %s, expires %s", lotKind(l.ID), money(l.Remaining), money(l.Amount), moment(l.ExpireAt))
	}
	if r := a.AutoRecharge; r != nil {
		words := []string{"  recharge", r.State, "n=" + i64(r.N)}
		if r.Pending > 0 {
			words = append(words, "pending="+money(r.Pending))
		}
		if !r.Enabled {
			words = append(words, "off")
		}
		s.say("%s", strings.Join(words, " "))
	}
}

func lotKind(id string) string {
	if id[0] == 'r' {
		return id
	}
	return map[byte]string{'t': "top-up", 'a': "adjustment", 'p': "promotion"}[id[0]]
}

// moneyIn is one line of an account's ledger.
type moneyIn struct {
	kind, reference string
	amount          int64
	at              time.Time
}

// ledger reads the ledger, newest first.
func (s *stage) ledger(id string) []moneyIn {
	s.tb.Helper()
	lines, err := s.rdb.LRange(s.tb.Context(), "cs:{"+strconv.Itoa(s.store.ShardOf(id))+"}:ledger:"+id, 0, -1).Result()
	if err != nil {
		s.tb.Fatal(err)
	}
	out := make([]moneyIn, len(lines))
	for i, line := range lines {
		f := strings.Fields(line)
		amount, err := strconv.ParseInt(f[1], 10, 64)
		at, err2 := strconv.ParseInt(f[2], 10, 64)
		if err != nil || err2 != nil {
			s.tb.Fatalf("ledger %q: %v %v", line, err, err2)
		}
		out[i] = moneyIn{kind: f[0], amount: amount, at: time.UnixMilli(at), reference: strings.Join(f[3:], " ")}
		if f[0] == "expiry" {
			out[i].amount = -amount
		}
	}
	return out
}
