package httpapi_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/httpapi"
	"github.com/creditstream/creditstream/rating"
)

const (
	key      = "Idempotency-Key: k1"
	acme     = "PUT /v1/accounts/acme"
	topUp    = "POST /v1/accounts/acme/top-ups"
	complete = `{"currency":"USD","low_balance":["10.00","2.5"],"auto_recharge":{"enabled":true,"trigger":"20.00","amount":"50.00","payment_method":"pm_1"}}`
)

func rechargeID(account string, n int64) string { return account + "/" + strconv.FormatInt(n, 10) }

func TestAnAccountIsShownAsTheIssueSays(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.do(topUp, `{"amount":"100.00"}`, key).is(200)
	c.change(func() {
		a := c.accounts["acme"]
		a.Spent, a.Lots[0].Remaining = 87_654_400, 12_345_600
	})
	c.request("acme", 7)
	const want = `{"id":"acme","currency":"USD","balance":"12.345600","status":"active","low_balance":["10.000000","2.500000"],` +
		`"overdraft_limit":"0.000000","block_high_risk":false,"lots":[{"amount":"100.000000","remaining":"12.345600","purchased_at":"2026-11-22T07:00:00Z","expires_at":"2027-11-22T07:00:00Z"}],` +
		`"auto_recharge":{"enabled":true,"trigger":"20.000000","amount":"50.000000","payment_method":"pm_1","state":"pending","pending":"acme/7"}}`
	got := c.do("GET /v1/accounts/acme", "").is(200)
	if strings.TrimSpace(got.text) != want {
		t.Errorf("got  %s\nwant %s", got.text, want)
	}
	if got.header.Get("Content-Type") != "application/json" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", got.header)
	}
	for _, state := range []string{"idle", "pending", "cooling", "suspended", "unresolved", "capped"} {
		c.change(func() { c.accounts["acme"].AutoRecharge.State = state })
		auto := c.do("GET /v1/accounts/acme", "").is(200).body["auto_recharge"].(map[string]any)
		_, pending := auto["pending"]
		if pending != (state == "pending" || state == "unresolved") {
			t.Errorf("%s: pending is there: %v", state, pending)
		}
	}
}

func TestAnEmptyAccountHasNoLotsAndNoRecharge(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	got := c.do("PUT /v1/accounts/a@b.c-d_e", `{"currency":"EUR"}`).is(200)
	const want = `{"id":"a@b.c-d_e","currency":"EUR","balance":"0.000000","status":"active","overdraft_limit":"0.000000","block_high_risk":false,"lots":[]}`
	if strings.TrimSpace(got.text) != want {
		t.Errorf("got  %s\nwant %s", got.text, want)
	}
	c.change(func() { c.accounts["a@b.c-d_e"].Spent = 1 })
	c.do("GET /v1/accounts/a@b.c-d_e", "").is(200, `"balance":"-0.000001"`, `"status":"depleted"`)
	c.change(func() { c.accounts["a@b.c-d_e"].Closed = true })
	c.do("GET /v1/accounts/a%40b.c-d_e", "").is(200, `"status":"closed"`)
}

func TestAccountsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do("GET /v1/accounts/nobody", "").is(404, "no account nobody").because("unknown_account")
	c.do("GET /v1/accounts/a%20b", "").is(422, "path.id", "1 to 64 letters")
	c.do("GET /v1/accounts/"+strings.Repeat("a", 65), "").is(422)
	c.change(func() { c.notReady = errAway })
	c.do("GET /v1/accounts/nobody", "").is(503, "not known yet").because("not_ready")
	c.change(func() { c.readErr = errAway })
	a := c.do("GET /v1/accounts/nobody", "").is(503).because("balances_unavailable")
	if strings.Contains(a.text, "10.0.0.7") {
		t.Errorf("an address of ours: %s", a.text)
	}
}

func TestPutMakesTheCommandThatTheBodySays(t *testing.T) {
	t.Parallel()
	yes, no, pm := true, false, "pm_2"
	auto := func(a balance.AutoRecharge) *balance.Settings {
		a.Most = micros(t, "100000") // not of the body
		return &balance.Settings{AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: a}}
	}
	levels := func(m ...rating.Micros) *balance.Nullable[[]balance.Level] {
		l := &balance.Nullable[[]balance.Level]{}
		for _, a := range m {
			l.Value = append(l.Value, balance.Level{Amount: a})
		}
		return l
	}
	for body, want := range map[string]*balance.Settings{
		`{}`:                                                      {},
		`{"currency":"USD"}`:                                      {Currency: "USD"},
		`{"low_balance":["10.00","0.000001"]}`:                    {LowBalance: levels(10_000_000, 1)},
		`{"low_balance":null}`:                                    {LowBalance: &balance.Nullable[[]balance.Level]{Null: true}},
		`{"auto_recharge":null}`:                                  {AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Null: true}},
		`{"auto_recharge":{}}`:                                    auto(balance.AutoRecharge{}),
		`{"auto_recharge":{"enabled":false}}`:                     auto(balance.AutoRecharge{Enabled: &no}),
		`{"auto_recharge":{"trigger":"0"}}`:                       auto(balance.AutoRecharge{Trigger: micros(t, "0")}),
		`{"auto_recharge":{"amount":"5","enabled":true}}`:         auto(balance.AutoRecharge{Amount: micros(t, "5"), Enabled: &yes}),
		`{"auto_recharge":{"payment_method":"pm_2"}}`:             auto(balance.AutoRecharge{PaymentMethod: &pm}),
		`{"low_balance":null,"auto_recharge":null}`:               {LowBalance: &balance.Nullable[[]balance.Level]{Null: true}, AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Null: true}},
		"\n{ \"low_balance\" : [ \"1\" ] , \"currency\":\"USD\"}": {Currency: "USD", LowBalance: levels(1_000_000)},
	} {
		c := start(t, newWorld())
		c.do(acme, complete).is(200)
		c.do(acme, body, key).is(200)
		want := &balance.Command{Type: balance.PutAccount, Account: "acme", ID: "put/k1", Put: want}
		if got := c.commands(1); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want)
			t.Errorf("%s\ngot  %s\nwant %s", body, g, w)
		}
	}
}

func TestNullRemovesAndAbsentLeaves(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.do(acme, `{"auto_recharge":{"trigger":"30"}}`).is(200, `"trigger":"30.000000"`, `"amount":"50.000000"`, `"low_balance":["10.000000"`)
	if a := c.do(acme, `{"low_balance":null}`).is(200, `"trigger":"30.000000"`); a.body["low_balance"] != nil {
		t.Errorf("levels are still there: %s", a.text)
	}
	if a := c.do(acme, `{"auto_recharge":null}`).is(200); a.body["auto_recharge"] != nil {
		t.Errorf("auto-recharge is still there: %s", a.text)
	}
}

func TestPutGetsAnIDOfItsOwn(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.do(acme, complete).is(200)
	log := c.commands(0)
	if log[0].ID == log[1].ID || len(log[0].ID) != len("put/")+36 {
		t.Errorf("ids %q and %q", log[0].ID, log[1].ID)
	}
}

func TestTheFirstPutNeedsACurrency(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, `{"low_balance":["1"]}`).is(422, "give its currency").because("currency_required")
	c.change(func() { c.notReady = errAway })
	c.do(acme, `{}`).is(503).because("not_ready")
	c.change(func() { c.readErr = errAway })
	c.do(acme, `{}`).is(503, "Nothing changed").because("balances_unavailable")
	if n := len(c.commands(0)); n != 0 {
		t.Errorf("%d commands in the log", n)
	}
}

func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, `{"currency":"USD"}`).is(200)
	c.do(acme, `{"currency":"EUR"}`).is(409, "cannot be changed").because("currency_is_fixed")
	c.do(acme, `{"auto_recharge":{"enabled":true}}`, key).is(422, "needs trigger").because("auto_recharge_incomplete")
	c.do(acme, `{"auto_recharge":{"enabled":true}}`, key).is(422).because("auto_recharge_incomplete")
}

func TestBodiesThatAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.request("acme", 1)
	result := "POST /v1/recharges/acme/1/result"
	for _, tc := range []struct {
		request, body string
		code          int
		says          string
	}{
		{acme, ``, 400, "body is required"},
		{acme, `{`, 400, "unexpected end"},
		{acme, `{} {}`, 400, "after top-level value"},
		{acme, `[]`, 422, "expected object"},
		{acme, `null`, 422, "expected object"},
		{acme, `{"curency":"USD"}`, 422, "body.curency"},
		{acme, `{"Currency":"USD"}`, 422, `unexpected property \"Currency\"`},
		{acme, `{"currency":"USD","currency":"EUR"}`, 422, "given twice"},
		{acme, `{"auto_recharge":{"trigger":"1","trigger":"2"}}`, 422, "given twice"},
		{acme, `{"currency":null}`, 422, "body.currency"},
		{acme, `{"currency":""}`, 422, "three capital letters"},
		{acme, `{"currency":"usd"}`, 422, "three capital letters"},
		{acme, `{"currency":1}`, 422, "expected string"},
		{acme, `{"low_balance":"10"}`, 422, "expected array"},
		{acme, `{"low_balance":[10]}`, 422, "body.low_balance[0]"},
		{acme, `{"low_balance":[null]}`, 422, "body.low_balance[0]"},
		{acme, `{"low_balance":["-1"]}`, 422, "an amount such as"},
		{acme, `{"low_balance":["9000000001"]}`, 422, "body.low_balance[0]"},
		{acme, `{"low_balance":["2000000000"]}`, 422, "is allowed"},
		{acme, `{"low_balance":["1","2","3","4","5","6"]}`, 422, "body.low_balance"},
		{acme, `{"auto_recharge":{"enabled":"yes"}}`, 422, "expected boolean"},
		{acme, `{"auto_recharge":{"enabled":null}}`, 422, "null is not allowed"},
		{acme, `{"auto_recharge":{"trigger":null}}`, 422, "body.auto_recharge.trigger"},
		{acme, `{"auto_recharge":{"amount":"0"}}`, 422, "more than 0"},
		{acme, `{"auto_recharge":{"amount":50}}`, 422, "expected string"},
		{acme, `{"auto_recharge":{"payment_method":"a b"}}`, 422, "visible ASCII"},
		{acme, `{"auto_recharge":{"caps":1}}`, 422, "body.auto_recharge.caps"},
		{acme, `{"auto_recharge":true}`, 422, "expected object"},
		{topUp, `{}`, 422, "amount"},
		{topUp, `{"amount":null}`, 422, "expected string"},
		{topUp, `{"amount":100}`, 422, "expected string"},
		{topUp, `{"amount":"1e3"}`, 422, "an amount such as"},
		{topUp, `{"amount":"0.0000001"}`, 422, "an amount such as"},
		{topUp, `{"amount":"99999999999999999999"}`, 422, "out of range"},
		{topUp, `{"amount":"0"}`, 422, "is allowed"},
		{topUp, `{"amount":"1","note":"x"}`, 422, "body.note"},
		{result, `{"status":"done"}`, 422, "body.status"},
		{result, `{"status":"succeeded"}`, 422, "amount is missing; currency is missing"},
		{result, `{"status":"succeeded","amount":"1","currency":"USD","code":"x"}`, 422, "body.code"},
		{result, `{"status":"succeeded","amount":null,"currency":"USD"}`, 422, "body.amount"},
		{result, `{"status":"declined"}`, 422, "body.code"},
		{result, `{"status":"declined","code":"a b"}`, 422, "visible ASCII"},
		{result, `{"status":"declined","code":"x","amount":"1"}`, 422, "only allowed with the status succeeded"},
		{"POST /v1/recharges/acme/0/result", `{"status":"declined","code":"x"}`, 422, "path.n"},
		{"POST /v1/recharges/acme/x/result", `{"status":"declined","code":"x"}`, 422, "path.n"},
		{"POST /v1/recharges/a%20b/1/result", `{"status":"declined","code":"x"}`, 422, "path.account"},
		{"PUT /v1/accounts/a%2Fb", `{"currency":"USD"}`, 422, "path.id"},
	} {
		if a := c.do(tc.request, tc.body, key); a.code == tc.code {
			a.is(tc.code, tc.says)
		} else {
			t.Errorf("%s %s: got %d %s, want %d", tc.request, tc.body, a.code, a.text, tc.code)
		}
	}
	if n := len(c.commands(0)); n != 1 {
		t.Errorf("%d commands in the log, want 1", n)
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.do(topUp, `{"amount":"1"}`).is(422, "header.Idempotency-Key", "missing")
	for _, bad := range []string{"a b", "é", strings.Repeat("k", 101)} {
		c.do(topUp, `{"amount":"1"}`, "Idempotency-Key: "+bad).is(422, "header.Idempotency-Key")
		c.do(acme, `{}`, "Idempotency-Key: "+bad).is(422, "header.Idempotency-Key")
	}
	c.do(topUp, `{"amount":"1"}`, "Idempotency-Key: "+strings.Repeat("~", 100)).is(200)
}

func TestTopUp(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(topUp, `{"amount":"100.00"}`, key).is(404, "no account acme").because("unknown_account")
	c.do(acme, complete).is(200)
	c.do(topUp, `{"amount":"100.00"}`, key).is(200, `"balance":"100.000000"`)
	c.do(topUp, `{"amount":"100"}`, key).is(200, `"balance":"100.000000"`) // the same amount, the same body
	c.do(topUp, `{"amount":"100.01"}`, key).is(409, "used with another body").because("idempotency_key_reused")
	c.do(acme, `{}`, key).is(200, `"balance":"100.000000"`) // keys of PUT are others
	want := &balance.Command{Type: balance.TopUp, Account: "acme", ID: "top-up/k1", Amount: micros(t, "100")}
	if got := c.commands(2)[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	c.change(func() { c.accounts["acme"].Funded = rating.MaxTotal })
	c.do(topUp, `{"amount":"1"}`, "Idempotency-Key: k2").is(409, "counted exactly").because("out_of_bounds")
}

func TestResultsOfRecharges(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	result := "POST /v1/recharges/acme/1/result"
	paid, declined := `{"status":"succeeded","amount":"50.00","currency":"USD"}`, `{"status":"declined","code":"expired_card"}`
	c.do(result, paid).is(404).because("unknown_account")
	c.do(acme, complete).is(200)
	c.do(result, paid).is(409, "No recharge of this number").because("no_request")
	c.request("acme", 1)
	c.do(result, `{"status":"succeeded","amount":"50","currency":"EUR"}`).is(409, "not in the account's currency").because("currency_mismatch")
	c.do(result, declined).is(200, `"state":"suspended"`)
	c.do(result, declined).is(200)
	c.do(result, paid).is(200, `"balance":"50.000000"`, `"state":"idle"`)
	c.do(result, paid).is(200, `"balance":"50.000000"`)
	c.do(result, declined).is(200, `"balance":"50.000000"`)
	got := c.commands(4)[0]
	want := &balance.Command{Type: balance.Result, Account: "acme", ID: got.ID, N: 1, Status: "declined", Code: "expired_card", Class: balance.Hard}
	if !reflect.DeepEqual(got, want) || !strings.HasPrefix(got.ID, "result/") {
		t.Errorf("got %+v", got)
	}
}

func TestARefusalOfANewerVersionIsPassedOn(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c := start(t, w, func(o *httpapi.Options) { o.ApplyWait = 10 * time.Second })
	c.do(acme, complete).is(200)
	w.onApplied = func() {
		w.change(func() {
			for id, r := range w.results {
				r.Refused = "account_is_frozen"
				w.results[id] = r
			}
		})
	}
	c.do(topUp, `{"amount":"1"}`, key).is(http.StatusConflict, "refused: account_is_frozen").because("account_is_frozen")
}
