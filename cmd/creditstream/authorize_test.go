package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creditstream/creditstream/deploy/decks"
)

// authorized asks a processor about a call to Britain, or of another kind, and
// returns what it says in words.
func authorized(t *testing.T, url, kind string) string {
	t.Helper()
	body := must(t, http.MethodPost, url+"/v1/authorize", nil, fmt.Sprintf(`{"account":"acme","kind":%q,"callee":"+442079460000"}`, kind))
	var a struct {
		Allowed bool
		Seconds int `json:"max_seconds"`
		Reason  string
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(a.Allowed, " ", a.Seconds, " ", a.Reason)
}

// A processor that has not found Kafka and Redis yet lets emergency calls through,
// and says of others what it was told to.
func TestAuthorizeBeforeRedisIsThere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ away, want string }{
		{"deny", "false 0 balances_unavailable"},
		{"allow", "true 3600 balances_unavailable"}, // no longer than a call that is charged
	} {
		addr, nobody, deck := freeAddr(t), freeAddr(t), filepath.Join(t.TempDir(), "deck")
		if err := os.CopyFS(deck, decks.Sample()); err != nil {
			t.Fatal(err)
		}
		start(t, nil, "run", "--brokers", nobody, "--redis", nobody, "--deck", deck, "--http", addr, "--tokens", tokenFile,
			"--authorize-when-away", test.away, "--max-duration", "1h")
		url := "http://" + addr
		await(t, 30*time.Second, "the API", func() error {
			_, _, err := request(t, http.MethodGet, url+"/livez", nil, "")
			return err
		})
		if got := authorized(t, url, "emergency"); got != "true 86400 " {
			t.Errorf("%s: emergency: %s", test.away, got)
		}
		if got := authorized(t, url, "user_out"); got != test.want {
			t.Errorf("%s: got %s, want %s", test.away, got, test.want)
		}
	}
}

// What has been topped up and spent is what may be spent.
func TestAuthorizeFollowsTheStream(t *testing.T) {
	t.Parallel()
	server := ownRedis(t) // is killed
	p := newPlantOn(t, []string{server.Addr()}, 0)
	awaitReady(t, p.processor(p.http, "--authorize-max-seconds", "600"), "http://"+p.http)
	p.create("acme", "")
	url := "http://" + p.http
	if got := authorized(t, url, "user_out"); got != "false 0 balance_depleted" {
		t.Errorf("got %s", got)
	}
	p.topUp("acme", "first", "0.11") // a setup fee of 0.02, and 0.06 a minute by 30 s, then 6 s
	if got := authorized(t, url, "user_out"); got != "true 90 " {
		t.Errorf("got %s", got)
	}
	p.topUp("acme", "second", "100")
	if got := authorized(t, url, "user_out"); got != "true 600 " {
		t.Errorf("got %s", got)
	}
	server.Kill()
	if got := authorized(t, url, "user_out"); got != "false 0 balances_unavailable" {
		t.Errorf("got %s", got)
	}
	if got := authorized(t, url, "internal"); got != "true 86400 " {
		t.Errorf("got %s", got)
	}
}
