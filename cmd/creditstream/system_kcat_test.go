package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// kcat is the foreign client: nobody here wrote it.
func kcat(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Fatal("no kcat on PATH: install it (Debian: apt-get install kcat)")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kcat %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// lines reads a whole topic with kcat, in the given format.
func (s *sandboxProcess) lines(t *testing.T, topic, format string) []string {
	t.Helper()
	text := strings.TrimSpace(kcat(t, "", "-C", "-e", "-q", "-b", s.kafka, "-t", topic, "-o", "beginning", "-f", format+"\n"))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// An account over HTTP, CDRs in with kcat, everything out with kcat; the balance
// is right to the micro-unit. Prices are those of the sample deck.
func TestScenarioWithKcat(t *testing.T) {
	s := startSandbox(t, t.TempDir())
	must(t, http.MethodPut, s.http+"/v1/accounts/acme", nil, `{"currency":"USD","low_balance":["19.95"]}`)
	must(t, http.MethodPost, s.http+"/v1/accounts/acme/top-ups", http.Header{"Idempotency-Key": {"first"}}, `{"amount":"20.01"}`)
	must(t, http.MethodPost, s.http+"/v1/accounts/acme/top-ups", http.Header{"Idempotency-Key": {"first"}}, `{"amount":"20.01"}`)
	now := time.Now().UTC().Format(time.RFC3339Nano)
	call := func(id, account, kind, callee, answered, millis string) string {
		if answered != "" {
			answered = `,"answered_at":"` + answered + `"`
		}
		return `{"id":"` + id + `","source":"sw","account":"` + account + `","kind":"` + kind + `","callee":"` + callee + `"` + answered + `,"duration_ms":` + millis + `}`
	}
	paid := call("1", "acme", "user_out", "+442071838750", now, "317250")
	kcat(t, strings.Join([]string{
		paid, paid, // sent twice
		call("2", "acme", "user_out", "+442071838750", "", "0"),         // never answered
		call("3", "acme", "internal", "1001", now, "60000"),             // free
		call("4", "nobody", "emergency", "112", now, "60000"),           // free, whatever the account
		call("5", "acme", "toll_free_in", "+12125550100", now, "60000"), // no rate: not a toll-free number
		call("6", "nobody", "user_out", "+442071838750", now, "1"),      // unknown account
		`{"id":"7"`,
	}, "\n")+"\n", "-P", "-b", s.kafka, "-t", "cdrs")

	var rated []string
	await(t, 20*time.Second, "five rated records", func() error {
		rated = s.lines(t, "rated-cdrs", "%k %s")
		if len(rated) != 5 {
			return fmt.Errorf("%d of 5 are there", len(rated))
		}
		return nil
	})
	outcomes := map[string]int{}
	var price string
	for _, line := range rated {
		key, body, _ := strings.Cut(line, " ")
		var r struct{ Account, Outcome, Charge, Destination, Currency string }
		if err := json.Unmarshal([]byte(body), &r); err != nil || r.Account != key {
			t.Errorf("%s: %v", line, err)
		}
		outcomes[r.Outcome]++
		if r.Outcome == "charged" {
			price = r.Charge
		}
	}
	if outcomes["charged"] != 1 || outcomes["duplicate"] != 1 || outcomes["free"] != 3 {
		t.Errorf("outcomes %v", outcomes)
	}
	if want := "0.063600"; price != want { // 318 s to London at 0.012 a minute, by the second
		t.Errorf("charge %s, want %s", price, want)
	}
	var got struct {
		Balance string
		Lots    []struct{ Amount, Remaining string }
	}
	if err := json.Unmarshal([]byte(must(t, http.MethodGet, s.http+"/v1/accounts/acme", nil, "")), &got); err != nil {
		t.Fatal(err)
	}
	want := micros("20.01")
	want.Sub(want, micros(price))
	if got.Balance != decimal(want) || len(got.Lots) != 1 || got.Lots[0].Remaining != decimal(want) {
		t.Errorf("%+v, want a balance of %s in one lot", got, decimal(want))
	}
	letters := s.lines(t, "cdrs.dlq", "%h")
	for _, reason := range []string{"not_json", "no_rate", "unknown_account"} {
		if n := len(slices.DeleteFunc(slices.Clone(letters), func(l string) bool { return !strings.Contains(l, "cs-reason="+reason) })); n != 1 {
			t.Errorf("%d dead letters for %s, want 1: %v", n, reason, letters)
		}
	}
	if !slices.Contains(s.lines(t, "cdrs.dlq", "%s"), `{"id":"7"`) {
		t.Error("a dead letter does not have the original bytes")
	}
	alerts := strings.Join(s.lines(t, "credit-alerts", "%k %h %s"), "\n")
	for _, want := range []string{"ce_type=creditstream.funds.added.v1", "ce_type=creditstream.balance.low.v1", `"threshold":"19.950000"`} {
		if !strings.Contains(alerts, want) {
			t.Errorf("no %s in %s", want, alerts)
		}
	}
	s.stop(t)
}
