package balance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/creditstream/creditstream/rating"
)

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
	case Grant:
		errs = append(errs, c.validateGrant(), c.validateWhy())
	case Adjust:
		errs = append(errs, c.validateAdjust(), c.validateWhy())
	case Request:
		c.needAmount(bad, 1)
		c.needN(bad)
	case Result:
		errs = append(errs, c.validateResult())
	case Unanswered, Retry, Abandon:
		c.needN(bad)
	case ExpireLot, WarnLot:
		c.validateTimer(bad)
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

func (c *Command) validateTimer(bad func(string, ...any)) {
	c.needAmount(bad, 0)
	if c.Type == WarnLot && !slices.Contains(WarnDays(), c.Days) {
		bad("days %d: one of %d is expected", c.Days, WarnDays())
	}
	if !validText(c.Lot) {
		bad("lot %q is not a lot", c.Lot)
	}
}

func (c *Command) validateGrant() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	c.needAmount(bad, 1)
	if c.ID == "" {
		bad("a grant needs an id (Idempotency-Key)")
	}
	if c.Expires.UnixMilli() < 1 || c.Expires.UTC().Year() > maxYear {
		bad("expires %s: a time until the end of %d is expected", c.Expires.Format(time.RFC3339), maxYear)
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
	if c.CDR != nil && (c.CDR.ID == "" || c.CDR.Source == "") {
		bad("cdr: source and id are expected")
	}
	return errors.Join(errs...)
}

func (c *Command) validateWhy() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.Reason == "" || len(c.Reason) > MaxReasonBytes || !utf8.ValidString(c.Reason) || strings.ContainsFunc(c.Reason, unicode.IsControl) {
		bad("reason %q: 1 to %d bytes of UTF-8 on one line are expected", c.Reason, MaxReasonBytes)
	}
	if !validText(c.Operator) {
		bad("operator %q: 1 to %d visible ASCII characters without spaces are expected", c.Operator, MaxTextBytes)
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

// maxYear is the last in which a lot may expire: what comes after does not fit
// the timers.
const maxYear = 9999

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
