package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/creditstream/creditstream/internal/auth"
)

var noon = time.Date(2026, 5, 6, 12, 0, 0, 0, time.UTC)

// A clock is moved by the test.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func write(tb testing.TB, path, text string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
}

func newToken(t *testing.T, name, scopes string) (secret, line string) {
	t.Helper()
	s, err := auth.ParseScopes(scopes)
	if err != nil {
		t.Fatal(err)
	}
	if secret, line, err = auth.NewToken(name, s); err != nil {
		t.Fatal(err)
	}
	return secret, line
}

// A station is a gate with its files.
type station struct {
	*testing.T
	*auth.Gate
	clock
	tokens, secrets string
	log             strings.Builder
}

func newStation(t *testing.T, tokens, secrets string, rate int) *station {
	t.Helper()
	s := &station{T: t, clock: clock{at: noon}, tokens: filepath.Join(t.TempDir(), "tokens")}
	write(t, s.tokens, tokens)
	if secrets != "" {
		s.secrets = filepath.Join(t.TempDir(), "secrets")
		write(t, s.secrets, secrets)
	}
	var err error
	if s.Gate, err = auth.Load(auth.Options{Tokens: s.tokens, Secrets: s.secrets, Rate: rate, Now: s.now}); err != nil {
		t.Fatal(err)
	}
	return s
}

// look looks twice: a change is taken when it is found the same.
func (s *station) look() {
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.Look(s.Context(), log)
	s.Look(s.Context(), log)
}

func (s *station) with(secret string) (auth.Caller, error) {
	return s.Token([]string{"Bearer " + secret})
}

func reason(t *testing.T, err error) auth.Reason {
	t.Helper()
	refusal, is := errors.AsType[*auth.RefusedError](err)
	if !is {
		t.Fatalf("got %v, want a refusal", err)
	}
	return refusal.Reason
}

func TestATokenIsKnownByItsHash(t *testing.T) {
	t.Parallel()
	secret, line := newToken(t, "billing", "read,fund")
	other, otherLine := newToken(t, "ops", "admin")
	if strings.Contains(line, secret) || !strings.HasPrefix(line, "billing read,fund sha256:") || len(secret) != len("cst_")+43 {
		t.Errorf("secret %s, line %s", secret, line)
	}
	s := newStation(t, "\xef\xbb\xbf# who may\r\n\r\n"+line+"\r\n  "+otherLine, "", 100)
	c, err := s.with(secret)
	if err != nil || c != (auth.Caller{How: auth.ByToken, Name: "billing", Scopes: auth.Read | auth.Fund}) {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err = s.with(other); err != nil || c.Name != "ops" || !c.May(auth.Read) || !c.May(auth.Authorize|auth.Signed) {
		t.Errorf("got %+v, %v", c, err)
	}
	hash := line[strings.LastIndex(line, ":")+1:]
	for _, wrong := range []string{secret[:len(secret)-1], secret + "A", strings.ToUpper(secret), hash, "sha256:" + hash} {
		if c, err := s.with(wrong); reason(t, err) != auth.UnknownToken || c.May(auth.Read|auth.Fund|auth.Admin) {
			t.Errorf("%q: %+v, %v", wrong, c, err)
		}
	}
}

func TestTheHeaderAuthorization(t *testing.T) {
	t.Parallel()
	secret, line := newToken(t, "a", "read")
	s := newStation(t, line, "", 100)
	for _, good := range []string{"Bearer " + secret, "bearer " + secret, "BEARER   " + secret + " "} {
		if _, err := s.Token([]string{good}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, tc := range []struct {
		values []string
		want   auth.Reason
	}{
		{nil, auth.NoCredentials},
		{[]string{""}, auth.BadCredentials},
		{[]string{secret}, auth.BadCredentials},
		{[]string{"Bearer"}, auth.BadCredentials},
		{[]string{"Bearer "}, auth.BadCredentials},
		{[]string{"Basic " + secret}, auth.BadCredentials},
		{[]string{"Bearer\t" + secret}, auth.BadCredentials},
		{[]string{"Bearer " + secret + " x"}, auth.BadCredentials},
		{[]string{"Bearer " + secret + "\x00"}, auth.BadCredentials},
		{[]string{"Bearer é" + secret}, auth.BadCredentials},
		{[]string{"Bearer " + strings.Repeat("a", 257)}, auth.BadCredentials},
		{[]string{"Bearer " + secret, "Bearer " + secret}, auth.BadCredentials},
		{[]string{"Bearer " + strings.Repeat("a", 256)}, auth.UnknownToken},
	} {
		_, err := s.Token(tc.values)
		if got := reason(t, err); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.values, got, tc.want)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the token is in %q", err)
		}
	}
}

// What is wrong with a file is told with its line, and not with what stands there.
func TestProblemsOfFiles(t *testing.T) {
	t.Parallel()
	secret, line := newToken(t, "a", "read")
	hash := line[strings.Index(line, "sha256:"):]
	for text, want := range map[string]string{
		"":                                     "tokens: has no token: nobody could use the API",
		"# only this":                          "tokens: has no token",
		line + "\n\na read " + secret:          "tokens:3: a is in line 1 already",
		"a read " + secret:                     "tokens:1: a: the third word is no hash: expected sha256: and 64 hexadecimal digits, never the token itself",
		"a read " + hash + "0":                 "tokens:1: a: the third word is no hash",
		"a read " + hash + hash + "00":         "tokens:1: a: the third word is no hash",
		"a read " + hash[:len(hash)-2]:         "tokens:1: a: the third word is no hash",
		"a read " + hash[len("sha256:"):]:      "tokens:1: a: the third word is no hash",
		"a rad " + hash:                        `tokens:1: a: "rad" is no scope: expected some of read, authorize, fund, admin`,
		"a read, fund " + hash:                 "tokens:1: a: the line has 4 words: expected NAME SCOPES sha256:HASH",
		"a , " + hash:                          `tokens:1: a: "" is no scope`,
		"a":                                    "tokens:1: a: the line has 1 words",
		secret + "/ read " + hash:              "tokens:1: the first word is not allowed: expected a name of 1 to 64 letters",
		line + "\nb fund " + hash:              "tokens:2: b: is the token of a",
		"a read x\nb read y":                   "tokens:2: b: the third word",
		strings.Repeat("#", 1<<20) + "\nfresh": "tokens: is larger than 1 MiB",
	} {
		file := filepath.Join(t.TempDir(), "tokens")
		write(t, file, text)
		_, err := auth.Load(auth.Options{Tokens: file, Rate: 1, Now: time.Now})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%.80q: got %v, want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret[4:]) {
			t.Errorf("the token is in %v", err)
		}
	}
	var many strings.Builder
	for i := range 1001 {
		fmt.Fprintf(&many, "t%d read sha256:%064x\n", i, i)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	write(t, file, many.String())
	if _, err := auth.Load(auth.Options{Tokens: file, Rate: 1, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "has 1001 names: expected at most 1000") {
		t.Errorf("got %v", err)
	}
	if _, err := auth.Load(auth.Options{Tokens: "/nowhere/tokens", Rate: 1, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "/nowhere/tokens: no such file") {
		t.Errorf("got %v", err)
	}
	good := filepath.Join(t.TempDir(), "tokens")
	write(t, good, line)
	for _, text := range []string{"", "a", "a short", "a b c", "a " + strings.Repeat("é", 40)} {
		secrets := filepath.Join(t.TempDir(), "secrets")
		write(t, secrets, text)
		if _, err := auth.Load(auth.Options{Tokens: good, Secrets: secrets, Rate: 1, Now: time.Now}); err == nil || !strings.Contains(err.Error(), "secrets:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Each token has a rate of its own, and one that is refused uses up nothing.
func TestTheRateOfAToken(t *testing.T) {
	t.Parallel()
	one, first := newToken(t, "one", "read")
	two, second := newToken(t, "two", "read")
	s := newStation(t, first+"\n"+second, "", 3)
	for range 3 {
		if _, err := s.with(one); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		_, err := s.with(one)
		refusal, _ := errors.AsType[*auth.RefusedError](err)
		if refusal == nil || refusal.Reason != auth.TooMany || refusal.RetryAfter != time.Second {
			t.Fatalf("got %+v", refusal)
		}
	}
	if _, err := s.with(two); err != nil {
		t.Errorf("the rate of another: %v", err)
	}
	s.add(time.Second)
	for range 3 {
		if _, err := s.with(one); err != nil {
			t.Errorf("a second later: %v", err)
		}
	}
}

func TestMemoryIsBoundedByTheFiles(t *testing.T) {
	t.Parallel()
	secret, line := newToken(t, "first", "read")
	s := newStation(t, line, "", 10)
	for i := range 100 {
		_, _ = s.with(fmt.Sprint("guess", i))
	}
	if _, err := s.with(secret); err != nil || s.Meters() != 1 {
		t.Errorf("%d names are kept, %v", s.Meters(), err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(s.Collectors()...)
	for i := range 20 {
		next, line := newToken(t, fmt.Sprint("token-", i), "read")
		write(t, s.tokens, line)
		s.look()
		if _, err := s.with(next); err != nil {
			t.Fatal(err)
		}
		if _, err := s.with(secret); reason(t, err) != auth.UnknownToken {
			t.Error("a token that is in the file no more is taken")
		}
		secret = next
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range families {
		if f.GetName() == "creditstream_auth_requests_total" {
			series = len(f.GetMetric())
		}
	}
	if series != 1 || s.Meters() != 1 {
		t.Errorf("%d series, %d names", series, s.Meters())
	}
}

func TestAChangedFileIsTakenWhenItIsAtRest(t *testing.T) {
	t.Parallel()
	old, line := newToken(t, "old", "read")
	s := newStation(t, line, "", 100)
	fresh, added := newToken(t, "fresh", "read")
	write(t, s.tokens, line+"\n"+added)
	log := slog.New(slog.DiscardHandler)
	s.Look(t.Context(), log)
	if _, err := s.with(fresh); err == nil {
		t.Error("taken while it may still be written")
	}
	s.Look(t.Context(), log)
	if _, err := s.with(fresh); err != nil {
		t.Error(err)
	}
	for _, broken := range []string{"x", "", "old read\n"} {
		write(t, s.tokens, broken)
		s.look()
		s.look()
	}
	if err := os.Remove(s.tokens); err != nil {
		t.Fatal(err)
	}
	s.look()
	s.look()
	if n := strings.Count(s.log.String(), "what they held before stays in force"); n != 4 {
		t.Errorf("%d lines in the log, want one for each of 4 changes: %s", n, s.log.String())
	}
	for _, secret := range []string{old, fresh} {
		if _, err := s.with(secret); err != nil {
			t.Errorf("a file that went wrong took a token away: %v", err)
		}
	}
	write(t, s.tokens, added)
	s.look()
	if _, err := s.with(old); reason(t, err) != auth.UnknownToken {
		t.Error("the old token is still good")
	}
}

func TestATokenOfTheProcessOutlivesChanges(t *testing.T) {
	t.Parallel()
	_, line := newToken(t, "a", "read")
	_, other := newToken(t, "b", "read")
	s := newStation(t, line, "", 100)
	own := s.Issue("(own)", auth.Admin)
	write(t, s.tokens, other)
	s.look()
	if c, err := s.with(own); err != nil || c.Name != "(own)" || !c.May(auth.Fund) {
		t.Errorf("got %+v, %v", c, err)
	}
}

// sign does what docs/security.md says.
func sign(key string, at time.Time, rechargeID, body string) string {
	seconds := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(seconds + "\n" + rechargeID + "\n" + body))
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// signer reads and verifies.
func (s *station) signer(value, id, body string) (auth.Caller, error) {
	signature, err := s.Signature([]string{value})
	if err != nil {
		return auth.Caller{}, err
	}
	return s.Signer(signature, id, []byte(body))
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	_, line := newToken(t, "a", "read")
	key, first, err := auth.NewSecret("pay-1")
	if err != nil {
		t.Fatal(err)
	}
	next, second, err := auth.NewSecret("pay-2")
	if err != nil {
		t.Fatal(err)
	}
	s := newStation(t, line, first+"\n"+second, 100)
	const id, body = "acme/7", `{"status":"declined","code":"expired_card"}`
	good := sign(key, noon, id, body)
	c, err := s.signer(good, id, body)
	if err != nil || c != (auth.Caller{How: auth.BySignature, Name: "pay-1", Scopes: auth.Signed}) {
		t.Errorf("got %+v, %v", c, err)
	}
	if c.May(auth.Read|auth.Authorize|auth.Fund|auth.Admin) || !c.May(auth.Fund|auth.Signed) {
		t.Error("a signature may do something else")
	}
	if c, err := s.signer(sign(next, noon, id, body), id, body); err != nil || c.Name != "pay-2" {
		t.Errorf("the second secret: %+v, %v", c, err)
	}
	for name, tc := range map[string]struct {
		value, id, body string
		want            auth.Reason
	}{
		"another body":     {good, id, body + " ", auth.UnknownSignature},
		"another recharge": {good, "acme/8", body, auth.UnknownSignature},
		"another account":  {good, "acm/7", body, auth.UnknownSignature},
		"another time":     {strings.Replace(good, "t=", "t=0", 1), id, body, auth.UnknownSignature},
		"another secret":   {sign(key+"x", noon, id, body), id, body, auth.UnknownSignature},
		"no secret":        {sign("", noon, id, body), id, body, auth.UnknownSignature},
		"parts moved":      {sign(key, noon, "acme", "7\n"+body), id, body, auth.UnknownSignature},
		"too old":          {sign(key, noon.Add(-301*time.Second), id, body), id, body, auth.StaleSignature},
		"from the future":  {sign(key, noon.Add(301*time.Second), id, body), id, body, auth.StaleSignature},
		"no header":        {"", id, body, auth.BadSignature},
	} {
		if _, err := s.signer(tc.value, tc.id, tc.body); reason(t, err) != tc.want {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
	for _, off := range []time.Duration{-300 * time.Second, 300 * time.Second} {
		if _, err := s.signer(sign(key, noon.Add(off), id, body), id, body); err != nil {
			t.Errorf("%s: %v", off, err)
		}
	}
	if _, err := s.Signature([]string{good, good}); reason(t, err) != auth.BadSignature {
		t.Errorf("two headers: %v", err)
	}
	write(t, s.secrets, second)
	s.look()
	if _, err := s.signer(good, id, body); reason(t, err) != auth.UnknownSignature {
		t.Error("a secret that is in the file no more is taken")
	}
	none := newStation(t, line, "", 100)
	if _, err := none.signer(sign("", noon, id, body), id, body); reason(t, err) != auth.UnknownSignature {
		t.Error("a signature is taken where there are no secrets")
	}
}

func TestSignaturesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	mac := strings.Repeat("ab", 32)
	if _, _, _, err := auth.ParseSignature("t=1778068800,v1=" + mac); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		"", "t=1", "v1=" + mac, "t=,v1=" + mac, "t=x,v1=" + mac, "t=-1,v1=" + mac, "t=+1,v1=" + mac, "t=1.5,v1=" + mac,
		"t=99999999999999999999,v1=" + mac, "t=1,v1=" + mac[1:], "t=1,v1=" + mac + "ab", "t=1,v1=" + strings.Repeat("g", 64),
		"v1=" + mac + ",t=1", "t=1,v0=" + mac, "t=1,v1=" + mac + ",v1=" + mac, "t=1;v1=" + mac, "t =1,v1=" + mac,
	} {
		if _, _, _, err := auth.ParseSignature(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestNamesOfTokens(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "a b", "a/b", "(own)", "#a", strings.Repeat("a", 65), "é", "a\n"} {
		if _, _, err := auth.NewToken(bad, auth.Read); err == nil {
			t.Errorf("%q is taken for a token", bad)
		}
		if _, _, err := auth.NewSecret(bad); err == nil {
			t.Errorf("%q is taken for a secret", bad)
		}
	}
}
