package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

type adjustmentInput struct {
	ID   accountID      `path:"id"`
	Key  idempotencyKey `header:"Idempotency-Key" required:"true" doc:"One for each adjustment: a repeat of the request changes nothing"`
	Body adjustment
}

type adjustment struct {
	Amount   signedAmount `json:"amount" doc:"Above zero the customer gets it, below zero he pays it; not zero"`
	Currency currencyCode `json:"currency" doc:"Must be the account's"`
	Reason   oneLine      `json:"reason" doc:"Why, for people; 1 to 256 bytes"`
	Operator field[word]  `json:"operator,omitzero" doc:"Who decided it; default: the name of the token"`
}

func (s *server) adjustmentRoute() {
	route(s, auth.Admin, s.bodyOperation(huma.Operation{
		OperationID: "adjust", Method: http.MethodPost, Path: "/v1/accounts/{id}/adjustments", Summary: "Give or take money by hand",
		Description: "For refunds and corrections. What is given is a lot of its own and valid as a purchase is; what is taken may leave the balance below zero.",
		Errors:      []int{http.StatusNotFound},
	}), s.adjust)
}

func (s *server) adjust(ctx context.Context, in *adjustmentInput) (*changeOutput, error) {
	var f findings
	c := &balance.Command{
		Type: balance.Adjust, Account: string(in.ID), ID: "adjust/" + string(in.Key),
		Amount: micros(&f, "body.amount", &in.Body.Amount), Currency: string(in.Body.Currency),
		Reason: string(in.Body.Reason), Operator: operator(ctx, &f, in.Body.Operator),
	}
	if len(f) > 0 {
		return nil, f.problem()
	}
	return s.change(ctx, c)
}

// operator returns who decides on money that nobody has paid for: whom the body
// names, else the token. It is part of the command: the same key by another is 409.
func operator(ctx context.Context, f *findings, given field[word]) string {
	if o := notNull(f, "body.operator", given); o != nil {
		return string(*o)
	}
	name := askerOf(ctx).Name
	if name == "" && !given.given {
		f.add("body.operator", "required without a token: who decided it", nil)
	}
	return name
}
