package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/httpapi"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do("GET /livez", "").is(200, "alive")
	if a := c.do("GET /readyz", "").is(200, "ready"); !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("Content-Type %q", a.header.Get("Content-Type"))
	}
	c.change(func() { c.notReady = errors.New("waiting for Redis") })
	c.do("GET /readyz", "").is(503, `"waiting for Redis"`).because("not_ready")
	c.do("GET /livez", "").is(200)
}

func TestRoutesThatAreNot(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	for _, request := range []string{
		"GET /", "GET /v1", "POST /v1", "GET /v1/accounts/", "GET /v1/accounts/acme/", "PUT /v1//accounts/acme",
		"GET /v1/accounts/x/../y", "GET /docs/", "GET /openapi", "GET /openapi.yaml", "GET /schemas/Account.json", "PUT /v1/accounts/acme/top-ups/1",
	} {
		c.do(request, "").is(404).because("no_such_route")
	}
	for request, allow := range map[string]string{
		"DELETE /v1/accounts/acme":                 "GET, HEAD, PUT",
		"POST /v1/accounts/acme":                   "GET, HEAD, PUT",
		"POST /v1/accounts":                        "GET, HEAD",
		"OPTIONS /v1/accounts/acme":                "GET, HEAD, PUT",
		"GET /v1/accounts/acme/top-ups":            "POST",
		"PATCH /v1/recharges/acme/1/result":        "POST",
		"POST /livez":                              "GET, HEAD",
		"BREW /metrics":                            "GET, HEAD",
		"POST /openapi.json":                       "GET, HEAD",
		"TRACE /v1/recharges/acme/anything/result": "POST",
	} {
		a := c.do(request, "").is(405, allow).because("method_not_allowed")
		if a.header.Get("Allow") != allow {
			t.Errorf("%s: Allow %q, want %q", request, a.header.Get("Allow"), allow)
		}
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	for path, code := range map[string]int{"/v1/accounts/acme": 200, "/v1/accounts/nobody": 404, "/livez": 200, "/none": 404} {
		if a := c.do("HEAD "+path, ""); a.code != code || a.text != "" {
			t.Errorf("%s: %d %q", path, a.code, a.text)
		}
	}
}

func TestBodiesThatAreNotTaken(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld(), func(o *httpapi.Options) { o.BodyTimeout = 50 * time.Millisecond })
	large := `{"currency":"USD","low_balance":["` + strings.Repeat("1", 64<<10) + `"]}`
	c.do(acme, large).is(413, "65536")
	c.do(acme, complete, "Content-Type: application/x-www-form-urlencoded").is(415, "unknown content type")
	c.do(acme, complete, "Content-Type: application/json; charset=utf-8").is(200)

	conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PUT /v1/accounts/acme HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{") // and never the rest
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a body that does not come: %s, %v", res.Status, res.Header)
	}
	if n := len(c.commands(0)); n != 1 {
		t.Errorf("%d commands in the log, want 1", n)
	}
}

func TestPagesOfOtherOriginsMayOnlyRead(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete, "Sec-Fetch-Site: cross-site").is(403).because("cross_origin")
	c.do(acme, complete, "Origin: http://evil.example").is(403).because("cross_origin")
	c.do(acme, complete, "Sec-Fetch-Site: same-origin").is(200)
	c.do("GET /v1/accounts/acme", "", "Sec-Fetch-Site: cross-site").is(200)
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.do(acme, complete).is(200)
	c.do("HEAD /v1/accounts/nobody", "")
	c.do("GET /v1/accounts/nobody", "").is(404)
	c.do("BREW /some/path", "").is(404)
	a := c.do("GET /metrics", "").is(200,
		`creditstream_http_requests_total{code="200",method="PUT",route="/v1/accounts/{id}"} 2`,
		`creditstream_http_requests_total{code="404",method="HEAD",route="/v1/accounts/{id}"} 1`,
		`creditstream_http_requests_total{code="404",method="GET",route="/v1/accounts/{id}"} 1`,
		`creditstream_http_requests_total{code="404",method="other",route="other"} 1`,
		`creditstream_http_request_seconds_count{route="/v1/accounts/{id}"} 4`)
	for _, no := range []string{"acme", "nobody", "some/path"} {
		if strings.Contains(a.text, no) {
			t.Errorf("%q in the metrics", no)
		}
	}
}

// A buffer is written to and read by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestAPanicIsAProblem(t *testing.T) {
	t.Parallel()
	var log buffer
	w := newWorld()
	c := start(t, w, func(o *httpapi.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	c.do(acme, complete).is(200)
	w.onApplied = func() { panic("boom") }
	c.do(acme, complete).is(500, "Nothing is known").because("internal_error")
	c.do("GET /metrics", "").is(200, `creditstream_http_requests_total{code="500",method="PUT",route="/v1/accounts/{id}"} 1`)
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("not logged: %s", log.String())
	}
}

func TestNothingIsLoggedAboveDebug(t *testing.T) {
	t.Parallel()
	var log buffer
	w := newWorld()
	c := start(t, w, applyWait(10*time.Millisecond), func(o *httpapi.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	c.do(acme, complete).is(200)
	w.change(func() { w.held = true })
	c.do(acme, complete).is(202)
	w.change(func() { w.readErr = errAway })
	c.do("GET /v1/accounts/acme", "").is(503)
	w.change(func() { w.logErr = errAway })
	c.do(acme, complete).is(503)
	if log.String() != "" {
		t.Errorf("logged: %s", log.String())
	}
}

func TestServeStopsWithChangesInHand(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.held = true
	waiting := make(chan struct{}, 1000)
	w.onApplied = func() { waiting <- struct{}{} }
	h := httpapi.New(httpapi.Options{Accounts: w, Commands: w, Gate: auth.Open{}, ApplyWait: time.Minute})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stopped := make(chan error, 1)
	go func() {
		stopped <- httpapi.ServeWithin(ctx, ln, h, slog.New(slog.DiscardHandler), 20*time.Millisecond, 10*time.Second)
	}()
	c := &client{T: t, world: w, url: "http://" + ln.Addr().String()}
	c.do("GET /livez", "").is(200)
	code := make(chan int, 1)
	go func() {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, c.url+"/v1/accounts/acme", strings.NewReader(complete))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			code <- 0
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		code <- res.StatusCode
	}()
	within(t, waiting)
	stop()
	if got := within(t, code); got != http.StatusAccepted {
		t.Errorf("the change in hand was answered %d, want 202", got)
	}
	if err := within(t, stopped); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("still listening")
	}
}

func TestServeSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := httpapi.Serve(t.Context(), ln, http.NotFoundHandler(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error from a closed listener")
	}
}
