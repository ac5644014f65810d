package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

const exitHelp = `Exit codes: 0 it is done; 1 it was refused; 2 it was not understood; 3 nobody knows yet
what became of a change: the same command with --key and the key that was printed says so,
and counts once.`

func newAccount(environ func() []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "account", Short: "Read and change accounts, over the API", Args: cobra.ArbitraryArgs,
		Long: `Shows and lists accounts, changes their settings, and moves money by hand, over the HTTP
API: with a token, and nothing but what the API allows.

` + exitHelp,
		Example: `  creditstream account list
  creditstream account show acme --url https://credit.example.com --token-file ~/.creditstream-token
  creditstream account set acme --currency USD --low-balance 10,15%
  creditstream account top-up acme --amount 100.00`,
		RunE:                       helpOrUnknown,
		SuggestionsMinimumDistance: 2,
	}
	cmd.AddCommand(newAccountShow(environ), newAccountList(environ), newAccountLedger(environ), newAccountSet(environ),
		newAccountTopUp(environ), newAccountGrant(environ), newAccountAdjust(environ), newAccountClose(environ))
	return cmd
}

func newAccountShow(environ func() []string) *cobra.Command {
	var c apiConfig
	a := apiCommand{settings: c.apiSettings(), Command: cobra.Command{
		Use: "show ACCOUNT", Short: "Show an account", Args: oneAccount,
		Long: "Shows an account's balance, settings, lots, and the state of its auto-recharge.",
		Example: `  creditstream account show acme
  creditstream account show acme --json`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		b, err := api.get(ctx, accountPath(args[0]))
		if err != nil {
			return err
		}
		return p.account(b)
	}
	return a.build(&c, environ)
}

func newAccountList(environ func() []string) *cobra.Command {
	var c apiConfig
	var after string
	s := c.apiSettings()
	s.add("after", "", matching(&after, `[A-Za-z0-9._@-]{1,64}`, "1 to 64 letters, digits and ._@-"), "only accounts whose ids come after this one")
	a := apiCommand{settings: s, Command: cobra.Command{
		Use: "list", Short: "List all accounts", Args: noArgs,
		Long: `Lists all accounts in the order of their ids, page by page as they are read: a balance is
that of the moment when its page was.`,
		Example: `  creditstream account list
  creditstream account list --json --after globex`,
	}}
	a.run = func(ctx context.Context, api *apiClient, _ []string, p *apiPrinter) error {
		return p.accounts(ctx, api, after)
	}
	return a.build(&c, environ)
}

func newAccountLedger(environ func() []string) *cobra.Command {
	var c apiConfig
	var limit int
	s := c.apiSettings()
	s.add("limit", "20", whole(&limit, 1, 1000), "how many entries are shown")
	a := apiCommand{settings: s, Command: cobra.Command{
		Use: "ledger ACCOUNT", Short: "Show what changed an account's money, calls apart", Args: oneAccount,
		Long: "Shows purchases, grants, adjustments and expiries, the newest first. The last 1,000 are kept.",
		Example: `  creditstream account ledger acme
  creditstream account ledger acme --limit 1000 --json`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return p.ledger(ctx, api, args[0], limit)
	}
	return a.build(&c, environ)
}

func newAccountTopUp(environ func() []string) *cobra.Command {
	var c apiConfig
	var m rating.Micros
	s := c.changeSettings()
	s.add("amount", "", amount(&m, 1, balance.MaxPurchase), "what was paid, in the account's currency")
	a := apiCommand{settings: s, required: []string{"amount"}, Command: cobra.Command{
		Use: "top-up ACCOUNT", Short: "Add money that was paid", Args: oneAccount,
		Long: "Adds a lot that is valid for as long as the account's settings say, and prints the account.\n\n" + exitHelp,
		Example: `  creditstream account top-up acme --amount 100.00
  creditstream account top-up acme --amount 100.00 --key invoice-2026-0117`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return p.post(ctx, api, accountPath(args[0])+"/top-ups", map[string]any{"amount": m})
	}
	return a.build(&c, environ)
}

func newAccountGrant(environ func() []string) *cobra.Command {
	var c whyConfig
	var m rating.Micros
	var expires time.Time
	s := c.changeSettings()
	s.add("amount", "", amount(&m, 1, balance.MaxPurchase), "what is given, in the account's currency")
	s.add("expires-at", "", instant(&expires), "when what is left of it is forfeited")
	c.whySettings(s)
	a := apiCommand{settings: s, required: []string{"amount", "expires-at", "reason-text"}, Command: cobra.Command{
		Use: "grant ACCOUNT", Short: "Add promotional credit", Args: oneAccount,
		Long: "Adds credit that nobody has paid for, with an expiry of its own, and prints the account.\n\n" + exitHelp,
		Example: `  creditstream account grant acme --amount 5.00 --expires-at 2027-01-31 --reason-text welcome
  creditstream account grant acme --amount 5.00 --expires-at 2027-01-31T18:00:00+01:00 --reason-text "sorry for the outage" --operator marketing`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return c.post(ctx, api, accountPath(args[0])+"/grants", map[string]any{"amount": m, "expires_at": expires}, p)
	}
	return a.build(&c.apiConfig, environ)
}

func newAccountAdjust(environ func() []string) *cobra.Command {
	var c whyConfig
	var m rating.Micros
	var currency string
	s := c.changeSettings()
	s.add("amount", "", amount(&m, -balance.MaxPurchase, balance.MaxPurchase), "above zero the customer gets it, below zero he pays it")
	s.add("currency", "", currencyText(&currency), "the account's, to be sure")
	c.whySettings(s)
	a := apiCommand{settings: s, required: []string{"amount", "currency", "reason-text"}, Command: cobra.Command{
		Use: "adjust ACCOUNT", Short: "Give or take money, for refunds and corrections", Args: oneAccount,
		Long: `Gives or takes money and prints the account. What is given is a lot of its own; what is
taken may leave the balance below zero.

` + exitHelp,
		Example: `  creditstream account adjust acme --amount 4.20 --currency USD --reason-text "wrong rate, ticket 4711"
  creditstream account adjust acme --amount=-12.50 --currency USD --reason-text "paid back to the card" --operator support-7`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return c.post(ctx, api, accountPath(args[0])+"/adjustments", map[string]any{"amount": m, "currency": currency}, p)
	}
	return a.build(&c.apiConfig, environ)
}

func newAccountClose(environ func() []string) *cobra.Command {
	var c apiConfig
	var force bool
	s := c.changeSettings()
	s.add("force", "false", truth(&force), "close it though money is left, or a payment is under way")
	a := apiCommand{settings: s, Command: cobra.Command{
		Use: "close ACCOUNT", Short: "Close an account", Args: oneAccount,
		Long: `Closes an account: no call is allowed any more, and auto-recharge buys nothing. Calls that
were made, and payments that were asked for, still count. account set --reopen opens it again.

` + exitHelp,
		Example: `  creditstream account close acme
  creditstream account close acme --force`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return p.post(ctx, api, accountPath(args[0])+"/close", map[string]any{"force": force})
	}
	return a.build(&c, environ)
}

// whyConfig is what commands are told that move money nobody has paid for.
type whyConfig struct {
	apiConfig

	operator, text string
}

func (c *whyConfig) whySettings(s *settings) {
	s.add("reason-text", "", matching(&c.text, oneLine, oneLineExpected), "why, for people")
	s.add("operator", "", operatorName(&c.operator), "who decided it; default: the user of the operating system")
}

func (c *whyConfig) post(ctx context.Context, api *apiClient, path string, body map[string]any, p *apiPrinter) error {
	by, err := actor(c.operator)
	if err != nil {
		return err
	}
	body["reason"], body["operator"] = c.text, by
	return p.post(ctx, api, path, body)
}

// instant reads a point in time that stays the same when it is given again.
func instant(at *time.Time) value {
	return value{kind: "time", set: func(text string) error {
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, text); err == nil {
				*at = t.UTC()
				return nil
			}
		}
		return errors.New("is not a time: expected RFC 3339 such as 2027-01-31T18:00:00Z, or the beginning of a day in UTC such as 2027-01-31")
	}}
}

func currencyText(at *string) value {
	v := matching(at, `[A-Z]{3}`, "three capital letters (ISO 4217)")
	v.kind = "code"
	return v
}

// accounts prints all accounts after the one that is named, page by page.
func (p *apiPrinter) accounts(ctx context.Context, api *apiClient, after string) error {
	for first := true; ; first = false {
		path := "/v1/accounts"
		if after != "" {
			path += "?after=" + url.QueryEscape(after)
		}
		var page struct {
			Accounts []json.RawMessage `json:"accounts"`
			Next     string            `json:"next"`
		}
		if err := p.page(ctx, api, path, &page); err != nil {
			return err
		}
		if first && !p.cfg.json {
			p.line(accountLine, "account", "balance", "", "status")
		}
		for _, a := range page.Accounts {
			if err := p.accountLine(a); err != nil {
				return err
			}
		}
		if page.Next == "" || p.err != nil {
			return p.err
		}
		after = page.Next
	}
}

// ledger prints the newest entries of an account's ledger.
func (p *apiPrinter) ledger(ctx context.Context, api *apiClient, account string, limit int) error {
	const most = 100 // of a page
	for before := int64(0); limit > 0; {
		path := fmt.Sprintf("%s/ledger?limit=%d", accountPath(account), min(limit, most))
		if before > 0 {
			path += fmt.Sprintf("&before=%d", before)
		}
		var page struct {
			Currency string            `json:"currency"`
			Entries  []json.RawMessage `json:"entries"`
			Next     int64             `json:"next"`
		}
		if err := p.page(ctx, api, path, &page); err != nil {
			return err
		}
		if before == 0 && !p.cfg.json {
			p.line(ledgerLine, "number", "at", "amount", "", "kind", "reference")
		}
		for _, e := range page.Entries {
			if err := p.ledgerLine(e, page.Currency); err != nil {
				return err
			}
		}
		limit -= len(page.Entries)
		if before = page.Next; before == 0 || p.err != nil {
			break
		}
	}
	return p.err
}

func (p *apiPrinter) page(ctx context.Context, api *apiClient, path string, into any) error {
	b, err := api.get(ctx, path)
	if err != nil {
		return err
	}
	return decodeAnswer(b, into)
}

func decodeAnswer(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("read the answer of the API: %w", err)
	}
	return nil
}
