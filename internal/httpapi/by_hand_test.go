package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/httpapi"
)

const (
	adjustments = "POST /v1/accounts/acme/adjustments"
	grants      = "POST /v1/accounts/acme/grants"
	closing     = "POST /v1/accounts/acme/close"
)

func keyed(k string) string { return "Idempotency-Key: " + k }

func TestAnAdjustment(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	body := func(amount string) string {
		return `{"amount":"` + amount + `","currency":"USD","reason":"wrong rate, ticket 1","operator":"o"}`
	}
	r.do(adjustments, body("1"), key).is(404).because("unknown_account")
	r.do(acme, `{"currency":"USD"}`).is(200)
	r.do(adjustments, body("-0.000001"), key).is(200, `"balance":"-0.000001"`)
	r.do(adjustments, body("-0.000001"), key).is(200, `"balance":"-0.000001"`)
	r.do(adjustments, body("-0.000002"), key).is(409, "used with another body").because("idempotency_key_reused")
	r.do(adjustments, strings.Replace(body("-0.000001"), `"o"`, `"p"`, 1), key).is(409).because("idempotency_key_reused")
	r.do("GET /v1/accounts/acme", "").is(200, `"balance":"-0.000001"`)
	r.do(adjustments, body("7.000001"), keyed("k2")).is(200, `"balance":"7.000000"`, `"amount":"7.000001"`)
	r.do(adjustments, strings.Replace(body("1"), "USD", "EUR", 1), keyed("k3")).is(409, "kept in another currency").because("currency_mismatch")
	r.do(adjustments, body("-1000000000"), keyed("k4")).is(409, "took from it").because("out_of_bounds")
	if n := r.told("funds.adjusted"); n != 2 {
		t.Errorf("%d events of two adjustments", n)
	}
}

func TestAGrant(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	body := func(amount, expires string) string {
		return `{"amount":"` + amount + `","expires_at":"` + expires + `","reason":"welcome","operator":"o"}`
	}
	r.do(grants, body("5", "2026-12-31T00:00:00Z"), key).is(404).because("unknown_account")
	r.do(acme, `{"currency":"USD"}`).is(200)
	r.do(grants, body("5", "2026-12-31T00:00:00Z"), key).is(200, `"balance":"5.000000"`, `"expires_at":"2026-12-31T00:00:00Z"`)
	r.do(grants, body("5.0", "2026-12-31T01:00:00+01:00"), key).is(200, `"balance":"5.000000"`) // the same, in other words
	r.do(grants, body("5", "2026-12-31T00:00:01Z"), key).is(409).because("idempotency_key_reused")
	r.do(grants, body("6", "2026-12-31T00:00:00Z"), key).is(409).because("idempotency_key_reused")
	r.do(grants, body("5", "2026-11-22T07:00:00Z"), keyed("k2")).is(422, "has passed").because("already_expired")
	r.do("GET /v1/accounts/acme", "").is(200, `"balance":"5.000000"`)
}

// Money that is left makes the API ask back; the command does as it is told.
func TestClosingAnAccount(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	r.do(closing, "").is(404).because("unknown_account")
	r.do(closing, `{"force":true}`).is(404).because("unknown_account")
	r.do(acme, complete).is(200)
	r.asked(1)
	r.do(closing, "", key).is(409, "acme/1 has no result", "force").because("recharge_pending")
	r.do(topUp, `{"amount":"0.5"}`, key).is(200)
	r.do(closing, `{"force":false}`, key).is(409, "still has 0.500000 USD", "force").because("money_left")
	r.do("GET /v1/accounts/acme", "").is(200, `"status":"active"`)
	r.do(closing, `{"force":true}`, key).is(200, `"status":"closed"`, `"balance":"0.500000"`)
	r.do("GET /v1/accounts/acme", "").is(200, `"status":"closed"`)
	r.do(closing, `{"force":true}`, key).is(200, `"status":"closed"`)
	r.do(closing, "").is(200, `"status":"closed"`) // done already
	r.do(recharges+"1/result", `{"status":"succeeded","amount":"50","currency":"USD"}`).is(200, `"balance":"50.500000"`, `"status":"closed"`)
	for _, body := range []string{`{}`, `{"currency":"USD"}`, `{"reopen":false}`} {
		r.do(acme, body).is(409, `\"reopen\": true`).because("account_closed")
	}
	r.do(acme, `{"reopen":null}`).is(422, "body.reopen")
	r.do("GET /v1/accounts/acme", "").is(200, `"status":"closed"`)
	r.do(acme, `{"reopen":true}`).is(200, `"status":"active"`)
	r.do(acme, `{"reopen":true}`).is(200, `"status":"active"`)
	if n := r.told("account.closed"); n != 1 {
		t.Errorf("closed %d times", n)
	}
	r.do("PUT /v1/accounts/spent", `{"currency":"USD"}`).is(200)
	r.call("spent", "1")
	r.do("POST /v1/accounts/spent/close", `{}`).is(200, `"status":"closed"`, `"balance":"-1.000000"`)
	r.do(closing, `{"forced":true}`).is(422, "body.forced")
}

// The same key and body have the same answer, whatever the account holds by then.
func TestClosingTwiceUnderOneKey(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	r.do(acme, `{"currency":"USD"}`).is(200)
	r.do(closing, "", key).is(200, `"status":"closed"`)
	r.do(acme, `{"reopen":true}`).is(200)
	r.do(topUp, `{"amount":"5"}`, key).is(200)
	r.do(closing, "", key).is(200, `"status":"active"`, `"balance":"5.000000"`)
	r.do(closing, `{"force":false}`, key).is(200, `"status":"active"`)
	r.do(closing, `{"force":true}`, key).is(409).because("idempotency_key_reused")
	r.do(closing, `{"force":true}`, keyed("k2")).is(200, `"status":"closed"`)
	r.do(closing, "", keyed("k2")).is(409).because("idempotency_key_reused")
	r.do("GET /v1/accounts/acme", "").is(200, `"status":"closed"`)
}

// Of two keys one would count, and the client could not know which.
func TestTwoKeysAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/v1/accounts/acme/top-ups", strings.NewReader(`{"amount":"5"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {"k1", "k1"}}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "idempotency_key_twice") {
		t.Errorf("%s %s, %v", res.Status, b, err)
	}
	if n := len(c.commands(1)); n != 0 {
		t.Errorf("%d commands in the log", n)
	}
}

func TestAmountsThatCannotBePaid(t *testing.T) {
	t.Parallel()
	r := startReal(t, func(o *httpapi.Options) { o.MaxPurchase = *micros(t, "500") })
	grant := func(amount string) string {
		return `{"amount":"` + amount + `","expires_at":"2027-01-01T00:00:00Z","reason":"r","operator":"o"}`
	}
	auto := func(amount string) string { return `{"auto_recharge":{"amount":"` + amount + `"}}` }
	for currency, tc := range map[string]struct{ good, bad, unit string }{
		"USD": {"0.01", "0.001", "0.010000"}, "JPY": {"1", "0.5", "1.000000"}, "KWD": {"0.001", "0.0001", "0.001000"},
	} {
		at := "/v1/accounts/" + currency
		r.do("PUT "+at, `{"currency":"`+currency+`",`+auto(tc.bad)[1:]).is(422, currency, tc.unit).because("amount_not_payable")
		r.do("GET "+at, "").is(404)
		r.do("PUT "+at, `{"currency":"`+currency+`"}`).is(200)
		r.do("PUT "+at, auto(tc.bad)).is(422, "auto_recharge.amount", tc.unit).because("amount_not_payable")
		r.do("POST "+at+"/top-ups", `{"amount":"`+tc.bad+`"}`, key).is(422, "cannot be paid in "+currency, tc.unit).because("amount_not_payable")
		r.do("POST "+at+"/grants", grant(tc.bad), key).is(422, tc.unit).because("amount_not_payable")
		r.do("PUT "+at, auto(tc.good)).is(200)
		r.do("POST "+at+"/top-ups", `{"amount":"`+tc.good+`"}`, key).is(200)
		r.do("POST "+at+"/grants", grant(tc.good), key).is(200)
		r.do("POST "+at+"/adjustments", `{"amount":"0.000001","currency":"`+currency+`","reason":"r","operator":"o"}`, key).is(200)
		r.do("POST "+at+"/top-ups", `{"amount":"500"}`, keyed("k2")).is(200)
		r.do("POST "+at+"/top-ups", `{"amount":"501"}`, keyed("k3")).is(422, "500.000000", "--max-purchase").because("above_max_purchase")
		r.do("POST "+at+"/grants", grant("501"), keyed("k3")).is(422).because("above_max_purchase")
		r.do("PUT "+at, auto("501")).is(422, "auto_recharge.amount").because("above_max_purchase")
		r.do("PUT "+at, `{"auto_recharge":{"trigger":"500.000001"}}`).is(422, "auto_recharge.trigger 500.000001").because("above_max_purchase")
		r.do("PUT "+at, `{"auto_recharge":{"trigger":"500"}}`).is(200)
	}
	r.do("POST /v1/accounts/nobody/top-ups", `{"amount":"0.001"}`, key).is(404).because("unknown_account")
}

// A request closes a large gap with at most what may be bought at once: each command
// that sets auto-recharge says how much that is, and no body does.
func TestAutoRechargeIsBoundedByMaxPurchase(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld(), func(o *httpapi.Options) { o.MaxPurchase = *micros(t, "500") })
	a := c.do(acme, complete).is(200)
	c.do(acme, `{"auto_recharge":{}}`).is(200)
	for i, put := range c.commands(0) {
		if m := put.Put.AutoRecharge.Value.Most; m == nil || *m != *micros(t, "500") {
			t.Errorf("command %d bounds a request to %v", i, m)
		}
	}
	if strings.Contains(a.text, "most") {
		t.Errorf("the account tells of it: %s", a.text)
	}
	c.do(acme, `{"auto_recharge":{"most":"9"}}`).is(422, "most")
	c.do(acme, `{"auto_recharge":null}`).is(200)
	c.do(acme, `{"low_balance":["5"]}`).is(200)
	for _, put := range c.commands(2) {
		if n := put.Put.AutoRecharge; n != nil && !n.Null {
			t.Errorf("auto-recharge is set: %+v", n.Value)
		}
	}
}

// blurred is a world whose accounts cannot be read, but for what a switch asks.
type blurred struct{ *world }

func (blurred) Account(context.Context, string) (*balance.Account, error) { return nil, errAway }

// The currency is read without the lots, of which there may be thousands.
func TestTheCurrencyIsReadAlone(t *testing.T) {
	t.Parallel()
	w := newWorld()
	start(t, w).do(acme, complete).is(200)
	c := start(t, w, func(o *httpapi.Options) { o.Accounts = blurred{w} })
	c.do(topUp, `{"amount":"0.001"}`, key).is(422, "cannot be paid in USD").because("amount_not_payable")
}

// Without Redis nobody can say whether a part of a unit can be paid; whole units
// always can, and what has been paid is not asked about.
func TestPartsOfAUnitNeedTheCurrency(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld(), applyWait(10*time.Millisecond))
	c.do(acme, complete).is(200)
	c.change(func() { c.readErr = errAway })
	c.do(topUp, `{"amount":"0.5"}`, key).is(503, "Nothing changed").because("balances_unavailable")
	if n := len(c.commands(1)); n != 0 {
		t.Errorf("%d commands in the log", n)
	}
	c.do(topUp, `{"amount":"5"}`, key).is(202)
	c.do(recharges+"1/result", `{"status":"succeeded","amount":"0.5","currency":"USD"}`).is(202)
}
