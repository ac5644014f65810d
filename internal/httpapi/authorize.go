package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

// standings is what authorize reads of balance.Store, in one round trip.
type standings interface {
	// Standing returns balance.ErrUnknownAccount when there is none of this id.
	Standing(ctx context.Context, account string) (*balance.Standing, error)
}

// Authorize says how POST /v1/authorize judges calls.
type Authorize struct {
	Standings standings // required
	// MaxSeconds is the longest that any call but an emergency or internal one is
	// allowed for; default 4 h, at most 24 h.
	MaxSeconds int64
	MaxCharge  rating.Micros // no call may cost more: its CDR would be parked; default rating.MaxCharge
	// AllowWhenAway allows calls while balances cannot be read, as long as MaxSeconds,
	// except to high-risk destinations. Emergency and internal ones are allowed anyway.
	AllowWhenAway bool
	Patience      time.Duration // with Redis; default 500 ms: a caller is waiting
}

func (a *Authorize) setDefaults() {
	a.MaxSeconds = cmp.Or(a.MaxSeconds, 4*60*60)
	a.MaxCharge = cmp.Or(a.MaxCharge, rating.MaxCharge)
	a.Patience = cmp.Or(a.Patience, 500*time.Millisecond)
}

// alwaysSeconds is what emergency and internal calls are allowed for, whatever is
// configured: a day.
const alwaysSeconds = 24 * 60 * 60

// What is answered, beside reasons that are those of a CDR too. The metric has
// the ones that allow as well.
const (
	toldAllowed   = "allowed"
	toldFree      = "free"      // allowed: it costs nothing
	toldUnchecked = "unchecked" // allowed though the balance could not be read
	toldInvalid   = "invalid"   // a problem: the call cannot be judged

	denyDepleted = "balance_depleted"
	denyClosed   = "account_closed"
	denyBlocked  = "blocked_destination"
	denyUnknown  = reasonUnknown
	denyAway     = reasonStoreAway
	denyNoRate   = string(rating.NoRate)
	denyCurrency = string(rating.CurrencyMismatch)
)

func told() []string {
	return []string{
		toldAllowed, toldFree, toldUnchecked, toldInvalid,
		denyDepleted, denyClosed, denyBlocked, denyUnknown, denyAway, denyNoRate, denyCurrency,
	}
}

func countAuthorizations(reg prometheus.Registerer) *prometheus.CounterVec {
	c := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "creditstream_http_authorizations_total", Help: "Calls that a switch asked about, by what it was told.",
	}, []string{"outcome"})
	for _, o := range told() {
		c.WithLabelValues(o)
	}
	return c
}

type authorizeInput struct{ Body callToMake }

// callToMake has few bounds of its own: nothing in it may keep an emergency call
// from being allowed.
type callToMake struct {
	Account string `json:"account,omitempty" example:"acme" doc:"Who pays; may be left out for emergency and internal calls"`
	Kind    string `json:"kind" example:"user_out" doc:"Kind of call, as in a CDR"`
	Caller  string `json:"caller,omitempty" example:"+14255550100" doc:"As in a CDR; nothing depends on it"`
	Callee  string `json:"callee,omitempty" example:"+442079460000" doc:"Number as dialled; digits alone are international"`
	Home    string `json:"home_country,omitempty" example:"US" doc:"Home country of the caller, two letters; default: the deck's"`
}

// authorization is the answer to a call that can be judged. Members may be added.
type authorization struct {
	_          struct{}     `additionalProperties:"true"`
	Allowed    bool         `json:"allowed"`
	MaxSeconds int64        `json:"max_seconds,omitempty" minimum:"1" example:"5400" doc:"How long the call may last from its answer; there if and only if it is allowed"`
	Rate       *rating.Rate `json:"rate,omitempty" doc:"What the call would be charged by; absent for emergency and internal calls"`
	Reason     string       `json:"reason,omitempty" enum:"balance_depleted,no_rate,unknown_account,account_closed,blocked_destination,currency_mismatch,balances_unavailable" doc:"Why it is not allowed; balances_unavailable also of a call that is allowed unchecked"`
}

type authorizeOutput struct{ Body *authorization }

func (s *server) authorize(ctx context.Context, in *authorizeInput) (*authorizeOutput, error) {
	answer, outcome, err := s.judge(ctx, &in.Body)
	s.authorizations.WithLabelValues(outcome).Inc()
	if err != nil {
		return nil, err
	}
	return &authorizeOutput{Body: answer}, nil
}

func denied(reason string) (*authorization, string, error) {
	return &authorization{Reason: reason}, reason, nil
}

func invalid(p error) (*authorization, string, error) { return nil, toldInvalid, p }

// judge decides about a call. The kind comes first: an emergency call is allowed
// whatever else is said, known or away.
func (s *server) judge(ctx context.Context, call *callToMake) (*authorization, string, error) {
	kind := rating.Kind(call.Kind)
	if kind.AlwaysFree() {
		return &authorization{Allowed: true, MaxSeconds: alwaysSeconds}, toldFree, nil
	}
	var f findings
	if !balance.ValidAccount(call.Account) {
		f.add("body.account", "expected 1 to 64 letters, digits and ._@-", call.Account)
	}
	if call.Home != "" && !twoLetters(call.Home) {
		f.add("body.home_country", "expected two letters", call.Home)
	}
	if len(f) > 0 {
		return invalid(f.problem())
	}
	opt := &s.opt.Authorize
	standing, why := s.standing(ctx, call.Account)
	switch {
	case why == denyAway && opt.AllowWhenAway:
		standing = &balance.Standing{Balance: opt.MaxCharge, BlockHighRisk: true}
	case why != "":
		return denied(why)
	}
	money := standing.Balance + standing.Overdraft
	reach, err := s.opt.Rater.Reach(&rating.CDR{
		Kind: kind, Caller: call.Caller, Callee: call.Callee, Home: call.Home, AnsweredAt: s.opt.Now().UTC(),
	}, min(money, opt.MaxCharge), opt.MaxSeconds)
	if fault, ok := errors.AsType[*rating.Fault](err); ok && fault.Reason == rating.NoRate {
		return denied(denyNoRate)
	} else if ok {
		return invalid(problem(http.StatusUnprocessableEntity, string(fault.Reason), "The call cannot be priced: %s.", fault.Message))
	} else if err != nil {
		return invalid(err)
	}
	answer := &authorization{Allowed: true, MaxSeconds: reach.Seconds, Rate: reach.Rate}
	switch {
	case kind.Outbound() && s.blocked(standing, call.Callee, reach.Home):
		return denied(denyBlocked)
	case why == "" && reach.Free:
		return answer, toldFree, nil
	case why == "" && reach.Rate.Currency != standing.Currency:
		return denied(denyCurrency)
	case reach.Seconds == 0 && money >= opt.MaxCharge:
		return invalid(problem(http.StatusUnprocessableEntity, string(rating.OutOfBounds),
			"The call cannot be charged: its first second costs more than %s.", opt.MaxCharge))
	case reach.Seconds == 0:
		return denied(denyDepleted)
	case why == denyAway:
		answer.Reason = denyAway
		return answer, toldUnchecked, nil
	}
	return answer, toldAllowed, nil
}

// standing reads what an account may spend, or says why it may not call. That it is
// unknown is believed only when this process is ready, as in read.
func (s *server) standing(ctx context.Context, account string) (standing *balance.Standing, why string) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Authorize.Patience)
	defer cancel()
	standing, err := s.opt.Authorize.Standings.Standing(ctx, account)
	switch {
	case errors.Is(err, balance.ErrUnknownAccount) && s.opt.Ready() == nil:
		return standing, denyUnknown
	case err != nil:
		s.opt.Log.DebugContext(ctx, "read standing", "account", account, "error", err)
		return standing, denyAway
	case standing.Closed:
		return standing, denyClosed
	}
	return standing, ""
}

// blocked reports whether an account may not call a number. One that cannot be
// read was not needed to price the call, which then costs nothing.
func (s *server) blocked(standing *balance.Standing, callee, home string) bool {
	digits, ok := rating.Digits(callee)
	if !ok {
		return false
	}
	return beginsWithAny(digits, standing.BlockedPrefixes) || standing.BlockHighRisk && s.highRisk.has(digits, home)
}

func twoLetters(s string) bool {
	letter := func(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }
	return len(s) == 2 && letter(s[0]) && letter(s[1])
}

func (s *server) authorizeRoute() {
	route(s, auth.Authorize, huma.Operation{
		OperationID: "authorize", Method: http.MethodPost, Path: "/v1/authorize", Summary: "May this call be made, and how long may it last",
		Description: "Asked by a switch before it makes a call: what the balance and the overdraft limit pay for by the deck in force now. " +
			"Nothing is reserved: each of several calls at once is told what there is. Emergency and internal calls are always allowed.",
		MaxBodyBytes: maxBodyBytes, BodyReadTimeout: s.opt.BodyTimeout,
		Errors: []int{
			http.StatusBadRequest, http.StatusForbidden, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge,
			http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity,
		},
		Responses: map[string]*huma.Response{"200": {Description: "Allowed, with max_seconds; or not, with the reason"}},
	}, s.authorize)
}
