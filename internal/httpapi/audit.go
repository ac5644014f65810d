package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"golang.org/x/time/rate"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
)

// The outcomes of a change in its audit line.
const (
	outcomeApplied  = "applied"  // now or before: a repeat
	outcomeAccepted = "accepted" // in the log, and not applied in time: it will be, or be refused
	outcomeRefused  = "refused"  // nothing changed
	outcomeUnknown  = "unknown"  // perhaps in the log
)

// How often a caller that is not let in has a line of its own: whoever sends
// requests for nothing shall not fill a disk. The metric counts all.
const (
	refusalLinesPerSecond = 1
	refusalLinesAtOnce    = 20
)

// An audit writes down who changed what, and who was not let in.
type audit struct {
	log     *slog.Logger
	lines   *rate.Limiter // of refusals
	left    atomic.Int64  // refusals without a line since the last one with
	refused *prometheus.CounterVec
}

func newAudit(log *slog.Logger, reg prometheus.Registerer) *audit {
	a := &audit{
		log: log, lines: rate.NewLimiter(refusalLinesPerSecond, refusalLinesAtOnce),
		refused: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_http_refusals_total", Help: "Requests that were not let in, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range auth.Reasons() {
		a.refused.WithLabelValues(string(reason))
	}
	return a
}

// change writes the line of a change. It is the only place where an account's id
// leaves in a line above debug: that is what the line is for.
func (a *audit) change(ctx context.Context, c *balance.Command, out *changeOutput, err error) {
	who := askerOf(ctx)
	outcome, refusal, status := outcomeApplied, "", http.StatusOK
	p, isProblem := errors.AsType[*huma.ErrorModel](err)
	switch {
	case isProblem:
		outcome, refusal, status = outcomeRefused, reasonOf(p), p.Status
		if refusal == reasonLogAway {
			outcome = outcomeUnknown
		}
	case err != nil:
		outcome, refusal, status = outcomeUnknown, reasonInternal, http.StatusInternalServerError
	case out.Status == http.StatusAccepted:
		outcome, status = outcomeAccepted, out.Status
	}
	attrs := []slog.Attr{
		slog.String("how", string(who.How)), slog.String("who", who.Name), slog.String("remote", who.remote),
		slog.String("command", string(c.Type)), slog.String("account", c.Account), slog.String("id", c.ID),
		slog.String("outcome", outcome), slog.String("refusal", refusal), slog.Int("status", status),
	}
	if c.Amount != nil {
		attrs = append(attrs, slog.String("amount", c.Amount.String()))
	}
	said, err := json.Marshal(c)
	if err != nil {
		said = nil // the command has no bytes, so it is not in the log either
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "change", append(attrs, slog.Any("said", json.RawMessage(said)))...)
}

// refusal writes that a caller was not let in.
func (a *audit) refusal(r *http.Request, c auth.Caller, e *auth.RefusedError) {
	a.refused.WithLabelValues(string(e.Reason)).Inc()
	if !a.lines.Allow() {
		a.left.Add(1)
		return
	}
	a.log.LogAttrs(r.Context(), slog.LevelWarn, "caller refused",
		slog.String("reason", string(e.Reason)), slog.String("who", c.Name), slog.String("remote", r.RemoteAddr),
		slog.String("route", r.Pattern), slog.Int64("lines_left_out", a.left.Swap(0)))
}
