package balance

import (
	"crypto/sha1" //nolint:gosec // an event id is a name, not a secret
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/creditstream/creditstream/rating"
)

// An Outcome says what became of one CDR.
type Outcome string

// Outcomes of a CDR.
const (
	Charged   Outcome = "charged"
	Free      Outcome = "free"
	Duplicate Outcome = "duplicate"
	Parked    Outcome = "parked"

	// Skipped is what is no call of its own. It is decided before Redis, which only
	// notes it in the entry; nothing is published of it.
	Skipped Outcome = "skipped"
)

// A Verdict is all that is known about one CDR once its batch is applied.
type Verdict struct {
	CDR     rating.CDR
	Charge  rating.Charge // of a duplicate: what it would have cost
	Outcome Outcome
	Reason  rating.Reason // when parked
	Message string        // when parked or skipped: for people
}

// An Entry is what one apply call decided: the reply of the script and, until it
// is published, an item of the outbox.
type Entry struct {
	Name   string // sha1 of the name before it and the entry's text
	Shard  int
	Source Source
	First  int64 // first offset, inclusive
	End    int64 // last offset, exclusive: the mark after it
	Stamp  int64 // > that of the entry before it; microseconds of the caller's clock or more

	// Exceptions holds the offsets whose outcome is not what the record alone
	// says (charged, or free when its charge is zero).
	Exceptions map[int64]Exception

	// Unknown holds accounts that do not exist: all their other debits in this entry
	// are parked. No command appended before the time given, in milliseconds, made one.
	Unknown  map[string]int64
	Events   []Event
	Wishes   []Wish
	Requests []PaymentRequest
}

// An Exception is the outcome of a record that is not plainly charged or free.
type Exception struct {
	Outcome Outcome
	Reason  rating.Reason
}

// An Event is one thing that happened to an account.
type Event struct {
	Account  string
	Kind     string // see EventKinds
	Sequence int64  // per account, rising; a reader drops what is older than what it has
	Balance  rating.Micros
	Currency string
	Offset   int64 // of the record that caused it, in the entry's source
	AtMillis int64 // append time of that record
	Fields   []Field
	digest   string
}

// A Field is one detail of an event. Values of money are micros, times are Unix
// milliseconds, and a reason for people is escaped as in the query of a URL.
type Field struct{ Name, Value string }

// Get returns the value of a field, or "".
func (e *Event) Get(name string) string {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// ID is <account>/<kind>/<sequence>-<digest of the content>: two events of one id
// say the same.
func (e *Event) ID() string {
	return e.Account + "/" + e.Kind + "/" + strconv.FormatInt(e.Sequence, 10) + "-" + e.digest
}

// EventKinds returns every kind of event; the CloudEvents type is
// creditstream.<kind>.v1.
func EventKinds() []string {
	return []string{
		"balance.low", "balance.recovered", "balance.depleted", "balance.restored",
		"funds.added", "funds.adjusted",
		"recharge.requested", "recharge.succeeded", "recharge.failed", "recharge.suppressed", "recharge.unresolved",
		"recharge.mismatched",
		"credit.expiring", "credit.expired",
		"account.suspended", "account.resumed", "account.closed",
	}
}

// A Wish is a recharge that an account asks for: it becomes the command
// recharge.request of the same fields.
type Wish struct {
	Account  string
	N        int64
	Amount   rating.Micros
	Currency string
	Seen     int64 // the account's count of money-in and settings commands
}

// A PaymentRequest asks the payment service for money. Its id is <account>/<n>.
type PaymentRequest struct {
	Account       string
	N             int64
	Amount        rating.Micros
	Currency      string
	PaymentMethod string
	Offset        int64
	AtMillis      int64
}

// ID is the recharge id, which a payment service must remember.
func (p *PaymentRequest) ID() string { return p.Account + "/" + strconv.FormatInt(p.N, 10) }

// Of returns the outcome of the record at an offset whose debit names the account,
// or none, and whose own charge is amount.
func (e *Entry) Of(offset int64, account string, amount rating.Micros) (Outcome, rating.Reason) {
	if x, ok := e.Exceptions[offset]; ok {
		return x.Outcome, x.Reason
	}
	if _, ok := e.Unknown[account]; ok && account != "" {
		return Parked, rating.UnknownAccount
	}
	if amount == 0 {
		return Free, rating.NotParked
	}
	return Charged, rating.NotParked
}

// parseEntry reads an outbox item: the name, then the header line, then a line
// for each exception (o), unknown account (u), event (e), wish (w) and payment
// request (p).
func parseEntry(shard int, source Source, item string) (*Entry, error) {
	lines := strings.Split(strings.TrimSuffix(item, "\n"), "\n")
	if len(lines) < 2 {
		return nil, faultf("result entry of shard %d, %s: %d lines", shard, source, len(lines))
	}
	e := &Entry{Name: lines[0], Shard: shard, Source: source}
	if _, err := fmt.Sscanf(lines[1], "%d %d %d", &e.First, &e.End, &e.Stamp); err != nil {
		return nil, faultf("result entry of shard %d, %s: header %q: %w", shard, source, lines[1], err)
	}
	for _, line := range lines[2:] {
		if err := e.addLine(line); err != nil {
			return nil, faultf("result entry of shard %d, %s at %d: line %q: %w", shard, source, e.First, line, err)
		}
	}
	return e, nil
}

func (e *Entry) addLine(line string) error {
	f := fields{rest: line, more: true}
	switch kind := f.text(); kind {
	case "o":
		if e.Exceptions == nil {
			e.Exceptions = map[int64]Exception{}
		}
		at, x := f.number(), Exception{Outcome: Outcome(f.text())}
		if x.Outcome == Parked {
			x.Reason = rating.Reason(f.text())
		}
		e.Exceptions[at] = x
	case "u":
		if e.Unknown == nil {
			e.Unknown = map[string]int64{}
		}
		account := f.text()
		e.Unknown[account] = f.number()
	case "e":
		sum := sha1.Sum([]byte(line)) //nolint:gosec // a name, not a secret
		ev := Event{
			Account: f.text(), Kind: f.text(), Sequence: f.number(), Balance: rating.Micros(f.number()),
			Currency: f.text(), Offset: f.number(), AtMillis: f.number(), digest: hex.EncodeToString(sum[:6]),
		}
		for f.more {
			name, value, _ := strings.Cut(f.text(), "=")
			ev.Fields = append(ev.Fields, Field{name, value})
		}
		e.Events = append(e.Events, ev)
	case "w":
		e.Wishes = append(e.Wishes, Wish{
			Account: f.text(), N: f.number(), Amount: rating.Micros(f.number()), Currency: f.text(), Seen: f.number(),
		})
	case "p":
		e.Requests = append(e.Requests, PaymentRequest{
			Account: f.text(), N: f.number(), Amount: rating.Micros(f.number()), Currency: f.text(),
			PaymentMethod: f.text(), Offset: f.number(), AtMillis: f.number(),
		})
	default:
		return fmt.Errorf("unknown kind %q: was it written by a newer version?", kind)
	}
	return f.err
}

// fields walks the words of a line and keeps the first error.
type fields struct {
	rest string
	more bool // there is a word left, which may be empty
	err  error
}

func (f *fields) text() (word string) {
	if !f.more {
		if f.err == nil {
			f.err = errors.New("a field is missing")
		}
		return ""
	}
	word, f.rest, f.more = strings.Cut(f.rest, " ")
	return word
}

func (f *fields) number() int64 {
	s := f.text()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && f.err == nil {
		f.err = err
	}
	return n
}
