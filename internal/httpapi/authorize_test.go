package httpapi_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/httpapi"
	"github.com/creditstream/creditstream/rating"
)

const ask = "POST /v1/authorize"

// london is a call that the sample deck charges 0.012 a minute, the first minute
// whole and then by the second.
func london(account string) string {
	return `{"account":"` + account + `","kind":"user_out","caller":"+14255550100","callee":"+442079460000","home_country":"US"}`
}

// told checks an answer in words: "3600", "denied no_rate", or both for a call that
// is allowed unchecked.
func (a *answer) told(want string) {
	a.Helper()
	a.is(200)
	got := ""
	if seconds, found := a.body["max_seconds"]; found {
		got = fmt.Sprint(seconds)
	}
	if reason, found := a.body["reason"]; found {
		got = strings.TrimSpace(got + " " + fmt.Sprint(reason))
	}
	if a.body["allowed"] == false {
		got = "denied " + got
	}
	if got != want {
		a.Errorf("got %s, want %s: %s", got, want, a.text)
	}
}

func TestTheAnswerToASwitch(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("acme", "USD", "1.08", balance.Settings{})
	c := switchboard(t, p)
	a := c.do(ask, london("acme")).is(200)
	deck := a.body["rate"].(map[string]any)["deck"].(string)
	want := `{"allowed":true,"max_seconds":5400,"rate":{"deck":"` + deck + `","rule":5,"currency":"USD","destination":"United Kingdom London",` +
		`"prefix":"4420","steps":[{"from":0,"price":"0.012","increment":60},{"from":60,"price":"0.012","increment":1}]}}`
	if strings.TrimSpace(a.text) != want || deck != sampleDeck(t).Versions()[0].Version {
		t.Errorf("got  %s\nwant %s", a.text, want)
	}
	if a := c.do(ask, `{"kind":"emergency"}`).is(200); strings.TrimSpace(a.text) != `{"allowed":true,"max_seconds":86400}` {
		t.Errorf("got %s", a.text)
	}
	if a := c.do(ask, london("nobody")).is(200); strings.TrimSpace(a.text) != `{"allowed":false,"reason":"unknown_account"}` {
		t.Errorf("got %s", a.text)
	}
}

// What is allowed is what the call may cost, to the micro: the longest call is paid
// for, and one that is a second longer is not.
func TestMaxSecondsAreWhatTheMoneyPaysFor(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	c := switchboard(t, p)
	deck := sampleDeck(t)
	for i, amount := range []string{"0.000001", "0.011999", "0.012", "0.012199", "0.0122", "0.5", "1", "2.8799", "2.88", "500"} {
		for j, limit := range []rating.Micros{0, 12_000} {
			account := fmt.Sprint("a", i, "-", j)
			p.open(account, "USD", amount, balance.Settings{OverdraftLimit: overdraft(limit)})
			money := *micros(t, amount) + limit
			want := 0
			for want < 14_400 {
				charge, err := deck.Price(&rating.CDR{
					Kind: rating.UserOut, Callee: "+442079460000", AnsweredAt: quotedAt, DurationMillis: int64(want+1) * 1000,
				})
				if err != nil {
					t.Fatal(err)
				}
				if charge.Amount > money {
					break
				}
				want++
			}
			text := strconv.Itoa(want)
			if want == 0 {
				text = "denied balance_depleted"
			}
			c.do(ask, london(account)).told(text)
		}
	}
}

func TestReasonsToDeny(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("rich", "USD", "100", balance.Settings{})
	p.open("zero", "USD", "0", balance.Settings{})
	p.open("debt", "USD", "-1", balance.Settings{})
	p.open("trusted", "USD", "-1", balance.Settings{OverdraftLimit: overdraft(1_012_000)})
	p.open("euro", "EUR", "100", balance.Settings{})
	p.open("closed", "USD", "100", balance.Settings{})
	p.close("closed")
	c := switchboard(t, p)
	call := func(account, kind, callee string) string {
		return fmt.Sprintf(`{"account":%q,"kind":%q,"callee":%q}`, account, kind, callee)
	}
	const number = "+442079460000"
	for body, want := range map[string]string{
		call("rich", "user_out", number):    "14400",
		call("zero", "user_out", number):    "denied balance_depleted",
		call("debt", "user_out", number):    "denied balance_depleted",
		call("trusted", "user_out", number): "60",
		call("euro", "user_out", number):    "denied currency_mismatch",
		call("closed", "user_out", number):  "denied account_closed",
		call("nobody", "user_out", number):  "denied unknown_account",
		// What the deck does not charge needs no money, and has no currency.
		call("zero", "toll_in", ""):   "14400",
		call("debt", "user_in", ""):   "14400",
		call("euro", "user_in", ""):   "14400",
		call("closed", "user_in", ""): "denied account_closed",
		call("nobody", "user_in", ""): "denied unknown_account",
		// Toll-free calls are for the one who is called.
		call("rich", "toll_free_in", "+18005550100"): "14400",
		call("debt", "toll_free_in", "+18005550100"): "denied balance_depleted",
		call("rich", "toll_free_in", "+12065550100"): "denied no_rate",
		// Nobody is kept from these.
		call("debt", "emergency", "112"):    "86400",
		call("closed", "emergency", "911"):  "86400",
		call("nobody", "emergency", "999"):  "86400",
		call("euro", "internal", "100"):     "86400",
		call("debt", "internal", "alice"):   "86400",
		call("nobody", "internal", "+1900"): "86400",
	} {
		t.Log(body)
		c.do(ask, body).told(want)
	}
}

func TestNothingKeepsAnEmergencyCall(t *testing.T) {
	t.Parallel()
	p := newLonePurse(t)
	p.server.Kill()
	c := switchboard(t, p.purse, func(o *httpapi.Options) { o.Rater = new(rating.Decks) })
	c.change(func() { c.notReady = errAway })
	for _, body := range []string{
		`{"kind":"emergency"}`,
		`{"kind":"internal","account":"","home_country":"","callee":""}`,
		`{"kind":"emergency","account":"no such/id","home_country":"Mars","callee":"` + strings.Repeat("9", 5000) + `"}`,
	} {
		c.do(ask, body).told("86400")
	}
}

func TestWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	p := newLonePurse(t)
	p.open("acme", "USD", "-5", balance.Settings{})
	p.server.Kill()
	lenient := func(o *httpapi.Options) { o.Authorize.AllowWhenAway, o.Authorize.MaxSeconds = true, 600 }
	strict, allows := switchboard(t, p.purse), switchboard(t, p.purse, lenient)
	strict.do(ask, london("acme")).told("denied balances_unavailable")
	strict.do(ask, `{"account":"acme","kind":"user_in"}`).told("denied balances_unavailable")
	allows.do(ask, london("acme")).told("600 balances_unavailable")
	allows.do(ask, london("nobody")).told("600 balances_unavailable")
	allows.do(ask, `{"account":"acme","kind":"user_in"}`).told("600 balances_unavailable")
	// What needs no balance is known: prices, and where frauds call.
	allows.do(ask, `{"account":"acme","kind":"toll_free_in","callee":"+12065550100"}`).told("denied no_rate")
	allows.do(ask, `{"account":"acme","kind":"user_out","callee":"+18765550100"}`).told("denied blocked_destination")
	allows.do(ask, `{"account":"acme","kind":"user_out","callee":"alice"}`).is(422).because("bad_number")
}

// Before the store is open, and while its accounts are not all there again after a
// loss, nobody knows who is unknown.
func TestAnUnknownAccountIsBelievedOnlyWhenReady(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	c := switchboard(t, p)
	c.do(ask, london("nobody")).told("denied unknown_account")
	c.change(func() { c.notReady = errAway })
	c.do(ask, london("nobody")).told("denied balances_unavailable")
	early := switchboard(t, p, func(o *httpapi.Options) { o.Authorize.Standings = away{errAway} })
	early.do(ask, london("acme")).told("denied balances_unavailable")
}

// A Redis that takes the request and says nothing is away too, and the switch does
// not wait for it.
func TestASilentRedisIsAway(t *testing.T) {
	t.Parallel()
	p := newLonePurse(t)
	p.open("acme", "USD", "5", balance.Settings{})
	c := switchboard(t, p.purse, func(o *httpapi.Options) { o.Authorize.Patience = 50 * time.Millisecond })
	c.do(ask, london("acme")).told("14400")
	p.silent()
	began := time.Now()
	c.do(ask, london("acme")).told("denied balances_unavailable")
	if waited := time.Since(began); waited > 3*time.Second {
		t.Errorf("waited %s", waited)
	}
}

// commandStats finds what Redis was asked, and how often.
var commandStats = regexp.MustCompile(`cmdstat_(\S+):calls=(\d+)`)

func TestOneReadOfRedis(t *testing.T) {
	t.Parallel()
	p := newLonePurse(t)
	p.open("acme", "USD", "1", balance.Settings{BlockedPrefixes: &balance.Nullable[[]string]{Value: []string{"33"}}})
	c := switchboard(t, p.purse)
	c.do(ask, london("acme")).told("5000") // connections are open now
	calls := func() map[string]int {
		n := map[string]int{}
		for _, m := range commandStats.FindAllStringSubmatch(p.reads(), -1) {
			n[m[1]], _ = strconv.Atoi(m[2])
		}
		return n
	}
	before := calls()
	for range 10 {
		c.do(ask, london("acme")).told("5000")
	}
	for command, n := range calls() {
		more := n - before[command]
		if want := map[string]int{"hmget": 10, "info": 1}[command]; more != want {
			t.Errorf("%s: %d calls for 10 questions, want %d", command, more, want)
		}
	}
}

func TestBlockedDestinations(t *testing.T) {
	t.Parallel()
	off := false
	p := newPurse(t)
	p.open("usual", "USD", "100", balance.Settings{})
	p.open("open", "USD", "100", balance.Settings{BlockHighRisk: &off})
	p.open("careful", "USD", "100", balance.Settings{BlockHighRisk: &off, BlockedPrefixes: &balance.Nullable[[]string]{Value: []string{"4479", "33"}}})
	p.open("both", "USD", "-100", balance.Settings{BlockedPrefixes: &balance.Nullable[[]string]{Value: []string{"44"}}})
	c := switchboard(t, p)
	const blocked = "denied blocked_destination"
	for _, test := range []struct{ account, kind, callee, home, want string }{
		{"usual", "user_out", "+18765550100", "", blocked},
		{"usual", "user_out", "+18765550100", "US", blocked},
		{"usual", "user_out", "+18765550100", "jm", "14400"}, // Jamaica is domestic to Jamaica
		{"usual", "user_out", "+18765550100", "BS", blocked},
		{"usual", "user_out", "0018765550100", "", blocked}, // however it is written
		{"usual", "user_out", "1 (876) 555-0100", "", blocked},
		{"usual", "user_out", "sip:+18765550100;x=y@example.com;user=phone", "", blocked},
		{"usual", "user_out", "tel:+1-876-555-0100", "", blocked},
		{"usual", "user_out", "+1876555****", "", blocked},
		{"usual", "conference_out", "+881612345678", "", blocked},
		{"usual", "conference_call_me", "+881612345678", "", blocked},
		{"usual", "forward_out", "+449061234567", "GB", blocked}, // premium rate is nobody's domestic call
		{"usual", "transfer_out", "+449061234567", "", blocked},
		{"usual", "voice_app_out", "+449061234567", "", blocked},
		{"usual", "user_out", "+442079460000", "", "14400"},
		{"usual", "voice_app_in", "+18765550100", "", "14400"}, // the callee is the account's own number
		{"open", "user_out", "+18765550100", "", "14400"},
		{"careful", "user_out", "+18765550100", "", "14400"},
		{"careful", "user_out", "+447900123456", "GB", blocked}, // own rules count at home too
		{"careful", "user_out", "0033142685300", "", blocked},
		{"careful", "user_out", "+447800123456", "", "14400"},
		{"careful", "toll_free_in", "+33800123456", "", "14400"},
		{"both", "user_out", "+442079460000", "", blocked}, // and before the balance
		{"both", "user_out", "+18765550100", "", blocked},
		{"both", "user_out", "+33142685300", "", "denied balance_depleted"},
	} {
		body, _ := json.Marshal(map[string]string{"account": test.account, "kind": test.kind, "callee": test.callee, "home_country": test.home})
		t.Logf("%s", body)
		a := c.do(ask, string(body))
		if test.want == "14400" { // prices differ: that it is allowed is enough
			a.is(200, `"allowed":true`)
			continue
		}
		a.told(test.want)
	}
}

// A CDR that costs more than max-charge is parked, so no call is allowed to.
func TestNoCallIsAllowedThatWouldBeParked(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("acme", "USD", "100", balance.Settings{})
	limited := func(m rating.Micros) *client {
		return switchboard(t, p, func(o *httpapi.Options) { o.Authorize.MaxCharge = m })
	}
	limited(24_000).do(ask, london("acme")).told("120")
	limited(11_999).do(ask, london("acme")).is(422, "first second").because("out_of_bounds")
	switchboard(t, p, func(o *httpapi.Options) { o.Authorize.MaxSeconds = 77 }).do(ask, london("acme")).told("77")
}

func TestCallsThatCannotBeJudged(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("acme", "USD", "100", balance.Settings{})
	c := switchboard(t, p)
	for body, want := range map[string]string{
		`{"account":"acme","kind":"fax","callee":"+1"}`:                                "problem:unknown_kind",
		`{"account":"acme","kind":"user_out"}`:                                         "problem:missing_field",
		`{"account":"acme","kind":"user_out","callee":"alice"}`:                        "problem:bad_number",
		`{"account":"acme","kind":"user_out","callee":"+44 (0)20 7946 0000"}`:          "problem:bad_number",
		`{"account":"a b","kind":"user_out","callee":"+1"}`:                            "body.account",
		`{"kind":"user_out","callee":"+1"}`:                                            "body.account",
		`{"account":"acme","kind":"user_out","callee":"+1","home_country":"USA"}`:      "body.home_country",
		`{"account":"acme","kind":"user_out","callee":"+1","home_country":"1a"}`:       "body.home_country",
		`{"account":"acme","callee":"+1"}`:                                             "body",
		`{"account":"acme","kind":"user_out","callee":"+1","seconds":1}`:               "seconds",
		`{"account":"acme","kind":"user_out","kind":"emergency","callee":"+19005550"}`: "twice",
		`{"account":"acme","kind":["emergency"]}`:                                      "body.kind",
	} {
		t.Log(body)
		c.do(ask, body).is(422, want)
	}
	c.do(ask, `{`).is(400)
}

func TestAuthorizationsAreCounted(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("acme", "USD", "1", balance.Settings{})
	reg := prometheus.NewRegistry()
	c := switchboard(t, p, func(o *httpapi.Options) { o.Registerer, o.Gatherer = reg, reg })
	c.do(ask, london("acme"))
	c.do(ask, london("nobody"))
	c.do(ask, london("nobody"))
	c.do(ask, `{"kind":"emergency"}`)
	c.do(ask, `{"kind":"fax"}`)
	counts := map[string]string{"allowed": "1", "free": "1", "invalid": "1", "unknown_account": "2"}
	var want []string
	for _, outcome := range []string{
		"allowed", "free", "unchecked", "invalid", "balance_depleted", "no_rate", "unknown_account", "account_closed",
		"blocked_destination", "currency_mismatch", "balances_unavailable",
	} {
		want = append(want, fmt.Sprintf("creditstream_http_authorizations_total{outcome=%q} %s\n", outcome, cmp.Or(counts[outcome], "0")))
	}
	c.do("GET /metrics", "").is(200, want...)
	c.do("GET /metrics", "").is(200, `creditstream_http_request_seconds_count{route="/v1/authorize"} 5`)
}

// The example of the document is what is really asked and answered.
func TestTheExampleOfAuthorizeIsTrue(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("acme", "USD", "1.08", balance.Settings{})
	c := switchboard(t, p)
	var d document
	if err := json.Unmarshal([]byte(c.do("GET /openapi.json", "").is(200).text), &d); err != nil {
		t.Fatal(err)
	}
	op := d.Paths["/v1/authorize"]["post"]
	var want map[string]any
	if err := json.Unmarshal(op.Responses["200"].Content["application/json"].Example, &want); err != nil {
		t.Fatal(err)
	}
	if got := c.do(ask, string(op.RequestBody.Content["application/json"].Example)).is(200); !reflect.DeepEqual(got.body, want) {
		t.Errorf("got %s, the document says %v", got.text, want)
	}
}

// The worked example of docs/authorize.md: ten calls at once are each told what
// there is for one, and overdraw the balance nine times.
func TestNothingIsReserved(t *testing.T) {
	t.Parallel()
	p := newPurse(t)
	p.open("acme", "USD", "1.20", balance.Settings{})
	c := switchboard(t, p)
	for range 10 {
		c.do(ask, london("acme")).told("6000")
	}
	for i := range 10 { // the calls end
		p.do(&balance.Command{
			Type: balance.Adjust, Account: "acme", ID: fmt.Sprint("call", i), Amount: micros(t, "-1.20"), Currency: "USD", Reason: "test", Operator: "test",
		})
		c.do(ask, london("acme")).told("denied balance_depleted")
	}
	if s, err := p.Standing(t.Context(), "acme"); err != nil || s.Balance.String() != "-10.800000" {
		t.Errorf("got %v, %v", s, err)
	}
}
