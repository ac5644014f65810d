package httpapi

import (
	"strconv"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// settings is the body of PUT: fields given are set, null removes, the others stay.
type settings struct {
	Currency      field[currencyCode]         `json:"currency,omitzero" doc:"Required when the account is created; fixed from then on"`
	LowBalance    field[[]level]              `json:"low_balance,omitzero" nullable:"true" maxItems:"5" doc:"Balances at which an alert is published; null removes all"`
	LotMonths     field[int]                  `json:"lot_months,omitzero" nullable:"true" minimum:"1" maximum:"120" example:"24" doc:"Calendar months that what is bought is valid, from the next purchase on; null: 12"`
	Overdraft     field[amount]               `json:"overdraft_limit,omitzero" nullable:"true" doc:"How far below zero authorize lets a call go; null: not at all"`
	Blocked       field[[]prefix]             `json:"blocked_prefixes,omitzero" nullable:"true" maxItems:"100" doc:"authorize allows no call to a number that begins with one of these; null removes all"`
	BlockHighRisk field[bool]                 `json:"block_high_risk,omitzero" doc:"Whether authorize blocks destinations that frauds call; true until it is set"`
	Reopen        field[bool]                 `json:"reopen,omitzero" doc:"true opens a closed account again; without it a PUT to one is refused"`
	AutoRecharge  field[autoRechargeSettings] `json:"auto_recharge,omitzero" nullable:"true" doc:"Members given are set, the others stay; null removes all"`
}

type autoRechargeSettings struct {
	Enabled       field[bool]        `json:"enabled,omitzero" doc:"Needs trigger, amount and payment_method to be set, here or before"`
	Trigger       field[amount]      `json:"trigger,omitzero" doc:"Balance at which credit is bought"`
	Amount        field[amount]      `json:"amount,omitzero" doc:"How much is bought; more than 0, and what can be paid in the currency: no cents in JPY. A gap larger than this is closed by one request of several times the amount"`
	PaymentMethod field[word]        `json:"payment_method,omitzero" doc:"What the payment service is to charge"`
	Caps          field[capSettings] `json:"caps,omitzero" nullable:"true" doc:"Bounds what is asked for, in UTC. Set together: a bound that is not given is none; null removes all"`
}

type capSettings struct {
	PerDay   field[boundSettings] `json:"per_day,omitzero" doc:"From midnight to midnight"`
	PerMonth field[boundSettings] `json:"per_month,omitzero" doc:"A calendar month"`
}

type boundSettings struct {
	Count  field[int64]  `json:"count,omitzero" minimum:"1" maximum:"1000" example:"3" doc:"Requests, declined ones too"`
	Amount field[amount] `json:"amount,omitzero" doc:"What they ask for in all, without declined ones; at least the amount of one"`
}

func (b *settings) settings(f *findings) *balance.Settings {
	s := &balance.Settings{
		LowBalance:      nullable(b.LowBalance, func(l []level) []balance.Level { return levels(f, l) }),
		LotMonths:       nullable(b.LotMonths, func(n int) int { return n }),
		OverdraftLimit:  nullable(b.Overdraft, func(a amount) rating.Micros { return overdraft(f, a) }),
		BlockedPrefixes: nullable(b.Blocked, prefixes),
		BlockHighRisk:   notNull(f, "body.block_high_risk", b.BlockHighRisk),
		AutoRecharge:    nullable(b.AutoRecharge, func(a autoRechargeSettings) balance.AutoRecharge { return a.settings(f) }),
	}
	if c := notNull(f, "body.currency", b.Currency); c != nil {
		s.Currency = string(*c)
	}
	if again := notNull(f, "body.reopen", b.Reopen); again != nil {
		s.Reopen = *again
	}
	return s
}

func overdraft(f *findings, a amount) rating.Micros {
	if m := micros(f, "body.overdraft_limit", &a); m != nil {
		return *m
	}
	return 0
}

func levels(f *findings, texts []level) []balance.Level {
	out := make([]balance.Level, 0, len(texts))
	for i, text := range texts {
		l, err := balance.ParseLevel(string(text))
		if err != nil {
			f.add("body.low_balance["+strconv.Itoa(i)+"]", err.Error(), text)
		}
		out = append(out, l)
	}
	return out
}

func prefixes(texts []prefix) []string {
	out := make([]string, 0, len(texts))
	for _, text := range texts {
		out = append(out, string(text))
	}
	return out
}

func (a *autoRechargeSettings) settings(f *findings) balance.AutoRecharge {
	const at = "body.auto_recharge."
	return balance.AutoRecharge{
		Enabled:       notNull(f, at+"enabled", a.Enabled),
		Trigger:       micros(f, at+"trigger", notNull(f, at+"trigger", a.Trigger)),
		Amount:        micros(f, at+"amount", notNull(f, at+"amount", a.Amount)),
		PaymentMethod: (*string)(notNull(f, at+"payment_method", a.PaymentMethod)),
		Caps: nullable(a.Caps, func(c capSettings) balance.Caps {
			return balance.Caps{PerDay: bounds(f, at+"caps.per_day", c.PerDay), PerMonth: bounds(f, at+"caps.per_month", c.PerMonth)}
		}),
	}
}

func bounds(f *findings, at string, v field[boundSettings]) *balance.Cap {
	b := notNull(f, at, v)
	if b == nil {
		return nil
	}
	return &balance.Cap{
		Count: notNull(f, at+".count", b.Count), Amount: micros(f, at+".amount", notNull(f, at+".amount", b.Amount)),
	}
}
