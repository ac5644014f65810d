package balance

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/creditstream/creditstream/rating"
)

// Limits of settings.
const (
	MaxLowLevels       = 5    // low-balance levels of an account
	MaxLotMonths       = 120  // that what is bought is valid
	MaxBlockedPrefixes = 100  //
	MaxPrefixDigits    = 15   // of one of them: the longest number of E.164
	MaxCapCount        = 1000 // recharges per day or month
)

// Settings are the fields of an account that account.put sets. A nil field stays
// as it is; a field that is set to Null is removed.
type Settings struct {
	Currency     string                  `json:"currency,omitempty"`
	LowBalance   *Nullable[[]Level]      `json:"low_balance,omitempty"`
	AutoRecharge *Nullable[AutoRecharge] `json:"auto_recharge,omitempty"`

	// LotMonths is how many calendar months what is bought is valid; 12 when it is
	// not set. It counts for purchases to come.
	LotMonths *Nullable[int] `json:"lot_months,omitempty"`

	// Reopen says that a closed account may be opened again; without it the command
	// is refused there.
	Reopen bool `json:"reopen,omitempty"`

	// What follows says which calls are allowed before they start (authorize), and
	// nothing else: OverdraftLimit is how far below zero the balance may go,
	// BlockedPrefixes are digits of international numbers, and BlockHighRisk
	// (true when not set) blocks those that frauds call.
	OverdraftLimit  *Nullable[rating.Micros] `json:"overdraft_limit,omitempty"`
	BlockedPrefixes *Nullable[[]string]      `json:"blocked_prefixes,omitempty"`
	BlockHighRisk   *bool                    `json:"block_high_risk,omitempty"`
}

// A Level is a balance at which an alert is published: an amount, or a percentage
// of the last purchase (a top-up or a recharge), rounded down to a micro. In JSON
// it is "20.000000" or "15%".
type Level struct {
	Amount  rating.Micros
	Percent int // 1 to 100; 0: Amount counts
}

// ParseLevel reads an amount or a percentage.
func ParseLevel(s string) (Level, error) {
	digits, percent := strings.CutSuffix(s, "%")
	if !percent {
		m, err := rating.ParseMicros(s)
		return Level{Amount: m}, err
	}
	p, err := strconv.Atoi(digits)
	if err != nil || p < 1 || p > 100 || strconv.Itoa(p) != digits {
		return Level{}, fmt.Errorf("%q: 1%% to 100%% is expected", s)
	}
	return Level{Percent: p}, nil
}

// String is what ParseLevel reads.
func (l Level) String() string {
	if l.Percent != 0 {
		return strconv.Itoa(l.Percent) + "%"
	}
	return l.Amount.String()
}

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(b []byte) (err error) {
	*l, err = ParseLevel(string(b))
	return err
}

// AutoRecharge says when and how an account buys credit by itself. Fields that
// are nil stay as they are.
type AutoRecharge struct {
	Enabled       *bool           `json:"enabled,omitempty"`
	Trigger       *rating.Micros  `json:"trigger,omitempty"`
	Amount        *rating.Micros  `json:"amount,omitempty"`
	PaymentMethod *string         `json:"payment_method,omitempty"`
	Caps          *Nullable[Caps] `json:"caps,omitempty"`

	// Most is the most that one request may ask for, written down by whoever makes the
	// command (--max-purchase), so that a replay knows it; at least one Amount.
	Most *rating.Micros `json:"most,omitempty"`
}

// Caps bound what auto-recharge asks for, in UTC, by the append time of the
// request. They are set together.
type Caps struct {
	PerDay   *Cap `json:"per_day,omitempty"`
	PerMonth *Cap `json:"per_month,omitempty"` // calendar month
}

// A Cap bounds one window; nil is no bound.
type Cap struct {
	Count  *int64         `json:"count,omitempty"`
	Amount *rating.Micros `json:"amount,omitempty"`
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
// those that hold a Nullable read their nulls themselves.
func (n *Nullable[T]) UnmarshalJSON(b []byte) error {
	n.Null = string(b) == "null"
	if n.Null {
		return nil
	}
	return strict(b, &n.Value)
}

// member reads a member that may be absent, null or a value.
func member[T any](raw json.RawMessage, name string, into **Nullable[T]) error {
	if raw == nil {
		return nil
	}
	*into = new(Nullable[T])
	if err := (*into).UnmarshalJSON(raw); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// UnmarshalJSON tells an absent member from null.
func (s *Settings) UnmarshalJSON(b []byte) error {
	var raw struct {
		Currency        string          `json:"currency"`
		LowBalance      json.RawMessage `json:"low_balance"`
		AutoRecharge    json.RawMessage `json:"auto_recharge"`
		LotMonths       json.RawMessage `json:"lot_months"`
		Reopen          bool            `json:"reopen"`
		OverdraftLimit  json.RawMessage `json:"overdraft_limit"`
		BlockedPrefixes json.RawMessage `json:"blocked_prefixes"`
		BlockHighRisk   json.RawMessage `json:"block_high_risk"`
	}
	if err := strict(b, &raw); err != nil {
		return err
	}
	*s = Settings{Currency: raw.Currency, Reopen: raw.Reopen}
	if raw.BlockHighRisk != nil { // null brings the default back
		s.BlockHighRisk = new(string(raw.BlockHighRisk) == "null")
		if err := json.Unmarshal(raw.BlockHighRisk, s.BlockHighRisk); err != nil {
			return fmt.Errorf("block_high_risk: %w", err)
		}
	}
	return errors.Join(
		member(raw.LowBalance, "low_balance", &s.LowBalance),
		member(raw.AutoRecharge, "auto_recharge", &s.AutoRecharge),
		member(raw.LotMonths, "lot_months", &s.LotMonths),
		member(raw.OverdraftLimit, "overdraft_limit", &s.OverdraftLimit),
		member(raw.BlockedPrefixes, "blocked_prefixes", &s.BlockedPrefixes),
	)
}

// UnmarshalJSON tells absent caps from null.
func (a *AutoRecharge) UnmarshalJSON(b []byte) error {
	var raw struct {
		Enabled       *bool           `json:"enabled"`
		Trigger       *rating.Micros  `json:"trigger"`
		Amount        *rating.Micros  `json:"amount"`
		PaymentMethod *string         `json:"payment_method"`
		Caps          json.RawMessage `json:"caps"`
		Most          *rating.Micros  `json:"most"`
	}
	if err := strict(b, &raw); err != nil {
		return err
	}
	*a = AutoRecharge{Enabled: raw.Enabled, Trigger: raw.Trigger, Amount: raw.Amount, PaymentMethod: raw.PaymentMethod, Most: raw.Most}
	return member(raw.Caps, "caps", &a.Caps)
}

func (s *Settings) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if s.Currency != "" && !ValidCurrency(s.Currency) {
		bad("currency %q: three capital letters (ISO 4217) are expected", s.Currency)
	}
	if s.LowBalance != nil {
		validateLevels(s.LowBalance.Value, bad)
	}
	if m := s.LotMonths; m != nil && !m.Null && (m.Value < 1 || m.Value > MaxLotMonths) {
		bad("lot_months %d: 1 to %d is allowed", m.Value, MaxLotMonths)
	}
	if o := s.OverdraftLimit; o != nil && (o.Value < 0 || o.Value > MaxPurchase) {
		bad("overdraft_limit %s: between 0 and %s is allowed", o.Value, MaxPurchase)
	}
	if s.BlockedPrefixes != nil {
		validatePrefixes(s.BlockedPrefixes.Value, bad)
	}
	if s.AutoRecharge != nil && !s.AutoRecharge.Null {
		errs = append(errs, s.AutoRecharge.Value.validate())
	}
	return errors.Join(errs...)
}

func validateLevels(levels []Level, bad func(string, ...any)) {
	if n := len(levels); n > MaxLowLevels {
		bad("low_balance: %d levels: at most %d are allowed", n, MaxLowLevels)
	}
	for _, l := range levels {
		if l.Amount < 0 || l.Amount > MaxPurchase || l.Percent < 0 || l.Percent > 100 || l.Percent > 0 && l.Amount != 0 {
			bad("low_balance: %s: between 0 and %s, or 1%% to 100%%, is allowed", l, MaxPurchase)
		}
	}
}

func validatePrefixes(prefixes []string, bad func(string, ...any)) {
	if n := len(prefixes); n > MaxBlockedPrefixes {
		bad("blocked_prefixes: %d of them: at most %d are allowed", n, MaxBlockedPrefixes)
	}
	for _, p := range prefixes {
		if p == "" || len(p) > MaxPrefixDigits || strings.Trim(p, "0123456789") != "" {
			bad("blocked_prefixes: %q: 1 to %d digits are expected", p, MaxPrefixDigits)
		}
	}
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
	if a.Most != nil && (*a.Most < 1 || *a.Most > MaxPurchase) {
		bad("auto_recharge.most %s: more than 0 and at most %s is allowed", *a.Most, MaxPurchase)
	}
	if a.Caps == nil {
		return errors.Join(errs...)
	}
	a.Caps.Value.PerDay.validate("auto_recharge.caps.per_day", bad)
	a.Caps.Value.PerMonth.validate("auto_recharge.caps.per_month", bad)
	return errors.Join(errs...)
}

func (c *Cap) validate(name string, bad func(string, ...any)) {
	if c == nil {
		return
	}
	if c.Count != nil && (*c.Count < 1 || *c.Count > MaxCapCount) {
		bad("%s.count %d: 1 to %d is allowed", name, *c.Count, MaxCapCount)
	}
	if c.Amount != nil && (*c.Amount < 1 || *c.Amount > MaxPurchase) {
		bad("%s.amount %s: more than 0 and at most %s is allowed", name, *c.Amount, MaxPurchase)
	}
}
