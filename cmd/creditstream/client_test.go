package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const problemType = "application/problem+json"

// What an answer means, by the exit code and in words.
func TestAnswersThatAreNoSuccess(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		code   int
		want   []string
	}{
		"accepted": {answering(202, `{"status":"accepted"}`), 3, []string{"accepted, and will be applied", "run the same command again with --key k1"}},
		"the log is away": {
			answering(503, `{"type":"urn:creditstream:problem:log_unavailable","status":503,"detail":"No answer."}`), 3,
			[]string{"503 log_unavailable: No answer.", "with --key k1"},
		},
		"nothing changed": {
			answering(503, `{"type":"urn:creditstream:problem:balances_unavailable","status":503,"detail":"Nothing changed."}`), 1,
			[]string{"503 balances_unavailable: Nothing changed."},
		},
		"a bug":          {answering(500, `{"type":"urn:creditstream:problem:internal_error","status":500,"detail":"Broken."}`), 3, []string{"500 internal_error", "with --key k1"}},
		"a proxy":        {answering(502, "<html>bad\x1b[31m gateway"), 3, []string{`not an answer of creditstream: "<html>bad\x1b[31m gateway"`, "is --url right", "with --key k1"}},
		"another server": {answering(404, "404 page not found"), 1, []string{"404: not an answer of creditstream", "is --url right"}},
		"a redirect": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
			}, 1,
			[]string{"307: not an answer of creditstream"},
		},
		"findings": {
			answering(422, `{"status":422,"title":"x","detail":"validation failed","errors":[{"location":"body.amount","message":"is\u001bnone"}]}`), 1,
			[]string{"422: validation failed\n  body.amount: is\\x1bnone"},
		},
		"cut off":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 3, []string{"nothing is known about this change", "with --key k1"}},
		"no JSON":  {answering(200, "ok"), 3, []string{"answered with 200", "read the answer of the API", "with --key k1"}},
		"too long": {answering(200, `{"id":"`+strings.Repeat("x", 4<<20)+`"}`), 3, []string{"answered with 200", "longer than 4 MiB", "with --key k1"}},
		"half of it": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write([]byte(`{"id":`))
			}, 3,
			[]string{"answered with 200", "unexpected EOF", "with --key k1"},
		},
		"a flag": {
			answering(409, `{"type":"urn:creditstream:problem:account_closed","status":409,"detail":"The account is closed: send \"reopen\": true to open it again. Nothing changed."}`), 1,
			[]string{"give --reopen to open it again"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				if r.Header.Get("Idempotency-Key") != "k1" || r.URL.Path != "/v1/accounts/acme/top-ups" {
					t.Errorf("%s, %v", r.URL.Path, r.Header)
				}
				tt.answer(w, r)
			}))
			defer srv.Close()
			d := &desk{T: t, url: srv.URL}
			_, errs := d.run(tt.code, words("account top-up acme --amount 5 --key k1")...)
			wants(t, errs, tt.want...)
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func answering(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", problemType)
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

// A result has no key; a change that cannot be shown is one that was made; and what
// is only read has no safe repeat to tell of.
func TestAnswersThatCannotBeRead(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(answering(200, "ok"))
	defer srv.Close()
	d := &desk{T: t, url: srv.URL}
	for _, args := range []string{"recharge result acme/1 --declined x", "recharge result acme/1 --declined x --json"} {
		_, errs := d.run(3, words(args)...)
		wants(t, errs, "answered with 200", "run the same command again: it counts once")
		if strings.Contains(errs, "--key") {
			t.Errorf("%s has no --key: %s", args, errs)
		}
	}
	_, errs := d.run(3, words("account top-up acme --amount 5 --json")...)
	wants(t, errs, "answered with 200", "run the same command again with --key ")
	d.refuses(words("account show acme"), "read the answer of the API")
	out, _ := d.run(0, "recharge", "result", "--help")
	if strings.Contains(out, "--key") {
		t.Errorf("there is no --key: %s", out)
	}
}

// Where no connection was made nothing can have changed.
func TestNobodyListens(t *testing.T) {
	t.Parallel()
	d := &desk{T: t, url: "http://" + freeAddr(t)}
	d.refuses(words("account top-up acme --amount 5"), "--url "+d.url, "connection refused")
	d.refuses(words("recharge result acme/1 --declined x"), "connection refused")
}

func TestTLSOfTheAPI(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(answering(200, `{"id":"acme","currency":"USD","balance":"1.000000","status":"active"}`))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &desk{T: t, url: srv.URL}
	d.refuses(words("account top-up acme --amount 5"), "certificate") // nothing was sent: no talk of repeating it
	out, _ := d.run(0, "account", "show", "acme", "--ca", ca)
	wants(t, out, "1.000000 USD")
	_, errs := d.run(2, "account", "show", "acme", "--ca", "client_test.go")
	wants(t, errs, "holds no certificate in PEM")
}

// An API that asks for certificates of its clients gets one.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(answering(200, `{"id":"acme","currency":"USD","balance":"1.000000","status":"active"}`))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	defer srv.Close()
	key, err := x509.MarshalPKCS8PrivateKey(srv.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := file("cert.pem", "CERTIFICATE", srv.Certificate().Raw)
	d := &desk{T: t, url: srv.URL, more: []string{"--ca", cert}}
	d.refuses(words("account show acme"), "certificate required")
	out, _ := d.run(0, "account", "show", "acme", "--client-cert", cert, "--client-key", file("key.pem", "PRIVATE KEY", key))
	wants(t, out, "1.000000 USD")
	_, errs := d.run(2, "account", "show", "acme", "--client-cert", cert)
	wants(t, errs, "expected a certificate and its key")
}

// The limit of purchases reaches the API.
func TestMaxPurchaseIsTheAPIs(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	srv := httptest.NewServer(newProcessor(processorConfig{MaxPurchase: 5_000_000}, log, nil).api())
	defer srv.Close()
	d := &desk{T: t, url: srv.URL}
	d.refuses(words("account top-up acme --amount 5.000001"), "422 above_max_purchase", "5.000000", "--max-purchase")
}
