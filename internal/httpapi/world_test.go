package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/httpapi"
	"github.com/creditstream/creditstream/rating"
)

// A world is a log of commands and the accounts that follow from it: a plain
// model of what Kafka, the processor and Redis do.
type world struct {
	mu         sync.Mutex
	log        []*balance.Command
	applied    int
	accounts   map[string]*balance.Account
	results    map[string]balance.CommandResult // by account and command id
	answered   map[string]string                // by recharge id: open, paid, declined
	held       bool                             // nothing is applied
	applyLooks int                              // held until AppliedTo was called so often
	logErr     error
	readErr    error
	notReady   error
	gate       chan struct{} // Append waits for it, or for its context
	appending  chan struct{} // told of each Append that waits
	onApplied  func()        // called by AppliedTo, unlocked
}

func newWorld() *world {
	return &world{
		accounts: map[string]*balance.Account{}, results: map[string]balance.CommandResult{}, answered: map[string]string{},
		appending: make(chan struct{}, 100),
	}
}

var errAway = errors.New("away: dial tcp 10.0.0.7:6379")

func (w *world) Append(ctx context.Context, c *balance.Command) (partition int, offset int64, err error) {
	if w.gate != nil {
		w.appending <- struct{}{}
		select {
		case <-w.gate:
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.logErr != nil {
		return 0, 0, w.logErr
	}
	b, err := c.Encode() // what is not in the bytes is not in the log
	if err != nil {
		return 0, 0, err
	}
	if c, err = balance.DecodeCommand(b); err != nil {
		return 0, 0, err
	}
	w.log = append(w.log, c)
	if !w.held {
		w.catchUp()
	}
	return 3, int64(len(w.log) - 1), nil
}

func (w *world) AppliedTo(context.Context, string) (int64, error) {
	if w.onApplied != nil {
		w.onApplied()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.applyLooks > 0 {
		if w.applyLooks--; w.applyLooks == 0 {
			w.catchUp()
		}
	}
	return int64(w.applied), w.readErr
}

func (w *world) CommandResult(_ context.Context, account, id string) (r balance.CommandResult, found bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, found = w.results[account+" "+id]
	return r, found, w.readErr
}

func (w *world) Account(_ context.Context, id string) (*balance.Account, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.readErr != nil {
		return nil, w.readErr
	}
	a := w.accounts[id]
	if a == nil {
		return nil, balance.ErrUnknownAccount
	}
	c := *a
	if a.AutoRecharge != nil {
		r := *a.AutoRecharge
		c.AutoRecharge = &r
	}
	c.Lots = slices.Clone(a.Lots)
	return &c, nil
}

func (w *world) Standing(ctx context.Context, id string) (*balance.Standing, error) {
	a, err := w.Account(ctx, id)
	if err != nil {
		return nil, err
	}
	return &balance.Standing{Currency: a.Currency, Balance: a.Balance(), Closed: a.Closed}, nil
}

// Accounts and Ledger find nothing: tests of lists have a real store.
func (w *world) Accounts(context.Context, string, int) ([]balance.AccountSummary, error) {
	return nil, nil
}

func (w *world) Ledger(context.Context, string, int64, int) ([]balance.LedgerEntry, error) {
	return nil, nil
}

func (w *world) ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.notReady
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// commands returns the log from an offset on.
func (w *world) commands(from int) []*balance.Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.log[from:])
}

func (w *world) catchUp() {
	for ; w.applied < len(w.log); w.applied++ {
		w.apply(w.log[w.applied])
	}
}

func (w *world) apply(c *balance.Command) {
	a := w.accounts[c.Account]
	if a == nil {
		if c.Type != balance.PutAccount || c.Put.Currency == "" {
			return
		}
		a = &balance.Account{ID: c.Account}
	}
	key := c.Account + " " + c.ID
	if _, found := w.results[key]; found {
		return
	}
	digest, _ := c.Digest()
	var refused string
	switch c.Type {
	case balance.PutAccount:
		if refused = put(a, c.Put); refused == "" {
			w.accounts[c.Account] = a
		}
	case balance.TopUp:
		refused = fund(a, *c.Amount)
	case balance.Result:
		refused = w.result(a, c)
	case balance.Grant:
		refused = fund(a, *c.Amount)
	case balance.Adjust:
		a.Spent -= *c.Amount
	case balance.CloseAccount:
		a.Closed = true
	case balance.Abandon, balance.Resume:
		a.AutoRecharge.State = "idle"
	case balance.Request, balance.Unanswered, balance.Retry, balance.ExpireLot, balance.WarnLot, balance.Tick:
		refused = "not_written_by_the_api"
	}
	w.results[key] = balance.CommandResult{Digest: digest, Refused: refused}
}

func put(a *balance.Account, s *balance.Settings) string {
	if s.Currency != "" && a.Currency != "" && s.Currency != a.Currency {
		return "currency_is_fixed"
	}
	auto := balance.AccountRecharge{State: "idle"}
	if a.AutoRecharge != nil {
		auto = *a.AutoRecharge
	}
	if n := s.AutoRecharge; n != nil && n.Null {
		auto.Enabled, auto.Trigger, auto.Amount, auto.PaymentMethod = false, nil, nil, ""
	} else if n != nil {
		set(&auto.Enabled, n.Value.Enabled)
		set(&auto.PaymentMethod, n.Value.PaymentMethod)
		if n.Value.Trigger != nil {
			auto.Trigger = n.Value.Trigger
		}
		if n.Value.Amount != nil {
			auto.Amount = n.Value.Amount
		}
	}
	if auto.Enabled && (auto.Trigger == nil || auto.Amount == nil || auto.PaymentMethod == "") {
		return "auto_recharge_incomplete"
	}
	set(&a.Currency, &s.Currency)
	if s.LowBalance != nil {
		a.LowBalance = s.LowBalance.Value
	}
	if a.AutoRecharge != nil || s.AutoRecharge != nil {
		a.AutoRecharge = &auto
	}
	if auto == (balance.AccountRecharge{State: "idle"}) {
		a.AutoRecharge = nil
	}
	return ""
}

func set[T comparable](to, from *T) {
	var none T
	if from != nil && (*from != none || any(none) == false) {
		*to = *from
	}
}

func fund(a *balance.Account, m rating.Micros) string {
	if a.Funded+m > rating.MaxTotal {
		return "out_of_bounds"
	}
	at := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	a.Funded += m
	a.Lots = append(a.Lots, balance.Lot{ID: "t1", Amount: m, Remaining: m, PurchasedAt: at, ExpireAt: at.AddDate(1, 0, 0)})
	return ""
}

func (w *world) result(a *balance.Account, c *balance.Command) string {
	id := rechargeID(a.ID, c.N)
	switch was := w.answered[id]; {
	case was == "":
		return "no_request"
	case c.Status == "declined" && was != "open":
		return "already_answered"
	case c.Status == "declined":
		w.answered[id], a.AutoRecharge.State = "declined", "cooling"
		if c.Class != balance.Soft {
			a.AutoRecharge.State = "suspended"
		}
		return ""
	case c.Currency != a.Currency:
		return "currency_mismatch"
	case was == "paid":
		return "already_credited"
	}
	w.answered[id], a.AutoRecharge.State = "paid", "idle"
	return fund(a, *c.Amount)
}

// within receives from a channel, and fails the test if nothing comes.
func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Error("nothing came within 10 s")
	}
	return v
}

// request lets an account wait for the result of its recharge n.
func (w *world) request(account string, n int64) {
	w.change(func() {
		r := w.accounts[account].AutoRecharge
		r.State, r.N, r.Pending = "pending", n, *r.Amount
		w.answered[rechargeID(account, n)] = "open"
	})
}

// A client talks to a real server over the world.
type client struct {
	*testing.T
	*world
	url string
}

func start(t *testing.T, w *world, options ...func(*httpapi.Options)) *client {
	t.Helper()
	reg := prometheus.NewRegistry()
	opt := httpapi.Options{
		Accounts: w, Lists: w, Commands: w, Rater: sampleDeck(t), Now: func() time.Time { return quotedAt }, Ready: w.ready, Registerer: reg, Gatherer: reg,
		Log:       slog.New(slog.NewTextHandler(t.Output(), nil)),
		Gate:      auth.Open{},
		Authorize: httpapi.Authorize{Standings: w},
		ApplyWait: 10 * time.Second, // a test that waits that long has failed
	}
	for _, o := range options {
		o(&opt)
	}
	srv := httptest.NewServer(httpapi.New(opt))
	t.Cleanup(srv.Close)
	return &client{T: t, world: w, url: srv.URL}
}

// An answer is what came back; body is nil when it is not a JSON object.
type answer struct {
	*testing.T
	code   int
	header http.Header
	text   string
	body   map[string]any
}

// do sends a request: "METHOD /path", headers as "Name: value".
func (c *client) do(request, body string, headers ...string) *answer {
	c.Helper()
	method, path, _ := strings.Cut(request, " ")
	r, err := http.NewRequestWithContext(c.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.Fatal(err)
	}
	a := &answer{T: c.T, code: res.StatusCode, header: res.Header, text: string(b)}
	if bytes.HasPrefix(b, []byte("{")) {
		if err := json.Unmarshal(b, &a.body); err != nil {
			c.Fatalf("%s: %v in %s", request, err, b)
		}
	}
	if _, found := a.body["$schema"]; found {
		c.Errorf("%s: $schema in %s", request, b)
	}
	return a
}

// is checks status and parts of the text.
func (a *answer) is(code int, parts ...string) *answer {
	a.Helper()
	if a.code != code {
		a.Fatalf("got %d %s, want %d", a.code, a.text, code)
	}
	for _, p := range parts {
		if !strings.Contains(a.text, p) {
			a.Errorf("%q is not in %s", p, a.text)
		}
	}
	if code >= 400 {
		if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
			a.Errorf("Content-Type %q of a problem: %s", ct, a.text)
		}
		if a.body["status"] != float64(code) || a.body["title"] != http.StatusText(code) || a.body["detail"] == "" {
			a.Errorf("not a problem with status %d: %s", code, a.text)
		}
	}
	return a
}

// because checks the reason of a problem.
func (a *answer) because(reason string) *answer {
	a.Helper()
	if got := a.body["type"]; got != "urn:creditstream:problem:"+reason {
		a.Errorf("problem type %v, want %s: %s", got, reason, a.text)
	}
	return a
}

func micros(t *testing.T, s string) *rating.Micros {
	t.Helper()
	m, err := rating.ParseMicros(s)
	if err != nil {
		t.Fatal(err)
	}
	return &m
}
