package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

func newRecharge(environ func() []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "recharge", Short: "Answer and unblock auto-recharge, over the API", Args: cobra.ArbitraryArgs,
		Long: `Reports by hand what became of a recharge, gives one up that never had a result, and lets
a suspended auto-recharge try again. A recharge is named by its id: ACCOUNT/NUMBER.

` + exitHelp,
		Example: `  creditstream recharge result acme/7 --amount 50.00 --currency USD
  creditstream recharge abandon acme/7
  creditstream recharge resume acme`,
		RunE:                       helpOrUnknown,
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newRechargeResult(environ), newRechargeAbandon(environ), newRechargeResume(environ))
	return cmd
}

// oneRecharge wants the id of a recharge.
func oneRecharge(cmd *cobra.Command, args []string) error {
	if err := exactly("RECHARGE")(cmd, args); err != nil {
		return err
	}
	account, number, _ := strings.Cut(args[0], "/")
	if n, err := strconv.ParseInt(number, 10, 64); err != nil || n < 1 || !balance.ValidAccount(account) {
		return usageError{errors.New(strconv.Quote(args[0]) + " is no recharge: expected ACCOUNT/NUMBER, such as acme/7")}
	}
	return nil
}

// rechargePath is the path of a recharge that oneRecharge has accepted: what an
// account's id is made of needs no escape.
func rechargePath(id string) string { return "/v1/recharges/" + id }

func newRechargeResult(environ func() []string) *cobra.Command {
	var c apiConfig
	var m rating.Micros
	var currency, code string
	s := c.apiSettings()
	s.add("amount", "", amount(&m, 1, balance.MaxPurchase), "what was paid; it is credited as it is")
	s.add("currency", "", currencyText(&currency), "of what was paid; must be the account's")
	s.add("declined", "", matching(&code, `[!-~]{1,128}`, "1 to 128 visible ASCII characters"), "it was not paid: the payment service's code, such as expired_card")
	a := apiCommand{settings: s, Command: cobra.Command{
		Use: "result RECHARGE", Short: "Report what became of a recharge", Args: oneRecharge,
		Long: `Says what the payment service did with a recharge, when it cannot say so itself, and
prints the account. A recharge is credited once: the same result may be sent again, and
late.

Exit codes: 0 it is done; 1 it was refused; 2 it was not understood; 3 nobody knows yet
what became of it: the same command says so, and counts once.`,
		Example: `  creditstream recharge result acme/7 --amount 50.00 --currency USD
  creditstream recharge result acme/7 --declined expired_card`,
	}}
	a.check = func() []string {
		paid := s.given("amount") && s.given("currency")
		if paid == s.given("declined") || s.given("declined") && (s.given("amount") || s.given("currency")) {
			return []string{"expected --amount and --currency of what was paid, or --declined alone: see creditstream recharge result --help"}
		}
		return nil
	}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		body := map[string]any{"status": "declined", "code": code}
		if code == "" {
			body = map[string]any{"status": "succeeded", "amount": m, "currency": currency}
		}
		return p.carryOut(ctx, api, &apiRequest{method: http.MethodPost, path: rechargePath(args[0]) + "/result", body: body})
	}
	return a.build(&c, environ)
}

func newRechargeAbandon(environ func() []string) *cobra.Command {
	var c apiConfig
	a := apiCommand{settings: c.changeSettings(), Command: cobra.Command{
		Use: "abandon RECHARGE", Short: "Give up a recharge that has no result", Args: oneRecharge,
		Long: `Ends the wait for an unresolved recharge: auto-recharge goes on, and may ask for money
again. Ask the payment service first. A result that comes later still counts.

` + exitHelp,
		Example: "  creditstream recharge abandon acme/7",
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return p.post(ctx, api, rechargePath(args[0])+"/abandon", nil)
	}
	return a.build(&c, environ)
}

func newRechargeResume(environ func() []string) *cobra.Command {
	var c apiConfig
	a := apiCommand{settings: c.changeSettings(), Command: cobra.Command{
		Use: "resume ACCOUNT", Short: "Let a suspended auto-recharge try again", Args: oneAccount,
		Long: `Ends the suspension of an account's auto-recharge, or its wait after a decline, with the
payment method that it has. A new payment method ends them by itself.

` + exitHelp,
		Example: "  creditstream recharge resume acme",
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return p.post(ctx, api, accountPath(args[0])+"/resume", nil)
	}
	return a.build(&c, environ)
}
