package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

type grantInput struct {
	ID   accountID      `path:"id"`
	Key  idempotencyKey `header:"Idempotency-Key" required:"true" doc:"One for each grant: a repeat of the request adds nothing"`
	Body grant
}

type grant struct {
	Amount   amount      `json:"amount" doc:"What is added, in the account's currency; more than 0"`
	Expires  time.Time   `json:"expires_at" example:"2027-01-31T00:00:00Z" doc:"When what is left of it is forfeited; later than now"`
	Reason   oneLine     `json:"reason" doc:"Why, for people; 1 to 256 bytes"`
	Operator field[word] `json:"operator,omitzero" doc:"Who decided it; default: the name of the token"`
}

func (s *server) grantRoute() {
	route(s, auth.Admin, s.bodyOperation(huma.Operation{
		OperationID: "grant", Method: http.MethodPost, Path: "/v1/accounts/{id}/grants", Summary: "Add promotional credit",
		Description: "A lot with an expiry of its own. It is no purchase: it ends no suspension of auto-recharge, and percentages of the last purchase stay.",
		Errors:      []int{http.StatusNotFound},
	}), s.grant)
}

func (s *server) grant(ctx context.Context, in *grantInput) (*changeOutput, error) {
	var f findings
	c := &balance.Command{
		Type: balance.Grant, Account: string(in.ID), ID: "grant/" + string(in.Key),
		Amount: micros(&f, "body.amount", &in.Body.Amount), Expires: in.Body.Expires.UTC(), // the same instant is the same body
		Reason: string(in.Body.Reason), Operator: operator(ctx, &f, in.Body.Operator),
	}
	if len(f) > 0 {
		return nil, f.problem()
	}
	return s.change(ctx, c)
}
