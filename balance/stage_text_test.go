package balance_test

import (
	"errors"
	"slices"
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
	if c.Days > 0 {
		text += " " + i64(c.Days) + "d"
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
	case slices.Contains([]string{"amount", "threshold", "requested", "cap_amount", "overdraft_limit"}, f.Name):
		return money(rating.Micros(n))
	case strings.HasSuffix(f.Name, "_at") || f.Name == "until":
		return moment(time.UnixMilli(n))
	}
	return f.Value
}

// show tells what is stored of an account.
func (s *stage) show(id string) {
	s.tb.Helper()
	if _, err := s.store.Account(s.tb.Context(), id); errors.Is(err, balance.ErrUnknownAccount) {
		s.say("%s: %s", id, err)
		return
	}
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

// ledger reads the whole ledger, newest first, by pages of two.
func (s *stage) ledger(id string) []balance.LedgerEntry {
	s.tb.Helper()
	var all []balance.LedgerEntry
	for before := int64(0); before != 1; {
		page, err := s.store.Ledger(s.tb.Context(), id, before, 2)
		if err != nil {
			s.tb.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
		before = page[len(page)-1].Number
	}
	for i, e := range all {
		if e.Number != int64(len(all)-i) {
			s.tb.Fatalf("ledger of %s: entry %d of %d has number %d", id, i, len(all), e.Number)
		}
	}
	return all
}

// showSettings tells what account.put has set.
func (s *stage) showSettings(id string) {
	s.tb.Helper()
	a := s.account(id)
	words := []string{id + ":"}
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+"="+value)
		}
	}
	var lows []string
	for _, l := range a.LowBalance {
		if l.Percent == 0 {
			lows = append(lows, money(l.Amount))
		} else {
			lows = append(lows, l.String())
		}
	}
	add("low", strings.Join(lows, ","))
	if a.LotMonths != 0 {
		add("lot_months", strconv.Itoa(a.LotMonths))
	}
	add("overdraft", money(a.Overdraft))
	add("blocked", strings.Join(a.BlockedPrefixes, ","))
	add("block_high_risk", strconv.FormatBool(a.BlockHighRisk))
	if r := a.AutoRecharge; r != nil {
		add("auto", map[bool]string{true: "on", false: "off"}[r.Enabled])
		if r.Trigger != nil {
			add("trigger", money(*r.Trigger))
		}
		if r.Amount != nil {
			add("amount", money(*r.Amount))
		}
		add("pm", r.PaymentMethod)
		add("day", capText(r.Caps.PerDay))
		add("month", capText(r.Caps.PerMonth))
	}
	s.say("%s", strings.Join(words, " "))
}

func capText(c *balance.Cap) string {
	if c == nil {
		return ""
	}
	count, sum := "-", "-"
	if c.Count != nil {
		count = i64(*c.Count)
	}
	if c.Amount != nil {
		sum = money(*c.Amount)
	}
	return count + "/" + sum
}
