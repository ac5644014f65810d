package corrections

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// maxElsewhere is how many calls of almost the same name are kept for a call.
const maxElsewhere = 100

// An ElsewhereError says that a call was not rated under the name that its corrected
// CDR gives it, and that one of the same id was charged whose name differs by little. To rate the
// corrected CDR, too, would charge the call twice, if it is the same.
type ElsewhereError struct {
	Differs    []string // members of the CDR: source, account, answered_at
	Source, ID string   // these four are of the one that was charged
	Account    string
	AnsweredAt time.Time
	Cost       rating.Micros // so far
	Currency   string
}

// Error implements error.
func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("no call of this name was charged, but one that differs in %s costs %s %s: source %q, id %q, account %q, answered_at %s; "+
		"if it is this call, do not charge it once more: correct that one first, by these members and \"duration_ms\":0, and then run this again",
		strings.Join(e.Differs, " and "), e.Cost, e.Currency, e.Source, e.ID, e.Account, e.AnsweredAt.UTC().Format(time.RFC3339Nano))
}

// A SeveralError says that a corrected CDR without an answer time may be of more than
// one call.
type SeveralError struct {
	Calls []time.Time // the answer times of those that were charged
}

// Error implements error.
func (e *SeveralError) Error() string {
	return fmt.Sprintf("%d calls of this source, id and account were charged, the first answered at %s and the last at %s, and this one has no answer time: "+
		"give the answered_at of the one that is meant, and \"duration_ms\":0", len(e.Calls),
		e.Calls[0].UTC().Format(time.RFC3339Nano), e.Calls[len(e.Calls)-1].UTC().Format(time.RFC3339Nano))
}

// partly is a name of a call without the members that may have been another.
type partly struct {
	source, id, account string
	answeredNanos       int64
}

// partsOf returns what two names have in common that may be of one call: source and
// id, or all but one of them.
func partsOf(of *balance.CDRName, account string) []partly {
	parts := []partly{{source: of.Source, id: of.ID}}
	if of.AnsweredAt.IsZero() {
		return parts
	}
	at := of.AnsweredAt.UnixNano()
	return append(parts, partly{source: of.Source, account: account, answeredNanos: at}, partly{id: of.ID, account: account, answeredNanos: at})
}

// readElsewhere looks under which other names calls were charged that have no charge
// under their own. It reads the topic once more, as few files have such calls and then
// the records of all accounts count.
func (r *run) readElsewhere(ctx context.Context, partitions int) error {
	sought := map[partly][]*call{}
	for _, x := range r.calls {
		if x.paid {
			continue
		}
		for _, p := range partsOf(&x.of, x.account) {
			sought[p] = append(sought[p], x)
		}
	}
	if len(sought) == 0 {
		return nil
	}
	return r.eachRated(ctx, partitions, func(rec *kafka.Record) {
		var v rated
		if err := json.Unmarshal(rec.Value, &v); err != nil {
			if !r.accounts[string(rec.Key)] { // else it has been counted
				r.strange.take(rec, err)
			}
			return
		}
		if v.Outcome != balance.Charged || v.Charge <= 0 {
			return
		}
		of := balance.CDRName{Source: v.Source, ID: v.ID, AnsweredAt: v.AnsweredAt}
		for _, p := range partsOf(&of, v.Account) {
			for _, x := range sought[p] {
				y := r.callOf(of, v.Account)
				y.takeRated(&v)
				x.takeElsewhere(y)
			}
		}
	})
}

// takeElsewhere notes that a call of almost the same name was charged.
func (c *call) takeElsewhere(y *call) {
	if y != c && len(c.elsewhere) < maxElsewhere && !slices.Contains(c.elsewhere, y) {
		c.elsewhere = append(c.elsewhere, y)
	}
}

// costly returns a call of almost the same name that still costs something, one with
// the same id if there is one; nil: there is none.
func (c *call) costly() *call {
	var found *call
	for _, y := range c.elsewhere {
		if y.cost() > 0 && (found == nil || y.of.ID == c.of.ID && found.of.ID != c.of.ID) {
			found = y
		}
	}
	return found
}

// chargedElsewhere returns an *ElsewhereError when a call of the same id and almost the
// same name still costs something.
func (c *call) chargedElsewhere() error {
	found := c.costly()
	if found == nil || found.of.ID != c.of.ID {
		return nil
	}
	e := &ElsewhereError{
		Source: found.of.Source, ID: found.of.ID, Account: found.account, AnsweredAt: found.of.AnsweredAt, Cost: found.cost(), Currency: found.currency,
	}
	for _, m := range [...]struct {
		name string
		same bool
	}{
		{"source", e.Source == c.of.Source},
		{"account", e.Account == c.account},
		{"answered_at", e.AnsweredAt.Equal(c.of.AnsweredAt)},
	} {
		if !m.same {
			e.Differs = append(e.Differs, m.name)
		}
	}
	return e
}

// neverRated returns ErrNeverRated, with a call of the same source, account and answer
// time that has another id, if there is one: an account may have several at a time.
func (c *call) neverRated() error {
	y := c.costly()
	if y == nil {
		return ErrNeverRated
	}
	return fmt.Errorf("%w, unless it is the one that is charged as id %q, of the same source, account and answer time, and costs %s %s: "+
		"then correct that one", ErrNeverRated, y.of.ID, y.cost(), y.currency)
}

// meant returns the call that a corrected CDR is about: that of its name or, if it was
// not answered, the only one that was charged with its source, id and account. An
// error says why its cost is not known, or that it was not rated.
func (r *run) meant(c *rating.CDR) (*call, error) {
	x := r.calls[nameOf(c.Source, c.ID, c.Account, c.AnsweredAt)]
	if c.Answered() {
		return x, r.known(x)
	}
	var charged []*call
	var times []time.Time
	for _, y := range x.elsewhere {
		if y.account == x.account {
			charged, times = append(charged, y), append(times, y.of.AnsweredAt)
		}
	}
	switch len(charged) {
	case 0:
		return x, r.known(x)
	case 1:
		return charged[0], nil
	}
	slices.SortFunc(times, time.Time.Compare)
	return x, &SeveralError{Calls: times}
}
