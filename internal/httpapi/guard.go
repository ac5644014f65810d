package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/creditstream/creditstream/internal/auth"
)

// gate tells who a caller is. Its errors are *auth.RefusedError.
type gate interface {
	Token(authorization []string) (auth.Caller, error)
	Signature(values []string) (auth.Signature, error)
	Signer(s auth.Signature, rechargeID string, body []byte) (auth.Caller, error)
}

// A guard stands before the handler of every route, and lets only those in who may
// use it. It is the only way to the mux: a route without scopes cannot be added.
type guard struct {
	mux         *http.ServeMux
	gate        gate
	scopes      map[string]auth.Scope // by pattern
	bodyTimeout time.Duration
	audit       *audit
}

// route adds a route that callers with one of the scopes may use; auth.Anyone is
// for those that need no credentials. The document says so too.
func route[I, O any](s *server, scopes auth.Scope, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	huma.Register(s.huma, s.guarded(scopes, op), handler)
}

// guarded declares who may use an operation.
func (s *server) guarded(scopes auth.Scope, op huma.Operation) huma.Operation {
	s.guard.scopes[op.Method+" "+op.Path] = scopes
	op.Security = security(scopes)
	if scopes&auth.Anyone == 0 {
		op.Errors = append(slices.Clip(op.Errors), http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
		slices.Sort(op.Errors)
		op.Errors = slices.Compact(op.Errors)
	}
	return op
}

// plain adds a route that huma does not serve.
func (s *server) plain(scopes auth.Scope, pattern string, h http.HandlerFunc) {
	s.guard.scopes[pattern] = scopes
	s.guard.HandleFunc(pattern, h)
}

// HandleFunc implements humago.Mux. It panics when nobody has said who may use the
// route: everything that makes a server sees that at once.
func (g *guard) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	need := g.scopes[pattern]
	if need == 0 {
		panic("httpapi: " + pattern + " has no scope: add it with route(s, auth.SCOPE, ...)")
	}
	g.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c, err := g.admit(w, r, need)
		if refusal, is := errors.AsType[*auth.RefusedError](err); is {
			g.audit.refusal(r, c, refusal)
			writeRefusal(w, refusal, need)
			return
		}
		if p, is := errors.AsType[*huma.ErrorModel](err); is {
			writeProblem(w, p)
			return
		}
		if err != nil {
			panic(err) // front answers it
		}
		if len(r.Header.Values("Idempotency-Key")) > 1 { // one of them would count, and nobody knows which
			writeProblem(w, problem(http.StatusBadRequest, reasonTwoKeys, "There are several headers Idempotency-Key: send one. Nothing changed."))
			return
		}
		r.Body = &wholeBody{r.Body, w}
		h(w, r.WithContext(context.WithValue(r.Context(), askerKey{}, asker{c, r.RemoteAddr})))
	})
}

// ServeHTTP implements humago.Mux.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// admit says who asks. The error is an *auth.RefusedError, or the problem of a body
// that cannot be read.
func (g *guard) admit(w http.ResponseWriter, r *http.Request, need auth.Scope) (auth.Caller, error) {
	if need&auth.Anyone != 0 {
		return auth.Caller{How: auth.NoAuth}, nil
	}
	if values := r.Header.Values(auth.SignatureHeader); need&auth.Signed != 0 && len(values) > 0 {
		return g.admitSigned(w, r, values)
	}
	c, err := g.gate.Token(r.Header.Values("Authorization"))
	if err == nil && !c.May(need) {
		err = &auth.RefusedError{
			Reason: auth.ScopeMissing,
			Detail: fmt.Sprintf("This needs a token with the scope %s; %s has %s.", scopeText(need), c.Name, strings.Join(c.Scopes.Names(), ", ")),
		}
	}
	return c, err
}

// admitSigned reads the body, of which the handler gets the bytes that were signed.
func (g *guard) admitSigned(w http.ResponseWriter, r *http.Request, values []string) (auth.Caller, error) {
	if len(r.Header.Values("Authorization")) > 0 {
		return auth.Caller{}, &auth.RefusedError{
			Reason: auth.BadSignature, Detail: "Send either a token or a signature, not both.",
		}
	}
	signature, err := g.gate.Signature(values)
	if err != nil {
		return auth.Caller{}, err
	}
	b, err := g.readBody(w, r)
	if err != nil {
		return auth.Caller{}, err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return g.gate.Signer(signature, r.PathValue("account")+"/"+r.PathValue("n"), b)
}

// readBody keeps the limits that huma keeps for other bodies.
func (g *guard) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	late := time.AfterFunc(g.bodyTimeout, func() {
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) // a connection that has none is closed already
	})
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBodyBytes))
	if !late.Stop() {
		err = os.ErrDeadlineExceeded // also when the rest came just then: the connection has its deadline
	}
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return b, nil
	case large:
		return nil, problem(http.StatusRequestEntityTooLarge, reasonBody, "The body is larger than %d bytes.", maxBodyBytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem(http.StatusRequestTimeout, reasonBody, "The body did not arrive within %s.", g.bodyTimeout)
	}
	return nil, problem(http.StatusBadRequest, reasonBody, "The body ends too early.")
}

// A wholeBody takes the deadline for its arrival away when it has arrived: else net/http
// takes a client that has nothing more to say for one that has gone.
type wholeBody struct {
	io.ReadCloser

	w http.ResponseWriter
}

func (b *wholeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = http.NewResponseController(b.w).SetReadDeadline(time.Time{}) // a connection that has none is closed already
	}
	return n, err
}

// An asker is who has sent the request that a handler works on, and from where.
type asker struct {
	auth.Caller

	remote string
}

type askerKey struct{}

// askerOf returns who asks. Without a guard that is somebody who may do nothing.
func askerOf(ctx context.Context) asker {
	a, _ := ctx.Value(askerKey{}).(asker)
	return a
}

// writeRefusal says to the client why it is not let in.
func writeRefusal(w http.ResponseWriter, e *auth.RefusedError, need auth.Scope) {
	const challenge = `Bearer realm="creditstream"`
	status := http.StatusUnauthorized
	switch e.Reason {
	case auth.NoCredentials:
		w.Header().Set("WWW-Authenticate", challenge)
	case auth.ScopeMissing:
		status = http.StatusForbidden
		w.Header().Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+strings.Join(need.Names(), " ")+`"`)
	case auth.TooMany:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(e.RetryAfter.Seconds())))
	case auth.BadCredentials, auth.UnknownToken, auth.BadSignature, auth.StaleSignature, auth.UnknownSignature:
		w.Header().Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	}
	writeProblem(w, problem(status, string(e.Reason), "%s", e.Detail))
}

// scopeText names the scopes of which one is needed.
func scopeText(need auth.Scope) string { return strings.Join(need.Names(), " or ") }

// The names of the ways to be known, in the OpenAPI document.
const (
	tokenScheme     = "token"
	signatureScheme = "signature"
)

func securitySchemes() map[string]*huma.SecurityScheme {
	return map[string]*huma.SecurityScheme{
		tokenScheme: {
			Type: "http", Scheme: "bearer",
			Description: "A token from the file of tokens. Scopes: read, authorize, fund, admin; admin has the others too.",
		},
		signatureScheme: {
			Type: "apiKey", In: "header", Name: auth.SignatureHeader,
			Description: "t=SECONDS,v1=HEX: Unix time, at most 5 minutes from now, and the HMAC-SHA256, with a shared secret, of SECONDS, a newline, the recharge id, a newline and the body.",
		},
	}
}

// security lists the ways to be let in, of which one is enough.
func security(scopes auth.Scope) []map[string][]string {
	ways := []map[string][]string{} // not nil: needs nothing
	if scopes&auth.Anyone != 0 {
		return ways
	}
	for _, name := range scopes.Names() {
		ways = append(ways, map[string][]string{tokenScheme: {name}})
	}
	if scopes&auth.Signed != 0 {
		ways = append(ways, map[string][]string{signatureScheme: {}})
	}
	return ways
}
