package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// setConfig is what `creditstream account set` is told.
type setConfig struct {
	apiConfig

	none map[string]bool // settings that are to be removed

	currency, auto, paymentMethod string
	lows                          []string
	blocked                       []string
	months                        int
	overdraft, trigger, recharge  rating.Micros
	blockHighRisk, reopen         bool
	caps                          map[string]map[string]any
}

func (c *setConfig) settings() *settings {
	c.none = map[string]bool{}
	s := c.changeSettings()
	s.add("currency", "", currencyText(&c.currency), "required when the account is created; fixed from then on")
	s.add("low-balance", "", c.orNone("low-balance", levelTexts(&c.lows)), "balances at which an alert is published: amounts, and percentages of the last purchase")
	s.add("lot-months", "", c.orNone("lot-months", whole(&c.months, 1, balance.MaxLotMonths)), "calendar months that what is bought is valid; none: 12")
	s.add("overdraft-limit", "", c.orNone("overdraft-limit", amount(&c.overdraft, 0, balance.MaxPurchase)), "how far below zero authorize lets a call go")
	s.add("blocked-prefixes", "", c.orNone("blocked-prefixes", allMatching(&c.blocked, "digits,...", `[0-9]{1,15}`, "1 to 15 digits, without +")),
		"numbers that begin with one of these are not allowed by authorize")
	s.add("block-high-risk", "", truth(&c.blockHighRisk), "whether authorize blocks destinations that frauds call")
	s.add("auto-recharge", "", c.orNone("auto-recharge", oneOf(&c.auto, "on", "off")), "none: without its settings too")
	s.add("trigger", "", amount(&c.trigger, 0, balance.MaxPurchase), "balance at which auto-recharge buys")
	s.add("recharge-amount", "", amount(&c.recharge, 1, balance.MaxPurchase), "how much it buys")
	s.add("payment-method", "", matching(&c.paymentMethod, `[!-~]{1,128}`, "1 to 128 visible ASCII characters"), "what the payment service is to charge")
	s.add("caps", "", c.orNone("caps", capTexts(&c.caps)), "at most so many requests, and so much money, a day and a month: "+
		"some of day-count=N, day-amount=A, month-count=N, month-amount=A; those not given are none")
	s.add("reopen", "", truth(&c.reopen), "open a closed account again; without it nothing is set there")
	return s
}

// orNone lets the word none remove a setting.
func (c *setConfig) orNone(name string, v value) value {
	set := v.set
	v.kind += "|none"
	v.set = func(text string) error {
		if c.none[name] = text == "none"; c.none[name] {
			return nil
		}
		return set(text)
	}
	return v
}

func newAccountSet(environ func() []string) *cobra.Command {
	var c setConfig
	s := c.settings()
	a := apiCommand{settings: s, check: func() []string { return c.wrong(s) }, Command: cobra.Command{
		Use: "set ACCOUNT", Short: "Create an account, or change its settings", Args: oneAccount,
		Long: `Sets what is given and leaves the rest as it is; the word none removes a setting. It
prints the account. A closed account is changed only with --reopen, which opens it again.

` + exitHelp,
		Example: `  creditstream account set acme --currency USD --low-balance 10,15%
  creditstream account set acme --auto-recharge on --trigger 20 --recharge-amount 50 --payment-method pm_1 --caps day-count=3,month-amount=500
  creditstream account set acme --low-balance none --auto-recharge off`,
	}}
	a.run = func(ctx context.Context, api *apiClient, args []string, p *apiPrinter) error {
		return p.change(ctx, api, http.MethodPut, accountPath(args[0]), c.body(s))
	}
	return a.build(&c.apiConfig, environ)
}

// rechargeFlags are the settings within auto_recharge.
func rechargeFlags() []string {
	return []string{"trigger", "recharge-amount", "payment-method", "caps"}
}

// wrong returns what does not go together.
func (c *setConfig) wrong(s *settings) (problems []string) {
	if len(c.body(s)) == 0 {
		return []string{"nothing is to be set: see creditstream account set --help"}
	}
	for _, name := range rechargeFlags() {
		if c.none["auto-recharge"] && s.given(name) {
			problems = append(problems, s.where(name)+": auto-recharge is to be removed: expected the one or the other")
		}
	}
	return problems
}

// body is what PUT is sent.
func (c *setConfig) body(s *settings) map[string]any {
	b, auto := map[string]any{}, map[string]any{}
	put := func(in map[string]any, member, name string, v any) {
		if c.none[name] {
			in[member] = nil
		} else if s.given(name) {
			in[member] = v
		}
	}
	put(b, "currency", "currency", c.currency)
	put(b, "low_balance", "low-balance", c.lows)
	put(b, "lot_months", "lot-months", c.months)
	put(b, "overdraft_limit", "overdraft-limit", c.overdraft)
	put(b, "blocked_prefixes", "blocked-prefixes", c.blocked)
	put(b, "block_high_risk", "block-high-risk", c.blockHighRisk)
	put(b, "reopen", "reopen", c.reopen)
	put(auto, "enabled", "auto-recharge", c.auto == "on")
	put(auto, "trigger", "trigger", c.trigger)
	put(auto, "amount", "recharge-amount", c.recharge)
	put(auto, "payment_method", "payment-method", c.paymentMethod)
	put(auto, "caps", "caps", c.caps)
	switch {
	case c.none["auto-recharge"]:
		b["auto_recharge"] = nil
	case len(auto) > 0:
		b["auto_recharge"] = auto
	}
	return b
}

// levelTexts reads low-balance levels.
func levelTexts(at *[]string) value {
	return value{kind: "level,...", list: true, set: func(text string) error {
		*at = split(text)
		for _, word := range *at {
			if _, err := balance.ParseLevel(word); err != nil {
				return fmt.Errorf("names %q: expected amounts such as 12.50, or percentages of the last purchase such as 15%%, separated by commas", word)
			}
		}
		return nil
	}}
}

// capTexts reads caps as the API takes them: the window, then count and amount.
func capTexts(at *map[string]map[string]any) value {
	return value{kind: "cap,...", list: true, set: func(text string) error {
		*at = map[string]map[string]any{}
		for _, word := range split(text) {
			name, number, _ := strings.Cut(word, "=")
			window, what, _ := strings.Cut(name, "-")
			bound, err := capBound(what, number)
			if window != "day" && window != "month" || err != nil {
				return fmt.Errorf("names %q: expected some of day-count=3, day-amount=150.00, month-count=20, month-amount=500.00, separated by commas", word)
			}
			window = "per_" + window
			if (*at)[window] == nil {
				(*at)[window] = map[string]any{}
			}
			(*at)[window][what] = bound
		}
		return nil
	}}
}

func capBound(what, number string) (any, error) {
	switch what {
	case "count":
		return strconv.Atoi(number)
	case "amount":
		return rating.ParseMicros(number)
	}
	return nil, errors.New("neither count nor amount")
}
