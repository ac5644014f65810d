package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

type topUpInput struct {
	ID   accountID      `path:"id"`
	Key  idempotencyKey `header:"Idempotency-Key" required:"true" doc:"One for each purchase: a repeat of the request adds nothing"`
	Body topUp
}

type topUp struct {
	Amount amount `json:"amount" doc:"What is added, in the account's currency; more than 0"`
}

func (s *server) topUpRoutes() {
	route(s, auth.Fund, s.bodyOperation(huma.Operation{
		OperationID: "top-up", Method: http.MethodPost, Path: "/v1/accounts/{id}/top-ups", Summary: "Add money by hand",
		Errors: []int{http.StatusNotFound},
	}), s.topUp)
}

// topUp appends without asking whether the account is there: the order of the
// log decides that, a view of it cannot.
func (s *server) topUp(ctx context.Context, in *topUpInput) (*changeOutput, error) {
	var f findings
	m := micros(&f, "body.amount", &in.Body.Amount)
	if len(f) > 0 {
		return nil, f.problem()
	}
	return s.change(ctx, &balance.Command{Type: balance.TopUp, Account: string(in.ID), ID: "top-up/" + string(in.Key), Amount: m})
}
