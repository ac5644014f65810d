package balance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/creditstream/creditstream/rating"
)

// A CommandType names what a command does.
type CommandType string

// The commands. All but Tick name an account.
const (
	PutAccount   CommandType = "account.put"
	CloseAccount CommandType = "account.close"
	TopUp        CommandType = "funds.top_up"
	Adjust       CommandType = "funds.adjust"        // by hand, or the correction of a charge
	Request      CommandType = "recharge.request"    // a wish, decided once and written down
	Result       CommandType = "recharge.result"     // the payment service's answer
	Unanswered   CommandType = "recharge.unanswered" // timer
	Retry        CommandType = "recharge.retry"      // timer
	Abandon      CommandType = "recharge.abandon"
	Resume       CommandType = "recharge.resume"
	ExpireLot    CommandType = "lot.expire" // timer; carries the amount
	Tick         CommandType = "tick"       // moves the commands marks past a time, nothing else
)

// A Command is one record of credit-commands: written by creditstream alone,
// applied once, in the order of the log. It changes nothing until it is applied.
type Command struct {
	Type    CommandType `json:"type"`
	Account string      `json:"account,omitempty"`
	// ID makes a repeat of the command harmless: an account remembers the ids it
	// has applied and a digest of what they said. Empty for commands that are
	// harmless by their own numbers (n of a recharge, the lot that expires).
	ID string `json:"id,omitempty"`

	Put *Settings `json:"put,omitempty"` // account.put

	// Amount is above zero, or zero for an expiry. That of an adjustment is not
	// zero: above it the customer gets it, below it he pays it.
	Amount   *rating.Micros `json:"amount,omitempty"`
	Currency string         `json:"currency,omitempty"`
	N        int64          `json:"n,omitempty"`      // recharge number, from 1
	Seen     int64          `json:"seen,omitempty"`   // recharge.request
	Status   string         `json:"status,omitempty"` // recharge.result: succeeded | declined
	Code     string         `json:"code,omitempty"`   // recharge.result: why it was declined
	Class    DeclineClass   `json:"class,omitempty"`  // recharge.result: what that means
	Lot      string         `json:"lot,omitempty"`    // lot.expire

	// Of an adjustment, for people and for readers of the log; the script looks at
	// none of it.
	Reason   string   `json:"reason,omitempty"`
	Operator string   `json:"operator,omitempty"`
	CDR      *CDRName `json:"cdr,omitempty"` // the call whose charge it corrects
}

// A CDRName is what names a call beside its account (design rule 8).
type CDRName struct {
	Source     string    `json:"source"`
	ID         string    `json:"id"`
	AnsweredAt time.Time `json:"answered_at,omitzero"`
}

// Settings are the fields of an account that account.put sets. A nil field stays
// as it is; a field that is set to Null is removed.
type Settings struct {
	Currency     string                     `json:"currency,omitempty"`
	LowBalance   *Nullable[[]rating.Micros] `json:"low_balance,omitempty"`
	AutoRecharge *Nullable[AutoRecharge]    `json:"auto_recharge,omitempty"`
}

// AutoRecharge says when and how an account buys credit by itself. Fields that
// are nil stay as they are.
type AutoRecharge struct {
	Enabled       *bool          `json:"enabled,omitempty"`
	Trigger       *rating.Micros `json:"trigger,omitempty"`
	Amount        *rating.Micros `json:"amount,omitempty"`
	PaymentMethod *string        `json:"payment_method,omitempty"`
}

// Nullable tells a JSON null (Null) from a value.
type Nullable[T any] struct {
	Null  bool
	Value T
}

// MarshalJSON writes the value, or null.
func (n Nullable[T]) MarshalJSON() ([]byte, error) {
	if n.Null {
		return []byte("null"), nil
	}
	return json.Marshal(n.Value)
}

// UnmarshalJSON reads a value; null never reaches it (the pointer stays nil), so
// Settings reads its nulls itself.
func (n *Nullable[T]) UnmarshalJSON(b []byte) error {
	n.Null = string(b) == "null"
	if n.Null {
		return nil
	}
	return strict(b, &n.Value)
}

// UnmarshalJSON tells an absent member from null.
func (s *Settings) UnmarshalJSON(b []byte) error {
	var raw struct {
		Currency     string          `json:"currency"`
		LowBalance   json.RawMessage `json:"low_balance"`
		AutoRecharge json.RawMessage `json:"auto_recharge"`
	}
	if err := strict(b, &raw); err != nil {
		return err
	}
	*s = Settings{Currency: raw.Currency}
	if raw.LowBalance != nil {
		s.LowBalance = new(Nullable[[]rating.Micros])
		if err := s.LowBalance.UnmarshalJSON(raw.LowBalance); err != nil {
			return fmt.Errorf("low_balance: %w", err)
		}
	}
	if raw.AutoRecharge != nil {
		s.AutoRecharge = new(Nullable[AutoRecharge])
		if err := s.AutoRecharge.UnmarshalJSON(raw.AutoRecharge); err != nil {
			return fmt.Errorf("auto_recharge: %w", err)
		}
	}
	return nil
}

// A DeclineClass says what a declined payment means for the next one.
type DeclineClass string

// Decline classes: a soft one is tried again later, the others need a person.
const (
	Soft           DeclineClass = "soft"
	Hard           DeclineClass = "hard"
	RequiresAction DeclineClass = "requires_action"
)

// ClassOf classes the decline codes that payment services use. A code that is
// not known is soft: it is tried again, twice at the most.
func ClassOf(code string) DeclineClass {
	switch code {
	case "expired_card", "stolen_card", "lost_card", "pickup_card", "card_not_supported", "invalid_account",
		"invalid_number", "incorrect_number", "incorrect_cvc", "invalid_cvc", "restricted_card", "fraudulent",
		"payment_method_missing", "currency_not_supported", "no_such_payment_method", "do_not_try_again":
		return Hard
	case "authentication_required", "requires_action", "approve_with_id":
		return RequiresAction
	}
	return Soft
}

// Limits of what a command may carry.
const (
	MaxLowLevels    = 5   // low-balance levels of an account
	MaxTextBytes    = 128 // ids, codes, payment methods, operators
	MaxReasonBytes  = 256 // why an adjustment is made
	MaxCommandBytes = 16 << 10
)

// ErrNewerCommand is returned by DecodeCommand for a command of a type that this
// version does not know: it was written by a newer one, and must not be skipped.
var ErrNewerCommand = errors.New("command of an unknown type: upgrade creditstream")

// DecodeCommand reads a record of credit-commands. An error other than
// ErrNewerCommand means that the bytes are no command at all.
func DecodeCommand(b []byte) (*Command, error) {
	if len(b) > MaxCommandBytes {
		return nil, fmt.Errorf("a command of %d bytes: at most %d are allowed", len(b), MaxCommandBytes)
	}
	var head struct {
		Type CommandType `json:"type"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	switch head.Type {
	case PutAccount, CloseAccount, TopUp, Adjust, Request, Result, Unanswered, Retry, Abandon, Resume, ExpireLot, Tick:
	case "":
		return nil, errors.New("type is missing")
	default:
		return nil, fmt.Errorf("type %q: %w", head.Type, ErrNewerCommand)
	}
	c := new(Command)
	if err := strict(b, c); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

func strict(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// Encode returns the command's bytes for the log.
func (c *Command) Encode() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return json.Marshal(c)
}

// Digest names what the command says, its id apart: a repeat of an id with
// another digest is a conflict and changes nothing.
func (c *Command) Digest() (string, error) {
	d := *c
	d.ID = ""
	b, err := json.Marshal(&d)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// Validate reports everything that is wrong with a command taken by itself. What
// depends on the account (is it known, is the number next) is decided when it is
// applied.
func (c *Command) Validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.Type == Tick {
		return nil
	}
	if !ValidAccount(c.Account) {
		bad("account %q: 1 to 64 of letters, digits and ._@- are allowed", c.Account)
	}
	if c.ID != "" && !validText(c.ID) {
		bad("id %q: 1 to %d visible ASCII characters without spaces are allowed", c.ID, MaxTextBytes)
	}
	if c.Currency != "" && !ValidCurrency(c.Currency) {
		bad("currency %q: three capital letters (ISO 4217) are expected", c.Currency)
	}
	switch c.Type {
	case PutAccount:
		if c.Put == nil {
			bad("put is missing")
		} else {
			errs = append(errs, c.Put.validate())
		}
	case TopUp:
		c.needAmount(bad, 1)
		if c.ID == "" {
			bad("a top-up needs an id (Idempotency-Key)")
		}
	case Adjust:
		errs = append(errs, c.validateAdjust())
	case Request:
		c.needAmount(bad, 1)
		c.needN(bad)
	case Result:
		errs = append(errs, c.validateResult())
	case Unanswered, Retry, Abandon:
		c.needN(bad)
	case ExpireLot:
		c.needAmount(bad, 0)
		if !validText(c.Lot) {
			bad("lot %q is not a lot", c.Lot)
		}
	case CloseAccount, Resume, Tick:
	}
	return errors.Join(errs...)
}

func (c *Command) validateResult() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	c.needN(bad)
	switch c.Status {
	case "succeeded":
		c.needAmount(bad, 1)
		if c.Currency == "" {
			bad("currency is missing")
		}
	case "declined":
		if !validText(c.Code) {
			bad("code %q: 1 to %d visible ASCII characters without spaces are expected", c.Code, MaxTextBytes)
		}
		switch c.Class {
		case Soft, Hard, RequiresAction:
		default:
			bad("class %q: soft, hard or requires_action is expected", c.Class)
		}
	default:
		bad("status %q: succeeded or declined is expected", c.Status)
	}
	return errors.Join(errs...)
}

func (c *Command) validateAdjust() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	switch {
	case c.Amount == nil:
		bad("amount is missing")
	case *c.Amount == 0 || *c.Amount < -MaxPurchase || *c.Amount > MaxPurchase:
		bad("amount %s: not zero, and between %s and %s is allowed", *c.Amount, -MaxPurchase, MaxPurchase)
	}
	if c.ID == "" {
		bad("an adjustment needs an id")
	}
	if c.Currency == "" {
		bad("currency is missing")
	}
	if c.Reason == "" || len(c.Reason) > MaxReasonBytes || !utf8.ValidString(c.Reason) || strings.ContainsFunc(c.Reason, unicode.IsControl) {
		bad("reason %q: 1 to %d bytes of UTF-8 on one line are expected", c.Reason, MaxReasonBytes)
	}
	if !validText(c.Operator) {
		bad("operator %q: 1 to %d visible ASCII characters without spaces are expected", c.Operator, MaxTextBytes)
	}
	if c.CDR != nil && (c.CDR.ID == "" || c.CDR.Source == "") {
		bad("cdr: source and id are expected")
	}
	return errors.Join(errs...)
}

func (c *Command) needAmount(bad func(string, ...any), least rating.Micros) {
	if c.Amount == nil {
		bad("amount is missing")
	} else if *c.Amount < least || *c.Amount > MaxPurchase {
		bad("amount %s: between %s and %s is allowed", *c.Amount, least, MaxPurchase)
	}
}

func (c *Command) needN(bad func(string, ...any)) {
	if c.N < 1 || c.N > 1<<40 {
		bad("n %d: a recharge number from 1 is expected", c.N)
	}
}

// MaxPurchase is the largest amount that one command may add, and the largest
// level or trigger: a thousand million units of the currency.
const MaxPurchase rating.Micros = 1_000_000_000_000_000

func (s *Settings) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if s.Currency != "" && !ValidCurrency(s.Currency) {
		bad("currency %q: three capital letters (ISO 4217) are expected", s.Currency)
	}
	if s.LowBalance != nil {
		if n := len(s.LowBalance.Value); n > MaxLowLevels {
			bad("low_balance: %d levels: at most %d are allowed", n, MaxLowLevels)
		}
		for _, l := range s.LowBalance.Value {
			if l < 0 || l > MaxPurchase {
				bad("low_balance: %s: between 0 and %s is allowed", l, MaxPurchase)
			}
		}
	}
	if s.AutoRecharge != nil && !s.AutoRecharge.Null {
		errs = append(errs, s.AutoRecharge.Value.validate())
	}
	return errors.Join(errs...)
}

func (a *AutoRecharge) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if a.Trigger != nil && (*a.Trigger < 0 || *a.Trigger > MaxPurchase) {
		bad("auto_recharge.trigger %s: between 0 and %s is allowed", *a.Trigger, MaxPurchase)
	}
	if a.Amount != nil && (*a.Amount < 1 || *a.Amount > MaxPurchase) {
		bad("auto_recharge.amount %s: more than 0 and at most %s is allowed", *a.Amount, MaxPurchase)
	}
	if a.PaymentMethod != nil && !validText(*a.PaymentMethod) {
		bad("auto_recharge.payment_method %q: 1 to %d visible ASCII characters without spaces are allowed", *a.PaymentMethod, MaxTextBytes)
	}
	return errors.Join(errs...)
}

// ValidCurrency reports whether s looks like an ISO 4217 code.
func ValidCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// validText reports whether s may stand as one word in an entry: visible ASCII
// without spaces.
func validText(s string) bool {
	if s == "" || len(s) > MaxTextBytes {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

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
		{"currency", c.Currency}, {"status", c.Status}, {"code", c.Code}, {"class", string(c.Class)}, {"lot", c.Lot},
	} {
		if f.Value != "" {
			add(f.Name, f.Value)
		}
	}
	add("n", strconv.FormatInt(c.N, 10))
	add("seen", strconv.FormatInt(c.Seen, 10))
	p := c.Put
	if p == nil {
		return w
	}
	if p.Currency != "" {
		add("cur", p.Currency)
	}
	if p.LowBalance != nil {
		add("levels", joinLevels(p.LowBalance.Value))
	}
	if a := p.AutoRecharge; a != nil && a.Null {
		add("auto", "0")
		add("trigger", "")
		add("recharge", "")
		add("pm", "")
	} else if a != nil {
		if a.Value.Enabled != nil {
			add("auto", map[bool]string{true: "1", false: "0"}[*a.Value.Enabled])
		}
		micros("trigger", a.Value.Trigger)
		micros("recharge", a.Value.Amount)
		if a.Value.PaymentMethod != nil {
			add("pm", *a.Value.PaymentMethod)
		}
	}
	return w
}

// joinLevels writes levels highest first, each once, as the scripts want them.
func joinLevels(levels []rating.Micros) string {
	l := slices.Clone(levels)
	slices.Sort(l)
	l = slices.Compact(l)
	slices.Reverse(l)
	s := make([]string, len(l))
	for i, m := range l {
		s[i] = strconv.FormatInt(int64(m), 10)
	}
	return strings.Join(s, ",")
}
