package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// otherRoute is the label of requests that match no route.
const otherRoute = "other"

// front stands before the routes: it counts, answers what the mux would answer
// in plain text, and turns a panic into a problem.
type front struct {
	mux      *http.ServeMux
	log      *slog.Logger
	origin   *http.CrossOriginProtection
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newFront(mux *http.ServeMux, reg prometheus.Registerer, log *slog.Logger) *front {
	with := promauto.With(reg)
	return &front{
		mux: mux, log: log, origin: http.NewCrossOriginProtection(),
		requests: with.NewCounterVec(prometheus.CounterOpts{
			Name: "creditstream_http_requests_total", Help: "Requests answered, by route, method and status code.",
		}, []string{"route", "method", "code"}),
		seconds: with.NewHistogramVec(prometheus.HistogramOpts{
			Name: "creditstream_http_request_seconds", Help: "Time from the head of a request to the end of its answer.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"route"}),
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	route := f.route(r)
	timer := prometheus.NewTimer(f.seconds.WithLabelValues(route))
	out := &answer{ResponseWriter: w}
	defer func() {
		timer.ObserveDuration()
		f.requests.WithLabelValues(route, methodLabel(r.Method), strconv.Itoa(max(out.code, http.StatusOK))).Inc()
	}()
	defer f.recover(r.Context(), out, route)
	h := out.Header()
	h.Set("Cache-Control", "no-store") // a balance of a moment ago is wrong
	h.Set("X-Content-Type-Options", "nosniff")
	f.serve(out, r, route)
}

// recover answers a panic with a problem, or cuts the connection when half of
// another answer is on its way.
func (f *front) recover(ctx context.Context, out *answer, route string) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // how a handler says that it gave up on the client
	}
	f.log.ErrorContext(ctx, "panic in a request", "route", route, "panic", p, "stack", string(debug.Stack()))
	if out.code != 0 {
		panic(http.ErrAbortHandler)
	}
	writeProblem(out, problem(http.StatusInternalServerError, reasonInternal, "Something is broken here. Nothing is known about this request."))
}

func (f *front) serve(w http.ResponseWriter, r *http.Request, route string) {
	if headBytes(r) > maxHeadBytes {
		writeProblem(w, problem(http.StatusRequestHeaderFieldsTooLarge, reasonHead, "The head of the request is larger than %d bytes.", maxHeadBytes))
		return
	}
	if route == otherRoute {
		f.noRoute(w, r)
		return
	}
	// A page in a browser of somebody who may reach this address must not top up.
	if err := f.origin.Check(r); err != nil {
		writeProblem(w, problem(http.StatusForbidden, reasonCrossOrigin, "Pages of another origin may not make changes here."))
		return
	}
	f.mux.ServeHTTP(w, r)
}

// maxHeadBytes bounds the target and the header of a request.
const maxHeadBytes = 16 << 10

func headBytes(r *http.Request) int {
	n := len(r.RequestURI)
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// route returns the path of the pattern that matches. A path that the mux would
// redirect to a cleaner one matches none.
func (f *front) route(r *http.Request) string {
	if !clean(r) {
		return otherRoute
	}
	_, pattern := f.mux.Handler(r)
	if _, route, ok := strings.Cut(pattern, " "); ok {
		return route
	}
	return otherRoute
}

func clean(r *http.Request) bool {
	p := r.URL.EscapedPath()
	return path.Clean(p) == p
}

// noRoute answers 405 with the methods that are allowed, or 404.
func (f *front) noRoute(w http.ResponseWriter, r *http.Request) {
	if clean(r) {
		plain, _ := f.mux.Handler(r)
		head := headOnly{header: http.Header{}}
		plain.ServeHTTP(head, r)
		if allow := head.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			writeProblem(w, problem(http.StatusMethodNotAllowed, reasonMethod, "%s is not allowed here: %s.", r.Method, allow))
			return
		}
	}
	writeProblem(w, problem(http.StatusNotFound, reasonNoRoute, "There is no such route: see /docs."))
}

func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

// answer remembers the status code.
type answer struct {
	http.ResponseWriter
	code int
}

func (a *answer) WriteHeader(code int) {
	if a.code == 0 && code >= http.StatusOK {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	return a.ResponseWriter.Write(b)
}

// Unwrap lets deadlines be set.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// headOnly takes the header of an answer and drops the rest.
type headOnly struct{ header http.Header }

func (h headOnly) Header() http.Header         { return h.header }
func (h headOnly) WriteHeader(int)             {}
func (h headOnly) Write(b []byte) (int, error) { return len(b), nil }
