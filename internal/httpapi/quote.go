package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

// rater prices calls; its errors are *rating.Fault.
type rater interface {
	Explain(c *rating.CDR) (rating.Charge, *rating.Explanation, error)
}

type quoteInput struct {
	Kind    string    `query:"kind" required:"true" maxLength:"32" example:"user_out" doc:"Kind of call"`
	Callee  string    `query:"callee" maxLength:"256" example:"+442079460000" doc:"Number as dialled; digits alone are international"`
	Seconds int64     `query:"seconds" required:"true" minimum:"0" maximum:"86400" example:"90" doc:"How long the call lasts"`
	At      time.Time `query:"at" example:"2026-12-24T19:30:00Z" doc:"When it is answered; default: now"`
	Home    string    `query:"home_country" pattern:"^[A-Za-z]{2}$" example:"US" doc:"Home country of the caller; default: the deck's"`
}

// quote is what a call would cost, and why. Members may be added.
type quote struct {
	_ struct{} `additionalProperties:"true"`
	rating.Charge

	Kind       string              `json:"kind" example:"user_out"`
	AnsweredAt time.Time           `json:"answered_at" doc:"The time that the price is for"`
	Explain    *rating.Explanation `json:"explain"`
}

type quoteOutput struct{ Body *quote }

func (s *server) quoteRoute() {
	route(s, auth.Read|auth.Authorize, huma.Operation{
		OperationID: "get-quote", Method: http.MethodGet, Path: "/v1/quote", Summary: "What a call would cost, and why",
		Description: "Prices a call by the decks in force, exactly as a CDR would be, and shows the arithmetic. Nothing is charged or reserved.",
		Errors:      []int{http.StatusUnprocessableEntity},
	}, s.quote)
}

func (s *server) quote(_ context.Context, in *quoteInput) (*quoteOutput, error) {
	at := in.At
	if at.IsZero() {
		at = s.opt.Now()
	}
	c := &rating.CDR{
		Kind: rating.Kind(in.Kind), Callee: in.Callee, Home: in.Home, AnsweredAt: at.UTC(),
		DurationMillis: in.Seconds * 1000,
	}
	charge, explanation, err := s.opt.Rater.Explain(c)
	if fault, ok := errors.AsType[*rating.Fault](err); ok {
		return nil, problem(http.StatusUnprocessableEntity, string(fault.Reason), "The call cannot be priced: %s.", fault.Message)
	}
	if err != nil {
		return nil, err
	}
	return &quoteOutput{Body: &quote{Charge: charge, Kind: in.Kind, AnsweredAt: c.AnsweredAt, Explain: explanation}}, nil
}
