package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

type listInput struct {
	After accountID `query:"after" doc:"The next of the page before; absent: from the first"`
	Limit int       `query:"limit" minimum:"1" maximum:"100" default:"100" doc:"At most so many accounts"`
}

// accountList is a page of accounts. Members may be added.
type accountList struct {
	_        struct{}         `additionalProperties:"true"`
	Accounts []accountSummary `json:"accounts" nullable:"false" doc:"In the order of their ids, byte by byte"`
	Next     string           `json:"next,omitempty" example:"globex" doc:"Give it as after to read on; absent: there are no more"`
}

type accountSummary struct {
	_        struct{}      `additionalProperties:"true"`
	ID       string        `json:"id" example:"acme"`
	Currency string        `json:"currency" example:"USD"`
	Balance  rating.Micros `json:"balance" example:"12.345600" doc:"May be negative"`
	Status   string        `json:"status" enum:"active,depleted,closed" doc:"depleted: the balance is below zero"`
}

type listOutput struct{ Body *accountList }

func (s *server) accountListRoute() {
	route(s, auth.Read, huma.Operation{
		OperationID: "list-accounts", Method: http.MethodGet, Path: "/v1/accounts", Summary: "List accounts",
		Description: "A page of accounts, closed ones too. A balance is that of the moment when its page is read.",
		Errors:      []int{http.StatusServiceUnavailable},
	}, s.listAccounts)
}

// listAccounts answers only when this process is ready: after a loss of Redis
// accounts appear again as their commands are applied, and nobody would see that
// the list has holes.
func (s *server) listAccounts(ctx context.Context, in *listInput) (*listOutput, error) {
	if waits := s.opt.Ready(); waits != nil {
		return nil, problem(http.StatusServiceUnavailable, reasonNotReady, "Accounts may be missing; creditstream is not ready: %s. Try again.", waits)
	}
	found, err := s.opt.Lists.Accounts(ctx, string(in.After), in.Limit+1) // one more, to know whether there are more
	if err != nil {
		return nil, s.storeAway(ctx, "", err)
	}
	page := &accountList{Accounts: make([]accountSummary, 0, in.Limit)}
	for i := range found {
		if i == in.Limit {
			page.Next = found[i-1].ID
			break
		}
		a := &found[i]
		// the rule of a status is that of the whole account
		status := (&balance.Account{Closed: a.Closed, Funded: a.Balance}).Status()
		page.Accounts = append(page.Accounts, accountSummary{ID: a.ID, Currency: a.Currency, Balance: a.Balance, Status: status})
	}
	return &listOutput{Body: page}, nil
}
