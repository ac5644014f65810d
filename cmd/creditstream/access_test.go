package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

// selfSigned writes a certificate for this machine and its key.
func selfSigned(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{cert: certPEM, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, key, pool
}

// What goes together and what does not.
func TestAccessSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"loopback":              {[]string{"--http=127.0.0.1:1"}, ""},
		"TLS":                   {[]string{"--http=0.0.0.0:1", "--tls-cert=c", "--tls-key=k", "--tls-client-ca=a"}, ""},
		"a proxy":               {[]string{"--http=10.0.0.1:1", "--plain-http"}, ""},
		"in the clear":          {[]string{"--http=[::]:1"}, "tokens would be sent unencrypted: give --tls-cert and --tls-key"},
		"no key":                {[]string{"--tls-cert=c"}, "flag --tls-cert: is given without --tls-key"},
		"no certificate":        {[]string{"--tls-key=c"}, "flag --tls-key: is given without --tls-cert"},
		"no TLS":                {[]string{"--tls-client-ca=c"}, "flag --tls-client-ca: is given without --tls-cert and --tls-key"},
		"no host":               {[]string{"--http=:8080"}, `":8080" is not an address to listen on`},
		"a rate that is no use": {[]string{"--token-rate=0"}, `"0" is out of range: expected 1 to 1000000`},
	} {
		_, problems := resolved(t, append(complete(t), tt.args...), nil)
		if got := strings.Join(problems, "\n"); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestProblemsOfTheFileOfTokens(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "# tokens\nbilling read cst_not-a-hash\n")
	_, _, err := execute(t, "run", "--brokers=b:1", "--redis=r:1", "--deck=../../deploy/decks/sample", "--tokens", file)
	if err == nil || !strings.Contains(err.Error(), file+":2: billing: the third word is no hash") || strings.Contains(err.Error(), "cst_") || exitCode(err) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestTokenCommand(t *testing.T) {
	t.Parallel()
	out, errs, err := execute(t, "token", "billing", "--scopes", "read,fund")
	lines := strings.Split(out, "\n")
	if err != nil || errs != "" || len(lines) != 3 || !strings.HasPrefix(lines[0], "cst_") || !strings.HasPrefix(lines[1], "billing read,fund sha256:") {
		t.Errorf("got %q, %q, %v", out, errs, err)
	}
	if out, _, err = execute(t, "token", "payments", "--signing"); err != nil || strings.Count(out, "\n") != 2 || !strings.Contains(out, "\npayments ") {
		t.Errorf("got %q, %v", out, err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"token", "a"}, "expected either --scopes or --signing"},
		{[]string{"token", "a", "--scopes=read", "--signing"}, "expected either --scopes or --signing"},
		{[]string{"token", "a", "--scopes=root"}, `flag --scopes: "root" is no scope`},
		{[]string{"token", "a b", "--scopes=read"}, `name: "a b" is not allowed`},
		{[]string{"token", "--scopes=read"}, "expected NAME, not 0 arguments"},
	} {
		if _, _, err := execute(t, tt.args...); err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != 2 {
			t.Errorf("%q: %v", tt.args, err)
		}
	}
}

// A processor speaks TLS, asks for tokens, takes a new one while it runs, and writes an
// audit line whatever the level of its log is.
func TestRunAsksWhoItIs(t *testing.T) {
	t.Parallel()
	cert, key, pool := selfSigned(t)
	tokens := writeFile(t, "")
	secret, line, err := auth.NewToken("first", auth.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newPlant(t)
	proc := p.processor(p.http, "--tls-cert", cert, "--tls-key", key, "--tokens", tokens, "--log-level", "error", "--log-format", "json")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	send := func(method, path, token, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+p.http+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			return 0
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	answers := func(want int, method, path, token, body string) {
		t.Helper()
		await(t, 30*time.Second, method+" "+path, func() error {
			if code := send(method, path, token, body); code != want {
				return fmt.Errorf("%d, want %d", code, want)
			}
			return nil
		})
	}
	answers(200, "GET", "/readyz", "", "")
	if code, _, err := request(t, "GET", "http://"+p.http+"/livez", nil, ""); err == nil && code == 200 {
		t.Error("it answers without TLS")
	}
	answers(401, "PUT", "/v1/accounts/acme", "", `{"currency":"USD"}`)
	answers(401, "GET", "/metrics", testToken, "")
	answers(200, "PUT", "/v1/accounts/acme", secret, `{"currency":"USD"}`)
	for _, want := range []string{
		`"msg":"change","how":"token","who":"first"`, `"said":{"type":"account.put"`, `"msg":"caller refused","reason":"token_unknown"`,
	} {
		await(t, 10*time.Second, "audit line with "+want, func() error { // it comes through a pipe
			if !strings.Contains(proc.out.String(), want) {
				return errors.New("not written yet")
			}
			return nil
		})
	}
	second, line, err := auth.NewToken("second", auth.Read)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tokens, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	answers(200, "GET", "/v1/accounts/acme", second, "")
	answers(401, "GET", "/v1/accounts/acme", secret, "")
	answers(403, "PUT", "/v1/accounts/acme", second, `{}`)
	proc.stop(t)
}

// With tokens the sandbox asks for them too, and its simulation has its own.
func TestSandboxWithTokens(t *testing.T) {
	t.Parallel()
	if _, err := redisserver.Find(); err != nil {
		t.Fatal(err)
	}
	s := startInProcess(t, t.TempDir(), "--tokens", tokenFile)
	must(t, http.MethodGet, s.http+"/v1/accounts/acme", nil, "") // the simulation has opened it
	code, _, err := request(t, "GET", s.http+"/v1/accounts/acme", http.Header{"Authorization": {""}}, "")
	if err != nil || code != http.StatusUnauthorized {
		t.Errorf("without a token: %d, %v", code, err)
	}
	if out := s.out.String(); !strings.Contains(out, `curl -H "Authorization: Bearer $TOKEN" -X PUT `+s.http+"/v1/accounts/demo") || strings.Contains(out, testToken) {
		t.Errorf("greeting: %s", out)
	}
	s.stop(t)
}
