package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

type resultInput struct {
	Account accountID `path:"account"`
	N       int64     `path:"n" minimum:"1" maximum:"1099511627776" doc:"Number of the recharge: the part after the slash in recharge_id" example:"7"`
	Body    rechargeResult
}

type rechargeResult struct {
	Status   string              `json:"status" enum:"succeeded,declined"`
	Amount   field[amount]       `json:"amount,omitzero" doc:"succeeded: what was paid; it is credited as it is"`
	Currency field[currencyCode] `json:"currency,omitzero" doc:"succeeded: must be the account's"`
	Code     field[word]         `json:"code,omitzero" example:"expired_card" doc:"declined: the payment service's code, such as expired_card"`
}

func (s *server) rechargeRoutes() {
	route(s, auth.Fund|auth.Signed, s.bodyOperation(huma.Operation{
		OperationID: "recharge-result", Method: http.MethodPost, Path: "/v1/recharges/{account}/{n}/result",
		Summary:     "Report what became of a recharge",
		Description: "For payment services. A recharge is credited once: the same result may be sent again, and late.",
		Errors:      []int{http.StatusNotFound},
	}), s.rechargeResult)
	route(s, auth.Admin, s.changeOperation(huma.Operation{
		OperationID: "abandon-recharge", Method: http.MethodPost, Path: "/v1/recharges/{account}/{n}/abandon",
		Summary:     "Give up an unresolved recharge",
		Description: "For one that has had no result within 15 minutes: auto-recharge goes on as if it had not been asked for. Ask the payment service first: a result that comes later still counts.",
		Errors:      []int{http.StatusNotFound},
	}), s.abandonRecharge)
	route(s, auth.Admin, s.changeOperation(huma.Operation{
		OperationID: "resume-recharge", Method: http.MethodPost, Path: "/v1/accounts/{id}/resume",
		Summary:     "Let auto-recharge try again",
		Description: "Ends the state suspended, or the wait of cooling, without a new payment method.",
		Errors:      []int{http.StatusNotFound},
	}), s.resumeRecharge)
}

type abandonInput struct {
	Account accountID      `path:"account"`
	N       int64          `path:"n" minimum:"1" maximum:"1099511627776" doc:"Number of the recharge: the part after the slash in recharge_id" example:"7"`
	Key     idempotencyKey `header:"Idempotency-Key" doc:"Makes a repeat of the request harmless"`
}

func (s *server) abandonRecharge(ctx context.Context, in *abandonInput) (*changeOutput, error) {
	return s.change(ctx, &balance.Command{Type: balance.Abandon, Account: string(in.Account), N: in.N, ID: idOf("abandon", in.Key)})
}

type resumeInput struct {
	ID  accountID      `path:"id"`
	Key idempotencyKey `header:"Idempotency-Key" doc:"Makes a repeat of the request harmless"`
}

func (s *server) resumeRecharge(ctx context.Context, in *resumeInput) (*changeOutput, error) {
	return s.change(ctx, &balance.Command{Type: balance.Resume, Account: string(in.ID), ID: idOf("resume", in.Key)})
}

func (s *server) rechargeResult(ctx context.Context, in *resultInput) (*changeOutput, error) {
	var f findings
	c := in.Body.command(&f)
	if len(f) > 0 {
		return nil, f.problem()
	}
	// The number makes a repeat harmless; the id is there to read the outcome by.
	c.Account, c.N, c.ID = string(in.Account), in.N, "result/"+uuid.NewString()
	return s.change(ctx, c)
}

// command takes the members that belong to the status and refuses the others; what
// is missing is found by Command.Validate.
func (b *rechargeResult) command(f *findings) *balance.Command {
	c := &balance.Command{Type: balance.Result, Status: b.Status}
	if b.Status == "declined" {
		onlyWith(f, "body.amount", "succeeded", b.Amount)
		onlyWith(f, "body.currency", "succeeded", b.Currency)
		if code := notNull(f, "body.code", b.Code); code != nil {
			c.Code = string(*code)
			c.Class = balance.ClassOf(c.Code)
		} else if len(*f) == 0 {
			f.add("body.code", "required with the status declined", nil)
		}
		return c
	}
	onlyWith(f, "body.code", "declined", b.Code)
	c.Amount = micros(f, "body.amount", notNull(f, "body.amount", b.Amount))
	if currency := notNull(f, "body.currency", b.Currency); currency != nil {
		c.Currency = string(*currency)
	}
	return c
}

func onlyWith[T any](f *findings, at, status string, v field[T]) {
	if v.given {
		f.add(at, "only allowed with the status "+status, nil)
	}
}
