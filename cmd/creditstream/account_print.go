package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// apiPrinter prints what the API answers.
type apiPrinter struct {
	printer

	stderr io.Writer
	cfg    *apiConfig
}

// What the API says of an account, as far as it is shown as text.
type (
	accountText struct {
		ID           string        `json:"id"`
		Currency     string        `json:"currency"`
		Balance      string        `json:"balance"`
		Status       string        `json:"status"`
		LowBalance   []string      `json:"low_balance"`
		LotMonths    int           `json:"lot_months"`
		Overdraft    string        `json:"overdraft_limit"`
		Blocked      []string      `json:"blocked_prefixes"`
		HighRisk     bool          `json:"block_high_risk"`
		Lots         []lotText     `json:"lots"`
		AutoRecharge *rechargeText `json:"auto_recharge"`
	}
	lotText struct {
		Amount      string `json:"amount"`
		Remaining   string `json:"remaining"`
		PurchasedAt string `json:"purchased_at"`
		ExpiresAt   string `json:"expires_at"`
	}
	rechargeText struct {
		Enabled       bool                 `json:"enabled"`
		Trigger       string               `json:"trigger"`
		Amount        string               `json:"amount"`
		PaymentMethod string               `json:"payment_method"`
		Caps          map[string]boundText `json:"caps"`
		State         string               `json:"state"`
		Pending       string               `json:"pending"`
	}
	boundText struct {
		Count  json.Number `json:"count"`
		Amount string      `json:"amount"`
	}
)

// asJSON prints what the API answers as it is, if that was asked for; else it
// decodes it.
func (p *apiPrinter) asJSON(b []byte, into any) (done bool, err error) {
	if p.cfg.json {
		p.raw(b)
		return true, p.err
	}
	return false, decodeAnswer(b, into)
}

// account prints an account, or what a caller is told who may not read it.
func (p *apiPrinter) account(b []byte) error {
	var a accountText
	if done, err := p.asJSON(b, &a); done || err != nil {
		return err
	}
	if a.ID == "" {
		p.line("%s", safe(a.Status)) // applied
		return p.err
	}
	t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	row := func(name, format string, v ...any) {
		_, _ = fmt.Fprintf(t, name+"\t"+format+"\n", v...) // Flush has the error
	}
	row("account", "%s", safe(a.ID))
	row("status", "%s", a.Status)
	row("balance", "%s %s", a.Balance, a.Currency)
	row("low balance", "%s", orDash(strings.Join(a.LowBalance, ", ")))
	if a.LotMonths == 0 {
		row("lots valid", "12 months")
	} else {
		row("lots valid", "%s", count(a.LotMonths, "month"))
	}
	row("overdraft limit", "%s", a.Overdraft)
	row("blocked prefixes", "%s", orDash(strings.Join(a.Blocked, ", ")))
	row("high-risk destinations", "%s", map[bool]string{true: "blocked", false: "allowed"}[a.HighRisk])
	row("auto-recharge", "%s", a.AutoRecharge.words())
	if r := a.AutoRecharge; r != nil {
		row("  buys", "%s at %s or less, from %s", orDash(r.Amount), orDash(r.Trigger), orDash(safe(r.PaymentMethod)))
		row("  caps", "%s", r.capWords())
	}
	for i, l := range a.Lots {
		name := ""
		if i == 0 {
			name = "lots"
		}
		row(name, "%s of %s, bought %s, expires %s", l.Remaining, l.Amount, l.PurchasedAt, l.ExpiresAt)
	}
	if len(a.Lots) == 0 {
		row("lots", "-")
	}
	p.err = t.Flush()
	return p.err
}

// words says in what state auto-recharge is.
func (r *rechargeText) words() string {
	if r == nil {
		return "-"
	}
	text := map[bool]string{true: "on", false: "off"}[r.Enabled] + ", " + safe(r.State)
	if r.Pending != "" {
		text += ": " + safe(r.Pending) + " has no result yet"
	}
	return text
}

func (r *rechargeText) capWords() string {
	var words []string
	for _, w := range []string{"day", "month"} {
		b := r.Caps["per_"+w]
		if b.Count != "" {
			words = append(words, b.Count.String()+" a "+w)
		}
		if b.Amount != "" {
			words = append(words, b.Amount+" a "+w)
		}
	}
	return orDash(strings.Join(words, ", "))
}

// The columns of lists. Lines are written as their pages come, so columns are as
// wide as most ids and amounts are.
const (
	accountLine = "%-24s  %20s %-3s  %s"
	ledgerLine  = "%8s  %-24s  %20s %-3s  %-10s  %s"
)

func (p *apiPrinter) accountLine(b json.RawMessage) error {
	var a accountText
	if done, err := p.asJSON(b, &a); done || err != nil {
		return err
	}
	p.line(accountLine, safe(a.ID), a.Balance, a.Currency, a.Status)
	return p.err
}

func (p *apiPrinter) ledgerLine(b json.RawMessage, currency string) error {
	var e struct {
		Number    json.Number `json:"number"`
		Kind      string      `json:"kind"`
		Amount    string      `json:"amount"`
		At        string      `json:"at"`
		Reference string      `json:"reference"`
	}
	if done, err := p.asJSON(b, &e); done || err != nil {
		return err
	}
	p.line(ledgerLine, e.Number, e.At, e.Amount, currency, e.Kind, safe(e.Reference))
	return p.err
}
