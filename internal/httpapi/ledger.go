package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

type ledgerInput struct {
	ID     accountID `path:"id"`
	Before int64     `query:"before" minimum:"1" doc:"The next of the page before; absent: from the newest"`
	Limit  int       `query:"limit" minimum:"1" maximum:"100" default:"100" doc:"At most so many entries"`
}

// ledger is a page of an account's ledger. Members may be added.
type ledger struct {
	_        struct{}      `additionalProperties:"true"`
	Currency string        `json:"currency" example:"USD"`
	Entries  []ledgerEntry `json:"entries" nullable:"false" doc:"Newest first"`
	Next     int64         `json:"next,omitempty" example:"6" doc:"Give it as before to read on; absent: there are no more"`
}

type ledgerEntry struct {
	_         struct{}      `additionalProperties:"true"`
	Number    int64         `json:"number" example:"7" doc:"From 1, without gaps"`
	Kind      string        `json:"kind" enum:"top_up,promotion,recharge,adjustment,expiry"`
	Amount    rating.Micros `json:"amount" example:"50.000000" doc:"Below zero: it was taken"`
	At        time.Time     `json:"at" doc:"When the change was written to the log"`
	Reference string        `json:"reference" example:"acme/3" doc:"The Idempotency-Key, the id of the recharge, or the lot that expired"`
}

type ledgerOutput struct{ Body *ledger }

func (s *server) ledgerRoute() {
	route(s, auth.Read, huma.Operation{
		OperationID: "get-ledger", Method: http.MethodGet, Path: "/v1/accounts/{id}/ledger", Summary: "What changed an account's money, calls apart",
		Description: "A page of the account's last 1,000 entries; older ones are in the log of commands. Calls are in rated-cdrs.",
		Errors:      []int{http.StatusNotFound, http.StatusServiceUnavailable},
	}, s.getLedger)
}

func (s *server) getLedger(ctx context.Context, in *ledgerInput) (*ledgerOutput, error) {
	a, err := s.read(ctx, string(in.ID))
	if errors.Is(err, balance.ErrUnknownAccount) {
		return nil, notThere(in.ID)
	}
	if err != nil {
		return nil, err
	}
	entries, err := s.opt.Lists.Ledger(ctx, a.ID, in.Before, in.Limit+1) // one more: older ones may be gone
	if err != nil {
		return nil, s.storeAway(ctx, a.ID, err)
	}
	page := &ledger{Currency: a.Currency, Entries: make([]ledgerEntry, 0, len(entries))}
	if len(entries) > in.Limit {
		entries = entries[:in.Limit]
		page.Next = entries[in.Limit-1].Number
	}
	for _, e := range entries {
		page.Entries = append(page.Entries, ledgerEntry{Number: e.Number, Kind: e.Kind, Amount: e.Amount, At: e.At, Reference: e.Reference})
	}
	return &ledgerOutput{Body: page}, nil
}
