package alerts

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// An encoder appends one detail of an event: what the scripts write down becomes
// what readers get.
type encoder func(dst []byte, e *balance.Event, f balance.Field) ([]byte, error)

// encoders has the details that are more than a word, by the name that the scripts
// give them. Any other one is a word, also one that a newer version wrote.
var encoders = map[string]encoder{ //nolint:gochecknoglobals // immutable
	"amount":          money,
	"cap_amount":      money,
	"overdraft_limit": money,
	"requested":       money,
	"threshold":       money,

	"cap_count":      number,
	"days":           number,
	"requests_today": number,

	"expires_at":   instant,
	"purchased_at": instant,
	"retry_at":     instant,
	"until":        instant,

	"n":             rechargeID,
	"paid_currency": orNone,
	"reason":        unescaped,
}

func word(dst []byte, _ *balance.Event, f balance.Field) ([]byte, error) {
	return appendText(dst, f.Name, f.Value), nil
}

// money leaves out the zero of a mismatch: its answer carries no money.
func money(dst []byte, e *balance.Event, f balance.Field) ([]byte, error) {
	n, err := strconv.ParseInt(f.Value, 10, 64)
	if err != nil {
		return dst, err
	}
	if n == 0 && e.Kind == "recharge.mismatched" {
		return dst, nil
	}
	return appendMoney(dst, f.Name, rating.Micros(n)), nil
}

func number(dst []byte, _ *balance.Event, f balance.Field) ([]byte, error) {
	n, err := strconv.ParseInt(f.Value, 10, 64)
	return appendNumber(dst, f.Name, n), err
}

func instant(dst []byte, _ *balance.Event, f balance.Field) ([]byte, error) {
	n, err := strconv.ParseInt(f.Value, 10, 64)
	return appendText(dst, f.Name, formatMillis(n)), err
}

func rechargeID(dst []byte, e *balance.Event, f balance.Field) ([]byte, error) {
	return appendText(dst, "recharge_id", e.Account+"/"+f.Value), nil
}

// orNone leaves out the scripts' word for none.
func orNone(dst []byte, e *balance.Event, f balance.Field) ([]byte, error) {
	if f.Value == "-" {
		return dst, nil
	}
	return word(dst, e, f)
}

// unescaped writes a text for people; a reason code is the same in both forms.
func unescaped(dst []byte, _ *balance.Event, f balance.Field) ([]byte, error) {
	text, err := url.QueryUnescape(f.Value)
	return appendText(dst, f.Name, text), err
}

// appendFields writes all that an event says.
func appendFields(dst []byte, e *balance.Event) ([]byte, error) {
	dst = appendText(dst, "account", e.Account)
	dst = appendNumber(dst, "sequence", e.Sequence)
	dst = appendMoney(dst, "balance", e.Balance)
	dst = appendOptional(dst, "currency", e.Currency)
	for _, f := range e.Fields {
		encode, found := encoders[f.Name]
		if !found {
			encode = word
		}
		var err error
		if dst, err = encode(dst, e, f); err != nil {
			return dst, fmt.Errorf("%s %q: %w", f.Name, f.Value, err)
		}
	}
	if e.Kind == "balance.depleted" {
		return appendBlocked(dst, e)
	}
	return dst, nil
}

// appendBlocked says which calls are not allowed to an account with a balance
// below zero. It names kinds alone, whatever a deck makes free: decks change, and
// an event says the same for ever.
func appendBlocked(dst []byte, e *balance.Event) ([]byte, error) {
	var kinds []rating.Kind
	limit, err := strconv.ParseInt(cmp.Or(e.Get("overdraft_limit"), "0"), 10, 64)
	if e.Balance+rating.Micros(limit) <= 0 {
		kinds = rating.PaidKinds()
	}
	return appendTexts(dst, "blocked_kinds", kinds), err
}

// rfc3339Millis is how times are written, in UTC.
const rfc3339Millis = "2006-01-02T15:04:05.000Z"

func formatMillis(ms int64) string { return time.UnixMilli(ms).UTC().Format(rfc3339Millis) }
