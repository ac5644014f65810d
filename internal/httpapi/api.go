package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/rating"
)

// accounts is what is read of balance.Store.
type accounts interface {
	// Account returns balance.ErrUnknownAccount when there is none of this id.
	Account(ctx context.Context, id string) (*balance.Account, error)
	CommandResult(ctx context.Context, account, id string) (r balance.CommandResult, found bool, err error)
	AppliedTo(ctx context.Context, account string) (next int64, err error)
}

// lists is what is read of balance.Store page by page.
type lists interface {
	Accounts(ctx context.Context, after string, limit int) ([]balance.AccountSummary, error)
	Ledger(ctx context.Context, account string, before int64, limit int) ([]balance.LedgerEntry, error)
}

// commandLog writes to credit-commands.
type commandLog interface {
	// Append returns once the command is acknowledged by all replicas in sync. After
	// an error the command may be in the log or not.
	Append(ctx context.Context, c *balance.Command) (partition int, offset int64, err error)
}

// Options says what the API works on. Accounts, Lists, Commands, Rater,
// Authorize.Standings, Now and Gate are required.
type Options struct {
	Accounts  accounts
	Lists     lists
	Commands  commandLog
	Rater     rater
	Authorize Authorize
	Now       func() time.Time
	// Ready returns nil when this process does its work, else what it waits for, in words
	// for anybody: /readyz needs no token.
	// It is called by many goroutines. Default: always ready.
	Ready func() error

	Gate  gate         // who may do what; required: auth.Open lets everybody do everything
	Audit *slog.Logger // a line for each change, and for callers that are not let in; nil: none

	Registerer prometheus.Registerer // of the API's own metrics; nil: they are kept nowhere
	Gatherer   prometheus.Gatherer   // what /metrics shows; nil: there is no such route
	Log        *slog.Logger          // nil: none
	Version    string                // in the OpenAPI document; default "dev"

	// MaxPurchase is the most that one top-up, grant or recharge may be. Default:
	// 100,000 units of the currency.
	MaxPurchase rating.Micros

	AppendTimeout time.Duration // for the log to acknowledge a command; default 5 s
	ApplyWait     time.Duration // for a command to be applied before 202 is answered; default 5 s
	BodyTimeout   time.Duration // for the body of a request to arrive; default 5 s
}

// maxBodyBytes bounds the body of a request.
const maxBodyBytes = 64 << 10

type server struct {
	opt   Options
	guard *guard
	huma  huma.API

	highRisk       highRisk
	authorizations *prometheus.CounterVec
}

// New returns the handler of all routes. It starts no goroutine. Serve it with
// Serve, or behind timeouts of your own.
func New(opt Options) http.Handler {
	const wait = 5 * time.Second
	opt.AppendTimeout = cmp.Or(opt.AppendTimeout, wait)
	opt.ApplyWait = cmp.Or(opt.ApplyWait, wait)
	opt.BodyTimeout = cmp.Or(opt.BodyTimeout, wait)
	opt.MaxPurchase = cmp.Or(opt.MaxPurchase, 100_000*wholeUnit)
	opt.Log = cmp.Or(opt.Log, slog.New(slog.DiscardHandler))
	opt.Audit = cmp.Or(opt.Audit, slog.New(slog.DiscardHandler))
	opt.Authorize.setDefaults()
	if opt.Ready == nil {
		opt.Ready = func() error { return nil }
	}
	mux := http.NewServeMux()
	g := &guard{
		mux: mux, gate: opt.Gate, scopes: map[string]auth.Scope{}, bodyTimeout: opt.BodyTimeout, audit: newAudit(opt.Audit, opt.Registerer),
	}
	s := &server{opt: opt, guard: g, huma: humago.New(g, config(cmp.Or(opt.Version, "dev")))}
	s.highRisk, s.authorizations = newHighRisk(), countAuthorizations(opt.Registerer)
	s.accountRoutes()
	s.accountListRoute()
	s.ledgerRoute()
	s.topUpRoutes()
	s.adjustmentRoute()
	s.grantRoute()
	s.closeRoute()
	s.rechargeRoutes()
	s.quoteRoute()
	s.authorizeRoute()
	s.healthRoutes()
	addExamples(s.huma.OpenAPI())
	s.documentRoutes()
	return newFront(mux, opt.Registerer, opt.Log)
}

// config is huma's, without what it adds unasked: a docs page that loads scripts
// from elsewhere (ours is in page.go), $schema in bodies, routes for single schemas, and its own
// openapi route, which builds the document in a data race.
func config(version string) huma.Config {
	c := huma.DefaultConfig("creditstream", version)
	c.Info.Description = "Prepaid balances for calls. A change is answered when it is applied. Errors are problems of RFC 9457."
	c.Components.SecuritySchemes = securitySchemes()
	c.CreateHooks, c.DocsPath, c.SchemasPath, c.OpenAPIPath = nil, "", "", ""
	format := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshal}
	c.Formats = map[string]huma.Format{"application/json": format, "json": format} // the second for application/problem+json
	return c
}

// documentRoutes serve the OpenAPI document, for programs and for people. Both are
// made at the first request for one, when all routes are in it.
func (s *server) documentRoutes() {
	s.document("GET /openapi.json", "application/json", func(doc *huma.OpenAPI) ([]byte, error) { return json.Marshal(doc) })
	s.document("GET /docs", "text/html; charset=utf-8", writePage)
}

func (s *server) document(pattern, contentType string, write func(*huma.OpenAPI) ([]byte, error)) {
	policy := pagePolicy()
	made := sync.OnceValues(func() ([]byte, error) { return write(s.huma.OpenAPI()) })
	s.plain(auth.Anyone, pattern, func(w http.ResponseWriter, r *http.Request) {
		b, err := made()
		if err != nil {
			s.opt.Log.ErrorContext(r.Context(), "cannot write the OpenAPI document", "error", err)
			writeProblem(w, problem(http.StatusInternalServerError, reasonInternal, "There is no OpenAPI document."))
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Security-Policy", policy)
		_, _ = w.Write(b)
	})
}

// changeOperation completes an operation that makes a change.
func (s *server) changeOperation(op huma.Operation) huma.Operation {
	op.DefaultStatus, op.Responses = http.StatusOK, s.changeResponses()
	op.Errors = append(op.Errors, http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusServiceUnavailable)
	return op
}

// bodyOperation completes an operation that makes a change and reads a body.
func (s *server) bodyOperation(op huma.Operation) huma.Operation {
	op = s.changeOperation(op)
	op.MaxBodyBytes, op.BodyReadTimeout = maxBodyBytes, s.opt.BodyTimeout
	op.Errors = append(op.Errors, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	return op
}
