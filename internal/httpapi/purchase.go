package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// wholeUnit can be paid in every currency.
const wholeUnit rating.Micros = 1_000_000

// purchase returns what a command buys, or lets buy, and the member that says so;
// nil for one that buys nothing, and for what a payment service has been paid.
func purchase(c *balance.Command) (at string, m *rating.Micros) {
	switch {
	case c.Type == balance.TopUp || c.Type == balance.Grant:
		return "amount", c.Amount
	case c.Put != nil && c.Put.AutoRecharge != nil:
		return "auto_recharge.amount", c.Put.AutoRecharge.Value.Amount
	}
	return "", nil
}

// checkPurchase refuses an amount above Options.MaxPurchase, and one that cannot be
// paid in the account's currency. Reading the currency first is no race: it never
// changes. An account that is not there has none; the log decides whether the
// command finds one.
func (s *server) checkPurchase(ctx context.Context, c *balance.Command) error {
	if c.Put != nil && c.Put.AutoRecharge != nil {
		if t := c.Put.AutoRecharge.Value.Trigger; t != nil && *t > s.opt.MaxPurchase {
			return s.aboveLimit("auto_recharge.trigger", *t)
		}
	}
	at, m := purchase(c)
	if m == nil {
		return nil
	}
	if *m > s.opt.MaxPurchase {
		return s.aboveLimit(at, *m)
	}
	if *m%wholeUnit == 0 {
		return nil
	}
	currency, err := s.currencyOf(ctx, c)
	if err != nil || currency == "" {
		return err
	}
	if unit := balance.MinorUnit(currency); *m%unit != 0 {
		return problem(http.StatusUnprocessableEntity, reasonNotPayable,
			"%s %s cannot be paid in %s: a multiple of %s is expected. Nothing changed.", at, *m, currency, unit)
	}
	return nil
}

func (s *server) aboveLimit(at string, m rating.Micros) error {
	return problem(http.StatusUnprocessableEntity, reasonAboveLimit,
		"%s %s is more than may be bought at once: at most %s is allowed, which --max-purchase of creditstream says. Nothing changed.", at, m, s.opt.MaxPurchase)
}

// currencyOf returns the currency that the command names, else that of its account;
// "" when it is not there.
func (s *server) currencyOf(ctx context.Context, c *balance.Command) (string, error) {
	if c.Put != nil && c.Put.Currency != "" {
		return c.Put.Currency, nil
	}
	standing, err := s.opt.Authorize.Standings.Standing(ctx, c.Account)
	switch {
	case errors.Is(err, balance.ErrUnknownAccount):
		return "", nil
	case err != nil:
		return "", s.storeAway(ctx, c.Account, err)
	}
	return standing.Currency, nil
}
