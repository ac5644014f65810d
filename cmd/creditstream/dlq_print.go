package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/letters"
	"github.com/creditstream/creditstream/rating"
)

// How many lines of one count are shown; the rest is summed up.
const maxCounts = 24

// printer writes lines and keeps what failed.
type printer struct {
	out    io.Writer
	err    error // of the writer
	failed int
}

func (p *printer) line(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.out, format+"\n", a...)
	}
}

func (p *printer) fail(format string, a ...any) {
	p.failed++
	p.line("%s", fmt.Errorf(format, a...))
}

// errSomeFailed is the error of a command that has told of each failure by itself.
type errSomeFailed int

func (e errSomeFailed) Error() string { return count(int(e), "failure") + ": see above" }

func (p *printer) end() error {
	if p.err == nil && p.failed > 0 {
		return errSomeFailed(p.failed)
	}
	return p.err
}

// unread tells of dead letters that may be of the account or the source asked for.
func (p *printer) unread(index *letters.Index) {
	if index.Unread > 0 {
		p.line("%s more open, whose account or source cannot be read: give --format, --zone and --mapping of the processors, or leave out --account and --source",
			count(index.Unread, "dead letter"))
	}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

// safe returns s with everything escaped that is not printable.
func safe(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
}

const stamp = "2006-01-02T15:04:05.000Z"

func entryLine(e *letters.Entry) string {
	who := cmp.Or(safe(e.Account), "-") + " " + cmp.Or(safe(e.Source), "-")
	line := fmt.Sprintf("%s  %s  %s  %s  %s", safe(e.ID.String()), e.Appended.UTC().Format(stamp), safe(string(e.Reason)), who, safe(e.Message))
	if m := e.Marker; m != nil {
		line += fmt.Sprintf("  [%s by %s at %s]", safe(m.Done), safe(m.By), m.At.UTC().Format(stamp))
	}
	return line
}

// list is `creditstream dlq list`.
func (c *dlqConfig) list(ctx context.Context, box *letters.Box, out io.Writer) error {
	index, err := box.Index(ctx, &c.filter)
	if err != nil {
		return err
	}
	sum := index.Sum()
	if c.metrics != "" {
		if err := writeMetrics(c.metrics, &sum); err != nil {
			return err
		}
	}
	var shown []*letters.Entry
	for i := range index.Entries {
		if e := &index.Entries[i]; len(shown) < c.limit && (c.all || e.Marker == nil) {
			shown = append(shown, e)
		}
	}
	p := printer{out: out}
	if c.json {
		c.listJSON(&p, index, &sum, shown)
	} else {
		c.listText(&p, index, &sum, shown)
	}
	return p.end()
}

func (c *dlqConfig) listText(p *printer, index *letters.Index, sum *letters.Sum, shown []*letters.Entry) {
	p.line("%s open, %d replayed, %d dropped", count(sum.Open, "dead letter"), sum.Replayed, sum.Dropped)
	p.unread(index)
	if index.Strange > 0 {
		p.line("%s of the topic are neither dead letters nor marks on them", count(index.Strange, "record"))
	}
	byReason := map[string]letters.Count{}
	for r, n := range sum.ByReason {
		byReason[string(r)] = n
	}
	byHour := map[string]letters.Count{}
	for h, n := range sum.ByHour {
		byHour[h.Format("2006-01-02 15:00Z")] = n
	}
	countsText(p, "reason", byReason)
	countsText(p, "source", sum.BySource)
	countsText(p, "hour", byHour)
	if len(shown) > 0 {
		p.line("\nthe newest %d:", len(shown))
	}
	for _, e := range shown {
		p.line("%s", entryLine(e))
	}
}

// countsText writes one count, the most first, hours the newest first.
func countsText(p *printer, what string, by map[string]letters.Count) {
	if len(by) == 0 {
		return
	}
	p.line("\nopen by %s:", what)
	keys := slices.SortedFunc(maps.Keys(by), func(a, b string) int {
		if what == "hour" {
			return cmp.Compare(b, a)
		}
		return cmp.Or(cmp.Compare(by[b].Open, by[a].Open), cmp.Compare(a, b))
	})
	for _, k := range keys[:min(len(keys), maxCounts)] {
		p.line("%8d  %s  (the oldest %s)", by[k].Open, cmp.Or(safe(k), "not readable"), by[k].Oldest.UTC().Format(stamp))
	}
	rest := 0
	for _, k := range keys[min(len(keys), maxCounts):] {
		rest += by[k].Open
	}
	if rest > 0 {
		p.line("%8d  others", rest)
	}
}

// What `dlq list --json` writes. Members may be added.
type (
	letterJSON struct {
		ID       string        `json:"id"`
		State    string        `json:"state"` // open, replayed or dropped
		By       string        `json:"by,omitempty"`
		At       string        `json:"at,omitempty"`
		Why      string        `json:"why,omitempty"`
		Reason   rating.Reason `json:"reason"`
		Message  string        `json:"message"`
		Appended string        `json:"appended"`
		First    string        `json:"first_appended,omitempty"` // before it was sent again
		Account  string        `json:"account,omitempty"`
		Source   string        `json:"source,omitempty"`
		Bytes    int           `json:"bytes"`
		Cut      bool          `json:"cut,omitempty"`
	}
	countJSON struct {
		Open      int    `json:"open"`
		OldestAge int64  `json:"oldest_age_seconds"`
		Oldest    string `json:"oldest"`
	}
	listJSON struct {
		Open     int                         `json:"open"`
		Replayed int                         `json:"replayed"`
		Dropped  int                         `json:"dropped"`
		Strange  int                         `json:"strange"`
		Unread   int                         `json:"unread"` // open ones that may be of the account or the source asked for
		ByReason map[rating.Reason]countJSON `json:"by_reason"`
		BySource map[string]countJSON        `json:"by_source"`
		ByHour   map[string]countJSON        `json:"by_hour"`
		Letters  []letterJSON                `json:"letters"`
	}
)

func (c *dlqConfig) listJSON(p *printer, index *letters.Index, sum *letters.Sum, shown []*letters.Entry) {
	now := time.Now()
	v := listJSON{
		Open: sum.Open, Replayed: sum.Replayed, Dropped: sum.Dropped, Strange: index.Strange, Unread: index.Unread,
		ByReason: map[rating.Reason]countJSON{}, BySource: map[string]countJSON{}, ByHour: map[string]countJSON{}, Letters: []letterJSON{},
	}
	one := func(n letters.Count) countJSON {
		return countJSON{Open: n.Open, OldestAge: int64(now.Sub(n.Oldest).Seconds()), Oldest: n.Oldest.UTC().Format(stamp)}
	}
	for k, n := range sum.ByReason {
		v.ByReason[k] = one(n)
	}
	for k, n := range sum.BySource {
		v.BySource[k] = one(n)
	}
	for k, n := range sum.ByHour {
		v.ByHour[k.Format(time.RFC3339)] = one(n)
	}
	for _, e := range shown {
		l := letterJSON{
			ID: e.ID.String(), State: "open", Reason: e.Reason, Message: e.Message, Appended: e.Appended.UTC().Format(stamp),
			Account: e.Account, Source: e.Source, Bytes: e.Bytes, Cut: e.Cut,
		}
		if !e.First.Equal(e.Appended) {
			l.First = e.First.UTC().Format(stamp)
		}
		if m := e.Marker; m != nil {
			l.State, l.By, l.At, l.Why = m.Done, m.By, m.At.UTC().Format(stamp), m.Text
		}
		v.Letters = append(v.Letters, l)
	}
	text, err := json.Marshal(v)
	if err != nil {
		p.err = err
		return
	}
	p.line("%s", text)
}

// writeMetrics writes what no processor can know cheaply: it would have to read the
// whole topic to learn which dead letters are still open.
func writeMetrics(file string, sum *letters.Sum) error {
	reg := prometheus.NewRegistry()
	f := promauto.With(reg)
	open := f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "creditstream_letters_open_records", Help: "Dead letters that are neither replayed nor dropped, by reason.",
	}, []string{"reason"})
	oldest := f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "creditstream_letters_oldest_open_timestamp_seconds", Help: "When the oldest open dead letter was appended the first time, by reason; absent when there is none.",
	}, []string{"reason"})
	for _, r := range rating.Reasons() {
		open.WithLabelValues(string(r))
	}
	for r, n := range sum.ByReason {
		open.WithLabelValues(string(r)).Set(float64(n.Open))
		oldest.WithLabelValues(string(r)).Set(float64(n.Oldest.UnixMilli()) / 1000)
	}
	if err := prometheus.WriteToTextfile(file, reg); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// show is `creditstream dlq show`.
func (c *dlqConfig) show(ctx context.Context, box *letters.Box, id alerts.LetterID, out io.Writer) error {
	l, e, err := box.Letter(ctx, id)
	if err != nil {
		return err
	}
	if c.raw {
		_, err := out.Write(l.Value)
		return err
	}
	p := printer{out: out}
	state := "open"
	if m := e.Marker; m != nil {
		state = fmt.Sprintf("%s by %s at %s", safe(m.Done), safe(m.By), m.At.UTC().Format(stamp))
		if m.Text != "" {
			state += ": " + safe(m.Text)
		}
	}
	p.line("id        %s", l.ID)
	p.line("state     %s", state)
	p.line("reason    %s", safe(string(l.Reason)))
	p.line("message   %s", safe(l.Message))
	p.line("appended  %s", l.Appended.UTC().Format(stamp))
	if !l.First.Equal(l.Appended) {
		p.line("first     %s, before it was sent again", l.First.UTC().Format(stamp))
	}
	p.line("account   %s", cmp.Or(safe(e.Account), "not readable"))
	p.line("source    %s", cmp.Or(safe(e.Source), "not readable"))
	if l.Key != nil {
		p.line("key       %s", safe(string(l.Key)))
	}
	for _, h := range l.Headers {
		p.line("header    %s: %s", safe(h.Key), safe(string(h.Value)))
	}
	if l.Cut != "" {
		p.line("cut       %s", safe(l.Cut))
	}
	p.line("value     %s\n", count(len(l.Value), "byte"))
	if p.err == nil {
		_, p.err = io.WriteString(out, shown(l.Value))
	}
	return p.end()
}

// shown returns bytes for a terminal: text with everything escaped but what prints,
// line ends and tabs; or, when they are no text, a hexadecimal dump.
func shown(value []byte) string {
	if !utf8.Valid(value) || slices.Contains(value, 0) {
		return hex.Dump(value)
	}
	var b strings.Builder
	for _, r := range string(value) {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	if len(value) > 0 && value[len(value)-1] != '\n' {
		b.WriteByte('\n')
	}
	return b.String()
}

// replayed tells of a replay, line by line.
type replayed struct {
	printer

	verb   string
	total  int
	done   int
	kinds  map[string]int
	amount map[string]rating.Micros // by currency
}

func newReplayed(out io.Writer, total int, verb string) *replayed {
	return &replayed{printer: printer{out: out}, verb: verb, total: total, kinds: map[string]int{}, amount: map[string]rating.Micros{}}
}

func (p *replayed) print(r letters.Result) {
	p.done++
	at := fmt.Sprintf("%d/%d  %s  ", p.done, p.total, safe(r.Entry.ID.String()))
	if r.Err != nil {
		p.fail("%snot sent: %w", at, r.Err)
		return
	}
	verb, v := p.verb, r.Verdict
	switch {
	case v == nil:
		p.kinds["not looked at: give --deck"]++
	case v.Outcome == balance.Parked:
		p.kinds["parked again as "+string(v.Reason)]++
		verb += fmt.Sprintf(": would be parked again as %s: %s", v.Reason, safe(v.Message))
	case v.Outcome == balance.Skipped:
		p.kinds["skipped"]++
		verb += ": would be skipped: " + safe(v.Message)
	case v.Outcome == balance.Free:
		p.kinds["free"]++
		verb += ": would be free"
	default:
		p.kinds["charged"]++
		p.amount[v.Charge.Currency] += v.Charge.Amount
		verb += fmt.Sprintf(": would be charged %s %s for %d s, %s", v.Charge.Amount, v.Charge.Currency, v.Charge.ChargedSeconds, safe(v.Charge.Destination))
	}
	p.line("%s%s", at, verb)
}

// missing tells of ids that are nowhere.
func (p *replayed) missing(ids []alerts.LetterID, index *letters.Index) {
	for _, id := range ids {
		if index.Find(id) == nil {
			p.fail("%s: %w", id, letters.ErrUnknown)
		}
	}
}

func (p *replayed) end(index *letters.Index) error {
	sent := 0
	for _, n := range p.kinds {
		sent += n
	}
	words := []string{fmt.Sprintf("%s: %d %s", count(p.done, "dead letter"), sent, p.verb)}
	for _, k := range slices.Sorted(maps.Keys(p.kinds)) {
		words = append(words, fmt.Sprintf("%d %s", p.kinds[k], k))
	}
	for _, currency := range slices.Sorted(maps.Keys(p.amount)) {
		words = append(words, fmt.Sprintf("in sum %s %s", p.amount[currency], currency))
	}
	p.line("%s", strings.Join(words, ", "))
	p.unread(index)
	return p.printer.end()
}
