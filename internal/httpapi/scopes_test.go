package httpapi_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/httpapi"
)

// A named gate takes the scopes that a token is made of for its name too.
type namedGate struct{ auth.Open }

func (namedGate) Token(authorization []string) (auth.Caller, error) {
	if len(authorization) != 1 {
		return auth.Caller{}, &auth.RefusedError{Reason: auth.NoCredentials, Detail: "Send a token."}
	}
	scopes, err := auth.ParseScopes(authorization[0])
	return auth.Caller{How: auth.ByToken, Name: authorization[0], Scopes: scopes}, err
}

func gated(o *httpapi.Options) { o.Gate = namedGate{} }

func as(scopes string) string { return "Authorization: " + scopes }

func TestTheOperatorIsTheTokenUnlessNamed(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld(), gated)
	c.do(acme, complete, as("admin")).is(200)
	c.do(adjustments, `{"amount":"1","currency":"USD","reason":"r"}`, key, as("admin")).is(200)
	c.do(adjustments, `{"amount":"1","currency":"USD","reason":"r"}`, key, as("admin,read")).is(409).because("idempotency_key_reused") // another one has decided it
	c.do(adjustments, `{"amount":"1","currency":"USD","reason":"r","operator":"ann"}`, keyed("k2"), as("admin")).is(200)
	for i, want := range map[int]string{0: "admin", 2: "ann"} {
		if got := c.commands(1)[i]; got.Operator != want || got.Type != balance.Adjust {
			t.Errorf("%d: %+v", i, got)
		}
	}
}

// A token that may not read accounts learns of a purchase that is wrong in itself,
// and nothing that depends on the account.
func TestAPurchaseTellsNothingOfTheAccount(t *testing.T) {
	t.Parallel()
	r := startReal(t, gated)
	r.do(acme, `{"currency":"JPY"}`, as("admin")).is(200)
	hidden := r.do(topUp, `{"amount":"0.5"}`, key, as("fund")).is(409).because("not_applied")
	nobody := r.do("POST /v1/accounts/nobody/top-ups", `{"amount":"0.5"}`, key, as("fund")).is(409)
	if hidden.text != nobody.text {
		t.Errorf("%s\nand %s", hidden.text, nobody.text)
	}
	r.do(topUp, `{"amount":"0.5"}`, key, as("fund,read")).is(422).because("amount_not_payable")
	r.do(topUp, `{"amount":"100001"}`, key, as("fund")).is(422).because("above_max_purchase")
	r.do(topUp, `{"amount":"5"}`, key, as("fund")).is(200, `{"status":"applied"}`)
}

func TestChangesRefusedBeforeTheLogAreAudited(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000)
	g.as("admin", acme, `{}`, key).is(422)
	g.as("admin", acme, complete, key).is(200)
	g.as("admin", topUp, `{"amount":"5"}`, key).is(200)
	g.as("admin", topUp, `{"amount":"100001"}`, keyed("k2")).is(422)
	g.as("admin", closing, "", key).is(409)
	var got []string
	for _, l := range g.lines("change") {
		if l["outcome"] == "refused" {
			got = append(got, fmt.Sprint(l["who"], " ", l["command"], " ", l["account"], " ", l["refusal"]))
		}
	}
	want := []string{"admin account.put acme currency_required", "admin funds.top_up acme above_max_purchase", "admin account.close acme money_left"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
