package httpapi_test

import (
	"strings"
	"testing"
)

func TestSettingsAreShownAsTheyWereSet(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	const all = `{"currency":"USD","low_balance":["5","15%"],"lot_months":24,"overdraft_limit":"2.5","blocked_prefixes":["882","88213"],"block_high_risk":false,` +
		`"auto_recharge":{"enabled":true,"trigger":"20","amount":"50.00","payment_method":"pm_1","caps":{"per_day":{"count":3,"amount":"150"},"per_month":{"amount":"500"}}}}`
	r.do(acme, all).is(200)
	const want = `{"id":"acme","currency":"USD","balance":"0.000000","status":"active","low_balance":["5.000000","15%"],"lot_months":24,"overdraft_limit":"2.500000",` +
		`"blocked_prefixes":["882","88213"],"block_high_risk":false,"lots":[],"auto_recharge":{"enabled":true,"trigger":"20.000000","amount":"50.000000",` +
		`"payment_method":"pm_1","caps":{"per_day":{"count":3,"amount":"150.000000"},"per_month":{"amount":"500.000000"}},"state":"idle"}}`
	if got := r.do("GET /v1/accounts/acme", "").is(200); strings.TrimSpace(got.text) != want {
		t.Errorf("got  %s\nwant %s", got.text, want)
	}
	r.do(acme, `{"auto_recharge":{"caps":{"per_day":{"count":2}}}}`).is(200, `"caps":{"per_day":{"count":2}},`) // set together
	r.do(acme, `{"auto_recharge":{"caps":{"per_day":{"amount":"49.99"}}}}`, key).is(422, "lower than auto_recharge.amount").because("cap_below_amount")
	const nulls = `{"low_balance":null,"lot_months":null,"overdraft_limit":null,"blocked_prefixes":null,"block_high_risk":true,"auto_recharge":{"enabled":false,"caps":null}}`
	a := r.do(acme, nulls).is(200, `"overdraft_limit":"0.000000"`, `"block_high_risk":true`, `"enabled":false`)
	for _, gone := range []string{"low_balance", "lot_months", "blocked_prefixes", "caps"} {
		if strings.Contains(a.text, gone) {
			t.Errorf("%s is still there: %s", gone, a.text)
		}
	}
}

// A first PUT that is refused makes no account and fixes no currency; it stays refused
// under its key.
func TestFirstSettingsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	const incomplete = `{"currency":"EUR","auto_recharge":{"enabled":true}}`
	for range 2 {
		r.do(acme, incomplete, key).is(422, "needs trigger").because("auto_recharge_incomplete")
	}
	r.do(acme, incomplete).is(422).because("auto_recharge_incomplete")
	r.do("GET /v1/accounts/acme", "").is(404).because("unknown_account")
	if got := r.do("GET /v1/accounts", "").is(200); strings.TrimSpace(got.text) != `{"accounts":[]}` {
		t.Errorf("listed: %s", got.text)
	}
	r.do(topUp, `{"amount":"5"}`, key).is(404).because("unknown_account")
	r.do(acme, `{"low_balance":["5"]}`).is(422, "give its currency").because("currency_required")
	r.do(acme, `{"currency":"USD"}`, key).is(409).because("idempotency_key_reused")
	r.do("GET /v1/accounts/acme", "").is(404)
	r.do(acme, `{"currency":"USD"}`).is(200, `"currency":"USD"`)
	r.do(acme, incomplete, key).is(422).because("auto_recharge_incomplete")
	r.do(topUp, `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
}

func TestMoreBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	for _, tc := range []struct{ request, body, says string }{
		{adjustments, `{"amount":"1","currency":"USD","reason":"r"}`, "body.operator"},
		{adjustments, `{"amount":"1","currency":"USD","reason":"r","operator":null}`, "body.operator"},
		{adjustments, `{"amount":"1","currency":"USD","reason":"r","operator":"a b"}`, "visible ASCII"},
		{adjustments, `{"amount":"1","currency":"USD","operator":"o"}`, "reason"},
		{adjustments, `{"amount":"1","currency":"USD","reason":" ","operator":"o"}`, "body.reason"},
		{adjustments, `{"amount":"1","currency":"USD","reason":"a\nb","operator":"o"}`, "on one line"},
		{adjustments, `{"amount":"1","currency":"USD","reason":"` + strings.Repeat("é", 129) + `","operator":"o"}`, "256 bytes"},
		{adjustments, `{"amount":"1","reason":"r","operator":"o"}`, "currency"},
		{adjustments, `{"amount":"0","currency":"USD","reason":"r","operator":"o"}`, "not zero"},
		{adjustments, `{"amount":"+1","currency":"USD","reason":"r","operator":"o"}`, "an amount such as"},
		{adjustments, `{"amount":"-0.0000001","currency":"USD","reason":"r","operator":"o"}`, "an amount such as"},
		{adjustments, `{"amount":-1,"currency":"USD","reason":"r","operator":"o"}`, "expected string"},
		{adjustments, `{"amount":"-1000000000.000001","currency":"USD","reason":"r","operator":"o"}`, "is allowed"},
		{grants, `{"amount":"-1","expires_at":"2027-01-01T00:00:00Z","reason":"r","operator":"o"}`, "an amount such as"},
		{grants, `{"amount":"0","expires_at":"2027-01-01T00:00:00Z","reason":"r","operator":"o"}`, "is allowed"},
		{grants, `{"amount":"1","reason":"r","operator":"o"}`, "expires_at"},
		{grants, `{"amount":"1","expires_at":"2027-01-01","reason":"r","operator":"o"}`, "body.expires_at"},
		{grants, `{"amount":"1","expires_at":"0001-01-01T00:00:00Z","reason":"r","operator":"o"}`, "expires"},
		{acme, `{"lot_months":0}`, "body.lot_months"},
		{acme, `{"lot_months":121}`, "body.lot_months"},
		{acme, `{"lot_months":1.5}`, "body.lot_months"},
		{acme, `{"overdraft_limit":"-1"}`, "an amount such as"},
		{acme, `{"overdraft_limit":"9000000000001"}`, "body.overdraft_limit"},
		{acme, `{"overdraft_limit":"2000000000"}`, "is allowed"},
		{acme, `{"blocked_prefixes":["+44"]}`, "body.blocked_prefixes[0]"},
		{acme, `{"blocked_prefixes":["1234567890123456"]}`, "body.blocked_prefixes[0]"},
		{acme, `{"blocked_prefixes":["1"` + strings.Repeat(`,"1"`, 100) + `]}`, "body.blocked_prefixes"},
		{acme, `{"block_high_risk":null}`, "null is not allowed"},
		{acme, `{"low_balance":["0%"]}`, "body.low_balance[0]"},
		{acme, `{"low_balance":["101%"]}`, "body.low_balance[0]"},
		{acme, `{"auto_recharge":{"caps":{"per_day":null}}}`, "null is not allowed"},
		{acme, `{"auto_recharge":{"caps":{"per_day":{"count":0}}}}`, "count"},
		{acme, `{"auto_recharge":{"caps":{"per_day":{"count":1001}}}}`, "count"},
		{acme, `{"auto_recharge":{"caps":{"per_week":{}}}}`, "per_week"},
		{acme, `{"auto_recharge":{"caps":{"per_month":{"amount":"0"}}}}`, "more than 0"},
		{acme, `{"auto_recharge":{"amount":"100001"}}`, "100000.000000"},
		{topUp, `{"amount":"100001"}`, "100000.000000"},
	} {
		c.do(tc.request, tc.body, key).is(422, tc.says)
	}
	c.do(adjustments, `{"amount":"1","currency":"USD","reason":"r","operator":"o"}`).is(422, "header.Idempotency-Key")
	c.do(grants, `{"amount":"1","expires_at":"2027-01-01T00:00:00Z","reason":"r","operator":"o"}`).is(422, "header.Idempotency-Key")
	if n := len(c.commands(0)); n != 1 {
		t.Errorf("%d commands in the log, want 1", n)
	}
}
