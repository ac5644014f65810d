package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

// changeOutput is the answer to a change: 200 and the account, or 202 and where
// to look.
type changeOutput struct {
	Status   int
	Location string `header:"Location" hidden:"true"`
	Body     any
}

// receipt is what became of a change, without the account.
type receipt struct {
	Status string `json:"status" enum:"accepted,applied"`
}

func (s *server) changeResponses() map[string]*huma.Response {
	schemas := s.huma.OpenAPI().Components.Schemas
	body := func(types ...reflect.Type) map[string]*huma.MediaType {
		schema := schemas.Schema(types[0], true, "")
		if len(types) > 1 {
			schema = &huma.Schema{OneOf: []*huma.Schema{schema, schemas.Schema(types[1], true, "")}}
		}
		return map[string]*huma.MediaType{"application/json": {Schema: schema}}
	}
	return map[string]*huma.Response{
		"200": {Description: "Applied: the account as it is now; its status alone for who may not read accounts", Content: body(reflect.TypeFor[account](), reflect.TypeFor[receipt]())},
		"202": {
			Description: "Accepted, but not applied in time: it will be. The same request says what became of it, given the same Idempotency-Key",
			Headers:     map[string]*huma.Param{"Location": {Description: "The account", Schema: &huma.Schema{Type: huma.TypeString}}},
			Content:     body(reflect.TypeFor[receipt]()),
		},
	}
}

// idOf makes the id of a command that needs no key: without one it is new each time.
func idOf(verb string, key idempotencyKey) string {
	return verb + "/" + cmp.Or(string(key), uuid.NewString())
}

// change appends a command with an id, waits until it is applied and answers with
// the account or with why it was refused, as far as the caller may know it.
func (s *server) change(ctx context.Context, c *balance.Command) (*changeOutput, error) {
	out, err := s.carryOut(ctx, c)
	s.guard.audit.change(ctx, c, out, err)
	if askerOf(ctx).May(auth.Read) {
		return out, err
	}
	return withoutAccount(out, err)
}

// refuse refuses a change before it is appended; that has its line too.
func (s *server) refuse(ctx context.Context, c *balance.Command, err error) (*changeOutput, error) {
	s.guard.audit.change(ctx, c, nil, err)
	return nil, err
}

// withoutAccount takes from an answer what only those may know who may read
// accounts. All refusals that depend on what the account is, or that it is none, are
// one: else a request that changes nothing would tell them apart.
func withoutAccount(out *changeOutput, err error) (*changeOutput, error) {
	p, isProblem := errors.AsType[*huma.ErrorModel](err)
	switch {
	case !isProblem && err != nil:
		return nil, err
	case !isProblem && out.Status == http.StatusOK:
		return &changeOutput{Status: http.StatusOK, Body: receipt{Status: outcomeApplied}}, nil
	case !isProblem:
		return out, nil
	}
	switch reasonOf(p) {
	case reasonInvalid, reasonAboveLimit, reasonInternal, reasonLogAway, reasonStoreAway:
		return nil, p // these do not depend on the account
	}
	return nil, problem(http.StatusConflict, reasonNotApplied, "Nothing changed. Why is told to tokens with the scope read alone: there may be no such account, "+
		"it may not take this change, or the Idempotency-Key was used with another body.")
}

func (s *server) carryOut(ctx context.Context, c *balance.Command) (*changeOutput, error) {
	if err := c.Validate(); err != nil {
		return nil, problem(http.StatusUnprocessableEntity, reasonInvalid, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if err := s.checkPurchase(ctx, c); err != nil {
		return nil, err
	}
	digest, err := c.Digest()
	if err != nil {
		return nil, problem(http.StatusInternalServerError, reasonInternal, "The command has no digest: %s.", err)
	}
	offset, err := s.append(ctx, c)
	if err != nil {
		s.opt.Log.DebugContext(ctx, "append command", "account", c.Account, "error", err)
		return nil, problem(http.StatusServiceUnavailable, reasonLogAway, "%s", unknownOutcome(c))
	}
	a, err := s.await(ctx, c, digest, offset)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return &changeOutput{
			Status: http.StatusAccepted, Location: "/v1/accounts/" + url.PathEscape(c.Account), Body: receipt{Status: outcomeAccepted},
		}, nil
	}
	return &changeOutput{Status: http.StatusOK, Body: view(a)}, nil
}

// append goes on when the client has gone away: half a request must not become a
// command of which nobody knows whether it is in the log.
func (s *server) append(ctx context.Context, c *balance.Command) (int64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.AppendTimeout)
	defer cancel()
	_, offset, err := s.opt.Commands.Append(ctx, c)
	return offset, err
}

func unknownOutcome(c *balance.Command) string {
	again := "Send the same request again with the same Idempotency-Key: it counts once."
	if c.Type == balance.Result {
		again = "Send the same result again: it counts once."
	}
	return "The log of commands did not answer. Nothing is known about this change: it may be applied later, or never. " + again
}

// Waits between two looks at what is applied.
const (
	firstLook = 2 * time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// await returns the account once the command is applied, a problem if it had no
// effect, and nil for both if that is not known in time. While Redis is away it
// goes on asking: the command is in the log, and that is what counts.
func (s *server) await(ctx context.Context, c *balance.Command, digest string, offset int64) (*balance.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.ApplyWait)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var why error
	for wait := firstLook; ; wait = min(2*wait, lastLook) {
		select {
		case <-ctx.Done():
			s.opt.Log.DebugContext(ctx, "command not known to be applied in time", "account", c.Account, "error", why)
			return nil, nil //nolint:nilnil // stated above
		case <-timer.C:
		}
		var a *balance.Account
		var final bool
		if a, final, why = s.outcome(ctx, c, digest, offset); final {
			return a, why
		}
		timer.Reset(wait)
	}
}

var errNotApplied = errors.New("not applied yet")

// outcome looks once. final is false, and the error says why, while it is not
// known what became of the command.
func (s *server) outcome(ctx context.Context, c *balance.Command, digest string, offset int64) (a *balance.Account, final bool, err error) {
	next, err := s.opt.Accounts.AppliedTo(ctx, c.Account)
	if err != nil {
		return nil, false, err
	}
	if next <= offset {
		return nil, false, errNotApplied
	}
	r, found, err := s.opt.Accounts.CommandResult(ctx, c.Account, c.ID)
	if err != nil {
		return nil, false, err
	}
	if found && r.Digest != digest {
		return nil, true, problem(http.StatusConflict, reasonKeyConflict, "This Idempotency-Key was used with another body. Nothing changed.")
	}
	if r.Refused != "" {
		if err := refusal(r.Refused, c); err != nil {
			return nil, true, err
		}
	}
	a, err = s.opt.Accounts.Account(ctx, c.Account)
	switch {
	case err == nil && found:
		return a, true, nil
	case errors.Is(err, balance.ErrUnknownAccount) && !found && !creates(c):
		// Unless Redis went back meanwhile: then the command will be applied again.
		if next, err = s.opt.Accounts.AppliedTo(ctx, c.Account); err != nil || next <= offset {
			return nil, false, errors.Join(errNotApplied, err)
		}
		return nil, true, unknown(c)
	case err == nil || errors.Is(err, balance.ErrUnknownAccount):
		return nil, false, errNotApplied // two answers that exclude each other: Redis went back between them
	}
	return nil, false, err
}

// creates reports whether the command makes an account that is not there.
func creates(c *balance.Command) bool { return c.Put != nil && c.Put.Currency != "" }

// unknown is the problem of a command for an account that was not there when its
// turn came.
func unknown(c *balance.Command) error {
	if c.Type == balance.PutAccount {
		return problem(http.StatusUnprocessableEntity, reasonNeedsCurrency, "There is no account %s; to create it, give its currency. Nothing changed.", c.Account)
	}
	return problem(http.StatusNotFound, reasonUnknown, "There is no account %s. Nothing changed.", c.Account)
}
