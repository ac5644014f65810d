package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/httpapi"
)

func applyWait(d time.Duration) func(*httpapi.Options) {
	return func(o *httpapi.Options) { o.ApplyWait = d }
}

func TestAChangeThatIsNotAppliedInTimeIsAccepted(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld(), applyWait(20*time.Millisecond))
	c.do("PUT /v1/accounts/a@b", `{"currency":"USD"}`).is(200)
	c.change(func() { c.held = true })
	a := c.do("POST /v1/accounts/a@b/top-ups", `{"amount":"5"}`, key).is(202)
	if strings.TrimSpace(a.text) != `{"status":"accepted"}` || a.header.Get("Location") != "/v1/accounts/a@b" {
		t.Errorf("%s, Location %q", a.text, a.header.Get("Location"))
	}
	c.do("GET "+a.header.Get("Location"), "").is(200, `"balance":"0.000000"`)
	c.change(func() { c.held = false; c.catchUp() })
	c.do("POST /v1/accounts/a@b/top-ups", `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
}

func TestAChangeIsAnsweredWhenItIsApplied(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.change(func() { c.held, c.applyLooks = true, 4 })
	a := c.do(topUp, `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
	if a.header.Get("Location") != "" {
		t.Error("Location on 200")
	}
}

func TestReadsThatFailAfterTheAppendAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c := start(t, w)
	c.do(acme, complete).is(200)
	looks := 0
	w.change(func() { w.readErr = errAway })
	w.onApplied = func() {
		w.change(func() {
			if looks++; looks == 3 {
				w.readErr = nil
			}
		})
	}
	c.do(topUp, `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
	d := start(t, w, applyWait(10*time.Millisecond))
	w.change(func() { w.readErr, looks = errAway, 3 })
	d.do(topUp, `{"amount":"7"}`, "Idempotency-Key: k2").is(202) // in the log; Redis will be back
}

// A Redis that goes back after the mark was read must not make a 404 of a command
// that will be applied again.
func TestRedisGoesBackWhileAChangeIsAwaited(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c := start(t, w)
	c.do(acme, complete).is(200)
	looks := 0
	w.onApplied = func() {
		w.change(func() {
			switch looks++; looks {
			case 2: // between the result and the second look at the mark
				w.applied, w.held = 0, true
			case 4:
				w.held = false
				w.catchUp()
			}
		})
	}
	// The mark says applied, but neither account nor result are there.
	w.change(func() {
		w.accounts, w.results = map[string]*balance.Account{}, map[string]balance.CommandResult{}
		w.log, w.applied = append(w.log, w.log[0]), 3
		w.held = true
	})
	c.do(topUp, `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
}

func TestALogThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c := start(t, w, func(o *httpapi.Options) { o.AppendTimeout = 20 * time.Millisecond })
	c.do(acme, complete).is(200)
	w.change(func() { w.logErr = errAway })
	c.do(topUp, `{"amount":"5"}`, key).is(503, "Nothing is known about this change", "same Idempotency-Key").because("log_unavailable")
	c.do("POST /v1/recharges/acme/1/result", `{"status":"declined","code":"x"}`).is(503, "Send the same result again")
	w.change(func() { w.logErr = nil })
	w.gate = make(chan struct{}) // never opens: Append ends by its context
	a := c.do(topUp, `{"amount":"5"}`, key).is(503).because("log_unavailable")
	if strings.Contains(a.text, "deadline") {
		t.Errorf("an inner error: %s", a.text)
	}
	close(w.gate)
	c.do(topUp, `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
}

// A client that goes away in the middle of the append does not undo the command.
func TestAClientThatGoesAwayUndoesNothing(t *testing.T) {
	t.Parallel()
	for request, body := range map[string]string{
		acme:                            complete,
		topUp:                           `{"amount":"5"}`,
		adjustments:                     `{"amount":"5","currency":"USD","reason":"r","operator":"o"}`,
		grants:                          `{"amount":"5","expires_at":"2027-01-01T00:00:00Z","reason":"r","operator":"o"}`,
		closing:                         `{"force":true}`,
		"POST /v1/accounts/acme/resume": "",
		recharges + "1/abandon":         "",
		recharges + "1/result":          `{"status":"declined","code":"x"}`,
	} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			start(t, w).do(acme, complete).is(200)
			w.gate = make(chan struct{})
			goAway(t, w, request, body)
			if n := len(w.commands(1)); n != 1 {
				t.Errorf("%d commands in the log, want 1", n)
			}
		})
	}
}

// goAway sends a request and leaves while the command is appended.
func goAway(t *testing.T, w *world, request, body string) {
	t.Helper()
	h := httpapi.New(httpapi.Options{Accounts: w, Commands: w, Gate: auth.Open{}})
	gone, done := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		defer close(done)
		stop := context.AfterFunc(r.Context(), func() { close(gone) })
		defer stop()
		h.ServeHTTP(out, r)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	method, path, _ := strings.Cut(request, " ")
	r, _ := http.NewRequestWithContext(ctx, method, srv.URL+path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "k1")
	answered := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(r)
		if err == nil {
			res.Body.Close()
		}
		answered <- err
	}()
	within(t, w.appending)
	cancel()
	if err := within(t, answered); err == nil {
		t.Error("the client did not go away")
	}
	within(t, gone) // the server has noticed
	close(w.gate)
	within(t, done)
}

// The deadline for the body of a request does not end the wait for its change.
func TestTheBodyTimeoutEndsWithTheBody(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld(), func(o *httpapi.Options) { o.BodyTimeout = 30 * time.Millisecond })
	c.change(func() { c.held, c.applyLooks = true, 10 }) // the tenth look is 200 ms after the first
	c.do(acme, complete).is(200)
}

func TestManyRepeatsAtOnceCountOnce(t *testing.T) {
	t.Parallel()
	const keys, repeats = 8, 6
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	var all sync.WaitGroup
	for i := range keys * repeats {
		all.Go(func() {
			c.do(topUp, `{"amount":"1.5"}`, fmt.Sprintf("Idempotency-Key: k%d", i%keys)).is(200)
			c.do("GET /v1/accounts/acme", "").is(200)
			c.do("GET /openapi.json", "").is(200)
			c.do("GET /docs", "").is(200)
		})
	}
	all.Wait()
	c.do("GET /v1/accounts/acme", "").is(200, `"balance":"12.000000"`)
}
