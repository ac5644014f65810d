package httpapi_test

import (
	"strings"
	"testing"

	"github.com/creditstream/creditstream/balance"
)

const recharges = "POST /v1/recharges/acme/"

// What a payment service can say of a recharge, and when.
func TestEveryPaymentResultHasAnAnswer(t *testing.T) {
	t.Parallel()
	paid := func(amount, currency string) string {
		return `{"status":"succeeded","amount":"` + amount + `","currency":"` + currency + `"}`
	}
	const declined = `{"status":"declined","code":"expired_card"}`
	type step struct {
		body    string
		refused string
		balance string
	}
	for name, tc := range map[string]struct {
		before func(r *reality)
		steps  []step
		alerts int // recharge.mismatched
	}{
		"twice":                  {nil, []step{{paid("50", "USD"), "", "50"}, {paid("50", "USD"), "", "50"}}, 0},
		"declined twice":         {nil, []step{{declined, "", "0"}, {declined, "", "0"}}, 0},
		"paid after a decline":   {nil, []step{{declined, "", "0"}, {paid("50", "USD"), "", "50"}, {declined, "", "50"}}, 0},
		"declined after payment": {nil, []step{{paid("50", "USD"), "", "50"}, {declined, "", "50"}}, 0},
		"late":                   {func(r *reality) { r.unanswered(1) }, []step{{paid("50", "USD"), "", "50"}}, 0},
		"after it was abandoned": {func(r *reality) {
			r.unanswered(1)
			r.do(recharges+"1/abandon", "").is(200, `"state":"idle"`)
		}, []step{{declined, "", "0"}, {paid("50", "USD"), "", "50"}}, 0},
		"of the one before": {func(r *reality) {
			r.unanswered(1)
			r.do(recharges+"1/abandon", "").is(200)
			r.asked(2)
		}, []step{{declined, "", "0"}, {paid("50", "USD"), "", "50"}}, 0},
		"another amount":         {nil, []step{{paid("49.999999", "USD"), "", "49.999999"}}, 1},
		"another amount again":   {nil, []step{{paid("50", "USD"), "", "50"}, {paid("60", "USD"), "", "50"}}, 1},
		"another currency":       {nil, []step{{paid("50", "EUR"), "currency_mismatch", "0"}, {paid("50", "USD"), "", "50"}}, 1},
		"more than may be asked": {nil, []step{{paid("200000", "USD"), "", "200000"}}, 1}, // it is paid: no limit of ours counts
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startReal(t)
			r.do(recharges+"1/result", paid("50", "USD")).is(404).because("unknown_account")
			r.do(acme, complete).is(200)
			r.do(recharges+"1/result", paid("50", "USD")).is(409, "No recharge of this number").because("no_request")
			r.do(recharges+"1/result", declined).is(409).because("no_request")
			if n := r.told("recharge.mismatched"); n != 2 {
				t.Errorf("%d alerts of results without a request", n)
			}
			r.asked(1)
			if tc.before != nil {
				tc.before(r)
			}
			for _, s := range tc.steps {
				if a := r.do(recharges+"1/result", s.body); s.refused != "" {
					a.is(409).because(s.refused)
				} else {
					a.is(200)
				}
				r.do("GET /v1/accounts/acme", "").is(200, `"balance":"`+micros(t, s.balance).String()+`"`)
			}
			if n := r.told("recharge.mismatched"); n != tc.alerts {
				t.Errorf("%d alerts, want %d", n, tc.alerts)
			}
		})
	}
}

func TestResumeAndAbandon(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	const resume = "POST /v1/accounts/acme/resume"
	r.do(resume, "").is(404).because("unknown_account")
	r.do(recharges+"1/abandon", "").is(404).because("unknown_account")
	r.do(acme, complete).is(200)
	r.do(resume, "").is(409, "nothing to resume").because("not_suspended")
	r.do(recharges+"1/abandon", "").is(409).because("not_unresolved")
	r.asked(1)
	r.do(recharges+"1/abandon", "").is(409, "within 15 minutes").because("not_unresolved")
	r.do(recharges+"1/result", `{"status":"declined","code":"stolen_card"}`).is(200, `"state":"suspended"`)
	r.do(resume, "", key).is(200, `"state":"idle"`)
	r.do(resume, "", key).is(200, `"state":"idle"`)
	r.do(resume, "").is(409).because("not_suspended")
	r.asked(2)
	r.do(recharges+"2/result", `{"status":"declined","code":"do_not_honor"}`).is(200, `"state":"cooling"`)
	r.do(resume, "").is(200, `"state":"idle"`)
	r.asked(3)
	r.unanswered(3)
	r.do(recharges+"2/abandon", "").is(409).because("not_unresolved")
	r.do(recharges+"3/abandon", "", key).is(200, `"state":"idle"`)
	r.do(recharges+"3/abandon", "", key).is(200)
	r.do(recharges+"2/abandon", "", key).is(409).because("idempotency_key_reused")
	for _, bad := range []string{"0", "x", "1099511627777"} {
		r.do(recharges+bad+"/abandon", "").is(422, "path.n")
	}
}

func TestACapHoldsARechargeBack(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	r.do(acme, strings.Replace(complete, `"pm_1"`, `"pm_1","caps":{"per_day":{"count":1}}`, 1)).is(200)
	r.asked(1)
	r.do(recharges+"1/result", `{"status":"succeeded","amount":"50","currency":"USD"}`).is(200)
	r.call("acme", "45")
	r.ask(2)
	if n := r.told("recharge.suppressed"); n != 1 {
		t.Errorf("told %d times", n)
	}
	r.do("GET /v1/accounts/acme", "").is(200, `"state":"capped"`)
	r.do("POST /v1/accounts/acme/resume", "").is(409).because("not_suspended")
	r.do(acme, `{"auto_recharge":{"caps":null}}`).is(200, `"state":"idle"`)
}

// The class of the code is decided once, before the command is written.
func TestDeclineCodesAreClassedInTheCommand(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]balance.DeclineClass{
		"expired_card": balance.Hard, "authentication_required": balance.RequiresAction, "do_not_honor": balance.Soft, "never_heard": balance.Soft,
	} {
		c := start(t, newWorld())
		c.do(acme, complete).is(200)
		c.request("acme", 1)
		c.do(recharges+"1/result", `{"status":"declined","code":"`+code+`"}`).is(200)
		if got := c.commands(1)[0].Class; got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
	}
}
