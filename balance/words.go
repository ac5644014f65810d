package balance

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/creditstream/creditstream/rating"
)

// words returns the command for the script: names and texts in turn. Money is
// micros in digits; a removed setting is the empty text.
func (c *Command) words() []any {
	var w []any
	add := func(name, value string) { w = append(w, name, value) }
	micros := func(name string, m *rating.Micros) {
		if m != nil {
			add(name, strconv.FormatInt(int64(*m), 10))
		}
	}
	add("type", string(c.Type))
	micros("amount", c.Amount)
	for _, f := range [...]Field{
		{"currency", c.Currency},
		{"status", c.Status},
		{"code", c.Code},
		{"class", string(c.Class)},
		{"lot", c.Lot},
		{"reason", url.QueryEscape(c.Reason)},
		{"operator", c.Operator},
	} {
		if f.Value != "" {
			add(f.Name, f.Value)
		}
	}
	add("n", strconv.FormatInt(c.N, 10))
	add("seen", strconv.FormatInt(c.Seen, 10))
	if c.Days != 0 {
		add("days", strconv.FormatInt(c.Days, 10))
	}
	if !c.Expires.IsZero() {
		add("expires", strconv.FormatInt(c.Expires.UnixMilli(), 10))
	}
	if c.Put != nil {
		w = append(w, c.Put.words()...)
	}
	return w
}

func (s *Settings) words() []any {
	var w []any
	add := func(name, value string) { w = append(w, name, value) }
	if s.Currency != "" {
		add("cur", s.Currency)
	}
	if s.Reopen {
		add("reopen", "1")
	}
	if s.LowBalance != nil {
		add("lows", joinLevels(s.LowBalance.Value))
	}
	if o := s.OverdraftLimit; o != nil {
		add("overdraft", o.text(func(m rating.Micros) string { return strconv.FormatInt(int64(m), 10) }))
	}
	if m := s.LotMonths; m != nil {
		add("months", m.text(strconv.Itoa))
	}
	if b := s.BlockedPrefixes; b != nil {
		add("blocked", b.text(func(p []string) string { return strings.Join(p, ",") }))
	}
	if b := s.BlockHighRisk; b != nil {
		add("risk", flag[*b])
	}
	return append(w, rechargeWords(s.AutoRecharge)...)
}

var flag = map[bool]string{true: "1", false: "0"} //nolint:gochecknoglobals // immutable

// text is the value as a word, and the empty text for null.
func (n *Nullable[T]) text(of func(T) string) string {
	if n.Null {
		return ""
	}
	return of(n.Value)
}

// rechargeWords of nil are none; those of null remove what there is.
func rechargeWords(n *Nullable[AutoRecharge]) []any {
	if n == nil {
		return nil
	}
	if n.Null {
		return []any{"auto", "0", "trigger", "", "recharge", "", "pm", "", "caps", "", "most", ""}
	}
	var w []any
	a := n.Value
	if a.Enabled != nil {
		w = append(w, "auto", flag[*a.Enabled])
	}
	if a.Trigger != nil {
		w = append(w, "trigger", microsText(a.Trigger))
	}
	if a.Amount != nil {
		w = append(w, "recharge", microsText(a.Amount))
	}
	if a.PaymentMethod != nil {
		w = append(w, "pm", *a.PaymentMethod)
	}
	if a.Most != nil {
		w = append(w, "most", microsText(a.Most))
	}
	if a.Caps != nil {
		w = append(w, "caps", a.Caps.text(Caps.word))
	}
	return w
}

func microsText(m *rating.Micros) string { return strconv.FormatInt(int64(*m), 10) }

// word writes caps as the script wants them: count and micros of a day, then of a
// month; nothing where there is no cap.
func (c Caps) word() string {
	parts := make([]string, 0, 4)
	for _, w := range [...]*Cap{c.PerDay, c.PerMonth} {
		count, amount := "", ""
		if w != nil && w.Count != nil {
			count = strconv.FormatInt(*w.Count, 10)
		}
		if w != nil && w.Amount != nil {
			amount = microsText(w.Amount)
		}
		parts = append(parts, count, amount)
	}
	return strings.Join(parts, ",")
}

// joinLevels writes levels for the scripts: amounts in micros, percentages with
// their sign, each once.
func joinLevels(levels []Level) string {
	l := slices.Clone(levels)
	slices.SortFunc(l, func(a, b Level) int {
		return cmp.Or(cmp.Compare(b.Amount, a.Amount), cmp.Compare(b.Percent, a.Percent))
	})
	l = slices.Compact(l)
	s := make([]string, len(l))
	for i, m := range l {
		if m.Percent != 0 {
			s[i] = strconv.Itoa(m.Percent) + "%"
		} else {
			s[i] = strconv.FormatInt(int64(m.Amount), 10)
		}
	}
	return strings.Join(s, ",")
}
