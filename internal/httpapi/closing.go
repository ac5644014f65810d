package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

type closeInput struct {
	ID   accountID      `path:"id"`
	Key  idempotencyKey `header:"Idempotency-Key" doc:"Makes a repeat of the request harmless"`
	Body *closing
}

type closing struct {
	Force bool `json:"force,omitempty" doc:"Close it though money is left or may still come"`
}

func (s *server) closeRoute() {
	route(s, auth.Admin, s.bodyOperation(huma.Operation{
		OperationID: "close-account", Method: http.MethodPost, Path: "/v1/accounts/{id}/close", Summary: "Close an account",
		Description: "authorize allows it no more calls and auto-recharge buys nothing more. Calls that were made, and payments that were asked for, still count. " +
			"It is refused while money is left or a recharge waits for its result, unless forced. A PUT with reopen opens it again.",
		Errors: []int{http.StatusNotFound},
	}), s.close)
}

func (s *server) close(ctx context.Context, in *closeInput) (*changeOutput, error) {
	c := &balance.Command{
		Type: balance.CloseAccount, Account: string(in.ID), ID: idOf("close", in.Key), Force: in.Body != nil && in.Body.Force,
	}
	if !c.Force {
		if err := s.mayClose(ctx, c); err != nil {
			return s.refuse(ctx, c, err)
		}
	}
	return s.change(ctx, c)
}

// mayClose refuses to close an account that has money, or may get some. It asks
// whoever closes to look, and is no guard: the command closes whatever it finds,
// and money that comes after this look is left in the account. What was decided
// under this key before is not asked for again.
func (s *server) mayClose(ctx context.Context, c *balance.Command) error {
	if _, found, err := s.opt.Accounts.CommandResult(ctx, c.Account, c.ID); err != nil {
		return s.storeAway(ctx, c.Account, err)
	} else if found {
		return nil
	}
	a, err := s.read(ctx, c.Account)
	if errors.Is(err, balance.ErrUnknownAccount) {
		return unknown(c)
	}
	if err != nil || a.Closed {
		return err
	}
	const force = `close it all the same with {"force": true}. Nothing changed.`
	if a.Balance() > 0 {
		return problem(http.StatusConflict, reasonMoneyLeft, "The account still has %s %s: pay it back and take it with an adjustment, or "+force, a.Balance(), a.Currency)
	}
	if id := pending(a); id != "" {
		return problem(http.StatusConflict, reasonRechargePending, "Recharge %s has no result yet, and would be credited if it is paid: wait for it, or "+force, id)
	}
	return nil
}
