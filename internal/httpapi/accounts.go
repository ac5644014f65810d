package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

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
	LotMonths    int             `json:"lot_months,omitempty" example:"24" doc:"Calendar months that purchases to come are valid; absent: 12"`
	Overdraft    rating.Micros   `json:"overdraft_limit" example:"5.000000" doc:"How far below zero authorize lets a call go"`
	Blocked      []string        `json:"blocked_prefixes,omitempty" nullable:"false" doc:"Numbers that authorize does not allow begin with one of these"`
	HighRisk     bool            `json:"block_high_risk" doc:"Whether authorize blocks destinations that frauds call"`
	Lots         []lot           `json:"lots" nullable:"false" doc:"Purchases, grants and refunds, earliest expiry first"`
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
	Caps          *caps          `json:"caps,omitempty" doc:"At most so many requests, and so much money, in a window; UTC"`
	State         string         `json:"state" enum:"idle,pending,cooling,suspended,unresolved,capped"`
	Pending       string         `json:"pending,omitempty" example:"acme/7" doc:"Id of the recharge that waits for its result: in the states pending and unresolved"`
}

type caps struct {
	_        struct{} `additionalProperties:"true"`
	PerDay   *bound   `json:"per_day,omitempty"`
	PerMonth *bound   `json:"per_month,omitempty" doc:"A calendar month"`
}

type bound struct {
	_      struct{}       `additionalProperties:"true"`
	Count  *int64         `json:"count,omitempty" example:"3"`
	Amount *rating.Micros `json:"amount,omitempty" example:"500.000000"`
}

func view(a *balance.Account) *account {
	v := &account{
		ID: a.ID, Currency: a.Currency, Balance: a.Balance(), Status: a.Status(),
		LowBalance: a.LowBalance, LotMonths: a.LotMonths, Overdraft: a.Overdraft, Blocked: a.BlockedPrefixes, HighRisk: a.BlockHighRisk,
		Lots: make([]lot, 0, len(a.Lots)),
	}
	for _, l := range a.Lots {
		v.Lots = append(v.Lots, lot{Amount: l.Amount, Remaining: l.Remaining, PurchasedAt: l.PurchasedAt, ExpiresAt: l.ExpireAt})
	}
	if r := a.AutoRecharge; r != nil {
		v.AutoRecharge = &autoRecharge{
			Enabled: r.Enabled, Trigger: r.Trigger, Amount: r.Amount, PaymentMethod: r.PaymentMethod, Caps: viewCaps(&r.Caps), State: r.State,
			Pending: pending(a),
		}
	}
	return v
}

func viewCaps(c *balance.Caps) *caps {
	if *c == (balance.Caps{}) {
		return nil
	}
	return &caps{PerDay: viewCap(c.PerDay), PerMonth: viewCap(c.PerMonth)}
}

func viewCap(c *balance.Cap) *bound {
	if c == nil {
		return nil
	}
	return &bound{Count: c.Count, Amount: c.Amount}
}

// pending returns the id of the recharge that waits for its result, or nothing.
func pending(a *balance.Account) string {
	if r := a.AutoRecharge; r != nil && (r.State == "pending" || r.State == "unresolved") {
		return a.ID + "/" + strconv.FormatInt(r.N, 10)
	}
	return ""
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

func (s *server) accountRoutes() {
	route(s, auth.Read, huma.Operation{
		OperationID: "get-account", Method: http.MethodGet, Path: "/v1/accounts/{id}", Summary: "Read an account",
		Errors: []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, s.getAccount)
	route(s, auth.Admin, s.bodyOperation(huma.Operation{
		OperationID: "put-account", Method: http.MethodPut, Path: "/v1/accounts/{id}", Summary: "Create or change an account",
		Description: "Fields given are set, null removes, the others stay as they are. A closed account is changed only by a body that opens it again.",
	}), s.putAccount)
}

func (s *server) getAccount(ctx context.Context, in *getInput) (*getOutput, error) {
	a, err := s.read(ctx, string(in.ID))
	if errors.Is(err, balance.ErrUnknownAccount) {
		return nil, notThere(in.ID)
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
		return nil, s.storeAway(ctx, id, err)
	}
	return a, nil
}

func (s *server) storeAway(ctx context.Context, account string, err error) error {
	s.opt.Log.DebugContext(ctx, "read balances", "account", account, "error", err)
	return problem(http.StatusServiceUnavailable, reasonStoreAway, "Balances cannot be read at the moment. Nothing changed; try again.")
}

func notThere(id accountID) error {
	return problem(http.StatusNotFound, reasonUnknown, "There is no account %s.", id)
}

func (s *server) putAccount(ctx context.Context, in *putInput) (*changeOutput, error) {
	var f findings
	c := &balance.Command{Type: balance.PutAccount, Account: string(in.ID), ID: idOf("put", in.Key), Put: in.Body.settings(&f)}
	if len(f) > 0 {
		return nil, f.problem()
	}
	if n := c.Put.AutoRecharge; n != nil && !n.Null {
		n.Value.Most = new(s.opt.MaxPurchase)
	}
	if c.Put.Currency == "" {
		if _, err := s.read(ctx, string(in.ID)); errors.Is(err, balance.ErrUnknownAccount) {
			return s.refuse(ctx, c, unknown(c))
		} else if err != nil {
			return s.refuse(ctx, c, err)
		}
	}
	return s.change(ctx, c)
}
