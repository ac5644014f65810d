package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

// account is what a client sees of an account. Members may be added.
type account struct {
	_            struct{}        `additionalProperties:"true"`
	ID           string          `json:"id" example:"acme"`
	Currency     string          `json:"currency" example:"USD"`
	Balance      rating.Micros   `json:"balance" example:"12.345600" doc:"May be negative"`
	Status       string          `json:"status" enum:"active,depleted,closed" doc:"depleted: the balance is below zero"`
	LowBalance   []balance.Level `json:"low_balance,omitempty" nullable:"false" doc:"Levels: amounts, and percentages of the last purchase"`
	Lots         []lot           `json:"lots" nullable:"false" doc:"Purchases, earliest expiry first"`
	AutoRecharge *autoRecharge   `json:"auto_recharge,omitempty"`
}

type lot struct {
	_           struct{}      `additionalProperties:"true"`
	Amount      rating.Micros `json:"amount" example:"100.000000"`
	Remaining   rating.Micros `json:"remaining" example:"12.345600"`
	PurchasedAt time.Time     `json:"purchased_at"`
	ExpiresAt   time.Time     `json:"expires_at"`
}

type autoRecharge struct {
	_             struct{}       `additionalProperties:"true"`
	Enabled       bool           `json:"enabled"`
	Trigger       *rating.Micros `json:"trigger,omitempty" example:"20.000000"`
	Amount        *rating.Micros `json:"amount,omitempty" example:"50.000000"`
	PaymentMethod string         `json:"payment_method,omitempty" example:"pm_1"`
	State         string         `json:"state" enum:"idle,pending,cooling,suspended,unresolved"`
	Pending       string         `json:"pending,omitempty" example:"acme/7" doc:"Id of the recharge that waits for its result: in the states pending and unresolved"`
}

func view(a *balance.Account) *account {
	v := &account{
		ID: a.ID, Currency: a.Currency, Balance: a.Balance(), Status: a.Status(),
		LowBalance: a.LowBalance, Lots: make([]lot, 0, len(a.Lots)),
	}
	for _, l := range a.Lots {
		v.Lots = append(v.Lots, lot{Amount: l.Amount, Remaining: l.Remaining, PurchasedAt: l.PurchasedAt, ExpiresAt: l.ExpireAt})
	}
	if r := a.AutoRecharge; r != nil {
		v.AutoRecharge = &autoRecharge{
			Enabled: r.Enabled, Trigger: r.Trigger, Amount: r.Amount, PaymentMethod: r.PaymentMethod, State: r.State,
		}
		if r.State == "pending" || r.State == "unresolved" {
			v.AutoRecharge.Pending = a.ID + "/" + strconv.FormatInt(r.N, 10)
		}
	}
	return v
}

type getInput struct {
	ID accountID `path:"id"`
}

type getOutput struct{ Body *account }

type putInput struct {
	ID   accountID      `path:"id"`
	Key  idempotencyKey `header:"Idempotency-Key" doc:"Makes a repeat of the request harmless"`
	Body settings
}

// settings is the body of PUT: fields given are set, null removes, the others stay.
type settings struct {
	Currency     field[currencyCode]         `json:"currency,omitzero" doc:"Required when the account is created; fixed from then on"`
	LowBalance   field[[]level]              `json:"low_balance,omitzero" nullable:"true" maxItems:"5" doc:"Balances at which an alert is published; null removes all"`
	AutoRecharge field[autoRechargeSettings] `json:"auto_recharge,omitzero" nullable:"true" doc:"Members given are set, the others stay; null removes all"`
}

type autoRechargeSettings struct {
	Enabled       field[bool]   `json:"enabled,omitzero" doc:"Needs the other three to be set, here or before"`
	Trigger       field[amount] `json:"trigger,omitzero" doc:"Balance at which credit is bought"`
	Amount        field[amount] `json:"amount,omitzero" doc:"How much is bought; more than 0. A gap larger than this is closed by one request of several times the amount"`
	PaymentMethod field[word]   `json:"payment_method,omitzero" doc:"What the payment service is to charge"`
}

func (s *server) accountRoutes() {
	route(s, auth.Read, huma.Operation{
		OperationID: "get-account", Method: http.MethodGet, Path: "/v1/accounts/{id}", Summary: "Read an account",
		Errors: []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, s.getAccount)
	route(s, auth.Admin, s.bodyOperation(huma.Operation{
		OperationID: "put-account", Method: http.MethodPut, Path: "/v1/accounts/{id}", Summary: "Create or change an account",
		Description: "Fields given are set, null removes, the others stay as they are. A closed account is opened again.",
	}), s.putAccount)
}

func (s *server) getAccount(ctx context.Context, in *getInput) (*getOutput, error) {
	a, err := s.read(ctx, string(in.ID))
	if errors.Is(err, balance.ErrUnknownAccount) {
		return nil, problem(http.StatusNotFound, reasonUnknown, "There is no account %s.", in.ID)
	}
	if err != nil {
		return nil, err
	}
	return &getOutput{Body: view(a)}, nil
}

// read reads an account. It returns balance.ErrUnknownAccount or a problem. That
// an account is unknown is believed only when this process is ready: after a
// loss of Redis accounts appear again as their commands are applied.
func (s *server) read(ctx context.Context, id string) (*balance.Account, error) {
	a, err := s.opt.Accounts.Account(ctx, id)
	switch {
	case errors.Is(err, balance.ErrUnknownAccount):
		if waits := s.opt.Ready(); waits != nil {
			return nil, problem(http.StatusServiceUnavailable, reasonNotReady, "The account is not known yet; creditstream is not ready: %s. Nothing changed.", waits)
		}
		return nil, balance.ErrUnknownAccount
	case err != nil:
		s.opt.Log.DebugContext(ctx, "read account", "account", id, "error", err)
		return nil, problem(http.StatusServiceUnavailable, reasonStoreAway, "Balances cannot be read at the moment. Nothing changed; try again.")
	}
	return a, nil
}

func (s *server) putAccount(ctx context.Context, in *putInput) (*changeOutput, error) {
	var f findings
	c := &balance.Command{Type: balance.PutAccount, Account: string(in.ID), ID: "put/" + string(in.Key), Put: in.Body.settings(&f)}
	if len(f) > 0 {
		return nil, f.problem()
	}
	if in.Key == "" {
		c.ID = "put/" + uuid.NewString()
	}
	if c.Put.Currency == "" {
		if _, err := s.read(ctx, string(in.ID)); errors.Is(err, balance.ErrUnknownAccount) {
			return nil, unknown(c)
		} else if err != nil {
			return nil, err
		}
	}
	return s.change(ctx, c)
}

func (b *settings) settings(f *findings) *balance.Settings {
	s := new(balance.Settings)
	if c := notNull(f, "body.currency", b.Currency); c != nil {
		s.Currency = string(*c)
	}
	if b.LowBalance.given {
		s.LowBalance = &balance.Nullable[[]balance.Level]{Null: b.LowBalance.null}
		if !b.LowBalance.null {
			s.LowBalance.Value = make([]balance.Level, 0, len(b.LowBalance.value))
		}
		for i, text := range b.LowBalance.value {
			l, err := balance.ParseLevel(string(text))
			if err != nil {
				f.add("body.low_balance["+strconv.Itoa(i)+"]", err.Error(), text)
			}
			s.LowBalance.Value = append(s.LowBalance.Value, l)
		}
	}
	if b.AutoRecharge.given {
		a := &b.AutoRecharge.value
		s.AutoRecharge = &balance.Nullable[balance.AutoRecharge]{Null: b.AutoRecharge.null}
		s.AutoRecharge.Value = balance.AutoRecharge{
			Enabled:       notNull(f, "body.auto_recharge.enabled", a.Enabled),
			Trigger:       f.micros("body.auto_recharge.trigger", notNull(f, "body.auto_recharge.trigger", a.Trigger)),
			Amount:        f.micros("body.auto_recharge.amount", notNull(f, "body.auto_recharge.amount", a.Amount)),
			PaymentMethod: (*string)(notNull(f, "body.auto_recharge.payment_method", a.PaymentMethod)),
		}
	}
	return s
}
