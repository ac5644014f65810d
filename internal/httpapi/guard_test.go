package httpapi_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/httpapi"
)

const signingKey = "a-secret-of-the-tests-that-is-long-enough"

// guarded is a client of an API that asks who it is. Its tokens are named like
// their scopes.
type guarded struct {
	*client

	tokens map[string]string // by scopes
	audit  buffer
}

func startGuarded(t *testing.T, w *world, rate int, options ...func(*httpapi.Options)) *guarded {
	t.Helper()
	g := &guarded{tokens: map[string]string{}}
	var lines strings.Builder
	for _, names := range []string{"read", "authorize", "fund", "admin", "read,fund"} {
		scopes, err := auth.ParseScopes(names)
		if err != nil {
			t.Fatal(err)
		}
		secret, line, err := auth.NewToken(strings.ReplaceAll(names, ",", "-"), scopes)
		if err != nil {
			t.Fatal(err)
		}
		g.tokens[names] = secret
		lines.WriteString(line + "\n")
	}
	dir := t.TempDir()
	opt := auth.Options{
		Tokens: filepath.Join(dir, "tokens"), Secrets: filepath.Join(dir, "secrets"), Rate: rate, Now: func() time.Time { return quotedAt },
	}
	for name, text := range map[string]string{opt.Tokens: lines.String(), opt.Secrets: "payments " + signingKey + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gate, err := auth.Load(opt)
	if err != nil {
		t.Fatal(err)
	}
	g.client = start(t, w, append(options, func(o *httpapi.Options) {
		o.Gate, o.Audit = gate, slog.New(slog.NewJSONHandler(&g.audit, nil))
	})...)
	return g
}

// as is do with the token of these scopes.
func (g *guarded) as(scopes, request, body string, headers ...string) *answer {
	g.Helper()
	return g.do(request, body, append(headers, "Authorization: Bearer "+g.tokens[scopes])...)
}

// sign does what docs/security.md says.
func sign(at time.Time, rechargeID, body string) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(signingKey))
	mac.Write([]byte(seconds + "\n" + rechargeID + "\n" + body))
	return "Creditstream-Signature: t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// lines returns the lines of the audit with this message.
func (g *guarded) lines(message string) (found []map[string]any) {
	g.Helper()
	for line := range strings.Lines(g.audit.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			g.Fatalf("%v in %s", err, line)
		}
		if m["msg"] == message {
			found = append(found, m)
		}
	}
	return found
}

// Who may use which route. A new route is refused here until somebody has said it.
func TestEveryRouteHasItsScopes(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"GET /livez":                               nil,
		"GET /readyz":                              nil,
		"GET /metrics":                             {"read"},
		"GET /v1/quote":                            {"read", "authorize"},
		"GET /v1/accounts/{id}":                    {"read"},
		"PUT /v1/accounts/{id}":                    {"admin"},
		"GET /v1/accounts":                         {"read"},
		"GET /v1/accounts/{id}/ledger":             {"read"},
		"POST /v1/accounts/{id}/top-ups":           {"fund"},
		"POST /v1/accounts/{id}/adjustments":       {"admin"},
		"POST /v1/accounts/{id}/grants":            {"admin"},
		"POST /v1/accounts/{id}/close":             {"admin"},
		"POST /v1/accounts/{id}/resume":            {"admin"},
		"POST /v1/recharges/{account}/{n}/abandon": {"admin"},
		"POST /v1/recharges/{account}/{n}/result":  {"fund", "signature"},
		"POST /v1/authorize":                       {"authorize"},
	}
	g := startGuarded(t, newWorld(), 1000)
	var d document
	if err := json.Unmarshal([]byte(g.do("GET /openapi.json", "").is(200).text), &d); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			scopes, known := want[route]
			delete(want, route)
			if !known {
				t.Errorf("%s: say here who may use it", route)
				continue
			}
			if op.Security == nil {
				t.Errorf("%s: the document does not say who may use it", route)
			}
			var documented []string
			for _, way := range op.Security {
				if _, signed := way["signature"]; signed {
					documented = append(documented, "signature")
				}
				documented = append(documented, way["token"]...)
			}
			if !slices.Equal(documented, scopes) {
				t.Errorf("%s: the document says %q, want %q", route, documented, scopes)
			}
			g.tryAll(route, exampleBody(op.RequestBody.Content), scopes)
		}
	}
	for route := range want {
		t.Errorf("%s: there is no such route", route)
	}
}

// tryAll sends a request with each token.
func (g *guarded) tryAll(route, body string, scopes []string) {
	g.Helper()
	request := strings.NewReplacer("{id}", "acme", "{account}", "acme", "{n}", "1").Replace(route)
	open := len(scopes) == 0
	if a := g.do(request, body, key); !open {
		a.is(401, "Bearer TOKEN").because("credentials_missing")
		if a.header.Get("WWW-Authenticate") != `Bearer realm="creditstream"` {
			g.Errorf("%s: %v", route, a.header)
		}
	} else if a.code == 401 {
		g.Errorf("%s needs a token", route)
	}
	for _, scope := range []string{"read", "authorize", "fund", "admin"} {
		a := g.as(scope, request, body, key)
		if open || scope == "admin" || slices.Contains(scopes, scope) {
			if a.code == 401 || a.code == 403 {
				g.Errorf("%s: a token with %s: %d %s", route, scope, a.code, a.text)
			}
			continue
		}
		needs := strings.Join(slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "signature" }), " ")
		a.is(403, "needs a token with the scope "+strings.ReplaceAll(needs, " ", " or ")+"; "+scope+" has "+scope).because("scope_missing")
		if want := `Bearer realm="creditstream", error="insufficient_scope", scope="` + needs + `"`; a.header.Get("WWW-Authenticate") != want {
			g.Errorf("%s: %q, want %q", route, a.header.Get("WWW-Authenticate"), want)
		}
	}
	if a := g.do(request, body, key, "Authorization: Bearer cst_guess"); !open {
		a.is(401).because("token_unknown")
	}
	if a := g.do(request, body, key, sign(quotedAt, "acme/1", body)); !open && slices.Contains(scopes, "signature") == (a.code == 401) {
		g.Errorf("%s: signed: %d %s", route, a.code, a.text)
	}
}

func TestNothingIsDoneForWhoIsNotLetIn(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000)
	g.do(acme, complete).is(401)
	g.do(acme, complete, "Authorization: Bearer x").is(401)
	g.as("read,fund", acme, complete).is(403)
	if n := len(g.commands(0)); n != 0 {
		t.Errorf("%d commands in the log", n)
	}
	g.as("admin", acme, complete).is(200)
}

func TestARouteWithoutAScopeCannotBeAdded(t *testing.T) {
	t.Parallel()
	defer func() {
		if p := fmt.Sprint(recover()); !strings.Contains(p, "GET /v1/new has no scope") {
			t.Errorf("got %s", p)
		}
	}()
	httpapi.AddWithoutScope()
}

// Nothing that a token without the scope read can send, and that changes nothing, tells
// an account that exists from one that does not.
func TestNoHintWhetherAnAccountExists(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000)
	g.as("admin", "PUT /v1/accounts/here", complete).is(200)
	g.request("here", 1)
	g.as("admin", "POST /v1/accounts/here/top-ups", `{"amount":"5"}`, "Idempotency-Key: used").is(200)
	paid := `{"status":"succeeded","amount":"5","currency":"EUR"}`
	for _, probe := range []struct {
		scopes, request, body, key string
	}{
		{"authorize", "GET /v1/accounts/%s", "", ""},
		{"fund", "GET /v1/accounts/%s", "", ""},
		{"fund", "PUT /v1/accounts/%s", `{}`, ""},
		{"read", "POST /v1/accounts/%s/top-ups", `{"amount":"1"}`, "a"},
		{"fund", "POST /v1/accounts/%s/top-ups", `{"amount":"1"}`, "used"},
		{"fund", "POST /v1/accounts/%s/top-ups", `{"amount":"0"}`, "b"},
		{"fund", "POST /v1/accounts/%s/top-ups", `{"amount":"9000000000"}`, "c"},
		{"fund", "POST /v1/recharges/%s/1/result", paid, ""},
		{"fund", "POST /v1/recharges/%s/2/result", paid, ""},
		{"signed", "POST /v1/recharges/%s/1/result", paid, ""},
		{"signed", "POST /v1/recharges/%s/2/result", paid, ""},
	} {
		send := func(account string) *answer {
			request := fmt.Sprintf(probe.request, account)
			headers := []string{"Idempotency-Key: " + probe.key}
			if probe.scopes != "signed" {
				return g.as(probe.scopes, request, probe.body, headers...)
			}
			n := strings.Split(request, "/")[4]
			return g.do(request, probe.body, append(headers, sign(quotedAt, account+"/"+n, probe.body))...)
		}
		here, nowhere := send("here"), send("nowhere")
		here.header.Del("Date")
		nowhere.header.Del("Date")
		if here.code < 400 || here.code == 401 || here.code != nowhere.code || here.text != nowhere.text || !maps.EqualFunc(here.header, nowhere.header, slices.Equal) {
			t.Errorf("%s as %s: %d %s %v, but for one that is not there: %d %s %v", probe.request, probe.scopes,
				here.code, here.text, here.header, nowhere.code, nowhere.text, nowhere.header)
		}
	}
	g.as("read", "GET /v1/accounts/nowhere", "").is(404).because("unknown_account")
	g.as("read,fund", "POST /v1/accounts/nowhere/top-ups", `{"amount":"1"}`, key).is(404).because("unknown_account")
}

func TestWhoMayNotReadGetsNoAccount(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000)
	g.as("admin", acme, complete).is(200, `"balance":"0.000000"`)
	a := g.as("fund", topUp, `{"amount":"5"}`, key).is(200)
	if strings.TrimSpace(a.text) != `{"status":"applied"}` {
		t.Errorf("got %s", a.text)
	}
	g.as("read,fund", topUp, `{"amount":"5"}`, key).is(200, `"balance":"5.000000"`)
	g.as("fund", topUp, `{"amount":"6"}`, key).is(409, "Nothing changed").because("not_applied")
	g.as("fund", topUp, `{"amount":"-6"}`, key).is(422, "an amount such as")
	g.change(func() { g.logErr = errAway })
	g.as("fund", topUp, `{"amount":"5"}`, "Idempotency-Key: k2").is(503, "Nothing is known").because("log_unavailable")
}

func TestASignedResult(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000, func(o *httpapi.Options) { o.BodyTimeout = 50 * time.Millisecond })
	g.as("admin", acme, complete).is(200)
	g.request("acme", 1)
	const result, body = "POST /v1/recharges/acme/1/result", `{"status":"succeeded","amount":"50","currency":"USD"}`
	good := sign(quotedAt, "acme/1", body)
	for _, tc := range []struct {
		body, reason string
		headers      []string
	}{
		{body, "signature_malformed", []string{"Creditstream-Signature: x"}},
		{body, "signature_malformed", []string{good, "Authorization: Bearer " + g.tokens["fund"]}},
		{body, "signature_expired", []string{sign(quotedAt.Add(-6*time.Minute), "acme/1", body)}},
		{body, "signature_wrong", []string{sign(quotedAt, "acme/2", body)}},
		{body + " ", "signature_wrong", []string{good}},
		{"", "signature_wrong", []string{good}},
	} {
		g.do(result, tc.body, tc.headers...).is(401).because(tc.reason)
	}
	g.do(topUp, `{"amount":"1"}`, key, sign(quotedAt, "acme/1", `{"amount":"1"}`)).is(401).because("credentials_missing")
	g.do(result, strings.Repeat("x", 64<<10+1), good).is(413, "65536").because("body_unreadable")
	g.slowBody(good)
	if n := len(g.commands(1)); n != 0 {
		t.Fatalf("%d commands in the log", n)
	}
	g.do(result, body, good).is(200, `{"status":"applied"}`)
	g.do(result, body, good).is(200) // a replay within the window: counts once
	g.as("read", "GET /v1/accounts/acme", "").is(200, `"balance":"50.000000"`)
}

// The time for a body to arrive must not bound the time for the change to be applied.
func TestAChangeOutlastsTheDeadlineOfItsBody(t *testing.T) {
	t.Parallel()
	for _, signed := range []bool{false, true} {
		g := startGuarded(t, newWorld(), 1000, func(o *httpapi.Options) { o.BodyTimeout = 500 * time.Millisecond })
		g.as("admin", acme, complete).is(200)
		g.request("acme", 1)
		g.change(func() { g.held = true })
		time.AfterFunc(time.Second, func() { g.change(func() { g.held = false; g.catchUp() }) })
		const result, body = "POST /v1/recharges/acme/1/result", `{"status":"succeeded","amount":"50","currency":"USD"}`
		if signed {
			g.do(result, body, sign(quotedAt, "acme/1", body)).is(200)
		} else {
			g.as("fund", result, body).is(200)
		}
	}
}

// slowBody sends half a body.
func (g *guarded) slowBody(signature string) {
	g.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		g.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		g.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/recharges/acme/1/result HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\nContent-Length: 100\r\n\r\n{", signature)
	head := make([]byte, 1024)
	n, err := conn.Read(head)
	if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 408 ")) || !bytes.Contains(head, []byte("application/problem+json")) {
		g.Errorf("half a body: %v, %s", err, head[:n])
	}
}

func TestTheRateIsLimited(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 2)
	g.as("read", "GET /v1/accounts/x", "").is(404)
	g.as("read", "GET /v1/accounts/x", "").is(404)
	if a := g.as("read", "GET /v1/accounts/x", "").is(429, "2 requests a second of read").because("rate_limited"); a.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	g.as("fund", topUp, `{"amount":"1"}`, key).is(409)
	g.do("GET /livez", "").is(200)
	g.as("admin", "GET /metrics", "").is(200, `creditstream_http_refusals_total{reason="rate_limited"} 1`,
		`creditstream_http_refusals_total{reason="scope_missing"} 0`)
}

func TestAnAuditLineForEveryChange(t *testing.T) {
	t.Parallel()
	w := newWorld()
	g := startGuarded(t, w, 1000, applyWait(20*time.Millisecond))
	g.as("admin", acme, `{"currency":"USD"}`, key).is(200)
	g.as("fund", topUp, `{"amount":"5"}`, key).is(200)
	g.as("fund", topUp, `{"amount":"6"}`, key).is(409)
	g.as("fund", "POST /v1/accounts/nobody/top-ups", `{"amount":"5"}`, key).is(409)
	g.as("admin", topUp, `{"amount":"2000000000"}`, key).is(422)
	body := `{"status":"declined","code":"x"}`
	g.do("POST /v1/recharges/acme/1/result", body, sign(quotedAt, "acme/1", body)).is(409)
	w.change(func() { w.held = true })
	g.as("fund", topUp, `{"amount":"7"}`, "Idempotency-Key: k2").is(202)
	w.change(func() { w.logErr = errAway })
	g.as("fund", topUp, `{"amount":"8"}`, "Idempotency-Key: k3").is(503)
	g.as("read", "GET /v1/accounts/acme", "").is(200)
	var got []string
	for _, l := range g.lines("change") {
		got = append(got, fmt.Sprint(l["how"], " ", l["who"], " ", l["command"], " ", l["account"], " ", l["amount"], " ", l["outcome"], " ", l["refusal"], " ", l["status"]))
		said, _ := l["said"].(map[string]any)
		if l["level"] != "INFO" || !strings.HasPrefix(l["remote"].(string), "127.0.0.1:") || said["type"] != l["command"] || said["id"] != l["id"] {
			t.Errorf("line %v", l)
		}
	}
	want := []string{
		"token admin account.put acme <nil> applied  200",
		"token fund funds.top_up acme 5.000000 applied  200",
		"token fund funds.top_up acme 6.000000 refused idempotency_key_reused 409",
		"token fund funds.top_up nobody 5.000000 refused unknown_account 404",
		"token admin funds.top_up acme 2000000000.000000 refused invalid 422",
		"signature payments recharge.result acme <nil> refused no_request 409",
		"token fund funds.top_up acme 7.000000 accepted  202",
		"token fund funds.top_up acme 8.000000 unknown log_unavailable 503",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	for _, secret := range append(slices.Collect(maps.Values(g.tokens)), signingKey) {
		if strings.Contains(g.audit.String(), secret) {
			t.Error("a secret is in the audit")
		}
	}
}

// Whoever is not let in has a line, but cannot fill a disk.
func TestRefusedCallersDoNotFloodTheAudit(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000)
	const sent = 200
	for range sent {
		g.do("GET /v1/accounts/acme", "", "Authorization: Bearer cst_guess").is(401)
	}
	lines := g.lines("caller refused")
	if len(lines) < 20 || len(lines) > 40 {
		t.Errorf("%d lines for %d requests", len(lines), sent)
	}
	l := lines[0]
	if l["reason"] != "token_unknown" || l["route"] != "GET /v1/accounts/{id}" || !strings.HasPrefix(l["remote"].(string), "127.0.0.1:") || strings.Contains(g.audit.String(), "cst_guess") {
		t.Errorf("line %v", l)
	}
	g.as("read", "GET /metrics", "").is(200, fmt.Sprintf(`creditstream_http_refusals_total{reason="token_unknown"} %d`, sent))
}

func TestHeadsThatAreTooLarge(t *testing.T) {
	t.Parallel()
	g := startGuarded(t, newWorld(), 1000)
	g.as("read", "GET /v1/accounts/x", "", "X-More: "+strings.Repeat("x", 15<<10)).is(404)
	g.as("read", "GET /v1/accounts/x", "", "X-More: "+strings.Repeat("x", 16<<10)).is(431, "16384").because("head_too_large")
	g.do("GET /v1/quote?kind="+strings.Repeat("x", 16<<10), "").is(431)
}
