package balance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// A CommandType names what a command does.
type CommandType string

// The commands. All but Tick name an account.
const (
	PutAccount   CommandType = "account.put"
	CloseAccount CommandType = "account.close"
	TopUp        CommandType = "funds.top_up"
	Grant        CommandType = "funds.grant"         // promotional credit
	Adjust       CommandType = "funds.adjust"        // by hand, or the correction of a charge
	Request      CommandType = "recharge.request"    // a wish, decided once and written down
	Result       CommandType = "recharge.result"     // the payment service's answer
	Unanswered   CommandType = "recharge.unanswered" // timer
	Retry        CommandType = "recharge.retry"      // timer
	Abandon      CommandType = "recharge.abandon"
	Resume       CommandType = "recharge.resume"
	ExpireLot    CommandType = "lot.expire" // timer; carries the amount
	WarnLot      CommandType = "lot.warn"   // timer; carries the amount
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

	// Amount is above zero, or zero for an expiry and its warning. That of an
	// adjustment is not zero: above it the customer gets it, below it he pays it.
	Amount   *rating.Micros `json:"amount,omitempty"`
	Currency string         `json:"currency,omitempty"`
	N        int64          `json:"n,omitempty"`      // recharge number, from 1
	Seen     int64          `json:"seen,omitempty"`   // recharge.request
	Status   string         `json:"status,omitempty"` // recharge.result: succeeded | declined
	Code     string         `json:"code,omitempty"`   // recharge.result: why it was declined
	Class    DeclineClass   `json:"class,omitempty"`  // recharge.result: what that means
	Lot      string         `json:"lot,omitempty"`    // lot.expire, lot.warn
	Days     int64          `json:"days,omitempty"`   // lot.warn: until it expires; one of WarnDays
	Expires  time.Time      `json:"expires,omitzero"` // funds.grant

	// Of a grant or an adjustment, for people and for readers of the log; the
	// script passes it on.
	Reason   string   `json:"reason,omitempty"`
	Operator string   `json:"operator,omitempty"`
	CDR      *CDRName `json:"cdr,omitempty"` // the call whose charge it corrects

	// Force says that an account was closed with money left, or with a recharge on
	// its way: the command is unconditional, its id must not stand for two wishes.
	Force bool `json:"force,omitempty"`
}

// A CDRName is what names a call beside its account (design rule 8).
type CDRName struct {
	Source     string    `json:"source"`
	ID         string    `json:"id"`
	AnsweredAt time.Time `json:"answered_at,omitzero"`
}

// Limits of what a command may carry.
const (
	MaxTextBytes    = 128 // ids, codes, payment methods, operators
	MaxReasonBytes  = 256 // why money is granted or adjusted
	MaxCommandBytes = 16 << 10
)

// MaxPurchase is the largest amount that one command may add, and the largest
// level or trigger: a thousand million units of the currency.
const MaxPurchase rating.Micros = 1_000_000_000_000_000

// WarnDays returns how many days before its expiry it is said what a lot holds.
func WarnDays() []int64 { return []int64{30, 7, 1} }

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
	case PutAccount, CloseAccount, TopUp, Grant, Adjust, Request, Result, Unanswered, Retry, Abandon, Resume, ExpireLot,
		WarnLot, Tick:
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
