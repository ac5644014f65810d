package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// desk is somebody with a terminal who may use the API.
type desk struct {
	*testing.T

	url  string
	more []string // arguments of every command
}

// run runs a command in this process.
func (d *desk) run(code int, args ...string) (stdout, stderr string) {
	d.Helper()
	out, errs, err := execute(d.T, slices.Concat(args, []string{"--url", d.url}, d.more)...)
	if exitCode(err) != code {
		d.Fatalf("%s: exit code %d, want %d: %v\n%s%s", args, exitCode(err), code, err, out, errs)
	}
	if err != nil {
		errs += err.Error()
	}
	return out, errs
}

// says wants the lines of the output of a command that succeeds, columns apart by
// one space.
func (d *desk) says(args []string, want ...string) {
	d.Helper()
	out, _ := d.run(0, args...)
	for line := range strings.Lines(out) {
		line = strings.Join(strings.Fields(line), " ")
		if len(want) == 0 || line != want[0] {
			d.Fatalf("%s: got the line %q, want %q of\n%s", args, line, want, out)
		}
		want = want[1:]
	}
	if len(want) > 0 {
		d.Errorf("%s: does not say %q", args, want)
	}
}

// refuses wants an error that says all of want.
func (d *desk) refuses(args []string, want ...string) {
	d.Helper()
	_, errs := d.run(1, args...)
	wants(d.T, errs, want...)
}

// words makes arguments of a line; those with spaces are given apart.
func words(line string, more ...string) []string { return append(strings.Fields(line), more...) }

func TestAccountCommands(t *testing.T) {
	t.Parallel()
	s := startInProcess(t, t.TempDir(), "--simulate=false")
	d := &desk{T: t, url: s.http}
	d.refuses(words("account show acme"), "404 unknown_account: There is no account acme.")
	d.refuses(words("account set acme --low-balance 5"), "422 currency_required", "give its currency")
	_, errs := d.run(0, words("account set acme --currency USD --low-balance 5,15% --overdraft-limit 2 --lot-months 6 --blocked-prefixes 882,883")...)
	if !regexp.MustCompile(`^Idempotency-Key: [0-9a-f-]{36}\n$`).MatchString(errs) {
		t.Errorf("stderr: %q", errs)
	}
	d.run(0, words("account set acme --auto-recharge on --trigger 0.5 --recharge-amount 50 --payment-method pm_1 --caps day-count=3,month-amount=500")...)
	d.says(words("account show acme"),
		"account acme", "status active", "balance 0.000000 USD", "low balance 5.000000, 15%", "lots valid 6 months", "overdraft limit 2.000000",
		"blocked prefixes 882, 883", "high-risk destinations blocked", "auto-recharge on, pending: acme/1 has no result yet",
		"buys 50.000000 at 0.500000 or less, from pm_1", "caps 3 a day, 500.000000 a month", "lots -")
	d.refuses(words("account close acme"), "409 recharge_pending", "acme/1")
	d.refuses(words("recharge resume acme"), "409 not_suspended")
	d.refuses(words("recharge abandon acme/1"), "409 not_unresolved")
	d.refuses(words("recharge result acme/2 --amount 50 --currency USD"), "409 no_request")
	d.run(0, words("recharge result acme/1 --declined expired_card")...)
	d.run(0, words("recharge resume acme")...)
	await(t, 10*time.Second, "the second request", func() error {
		if out, _ := d.run(0, "account", "show", "acme"); !strings.Contains(out, "acme/2") {
			return errors.New(out)
		}
		return nil
	})
	d.run(0, words("recharge result acme/2 --amount 50.00 --currency USD")...)
	d.run(0, words("account set acme --auto-recharge none --low-balance none --lot-months none --block-high-risk=false --overdraft-limit none --blocked-prefixes none")...)
	for range 2 { // a lost answer, and once more
		d.run(0, words("account top-up acme --amount 100.00 --key k1")...)
	}
	d.refuses(words("account top-up acme --amount 100.01 --key k1"), "409 idempotency_key_reused")
	d.refuses(words("account top-up acme --amount 0.001"), "422 amount_not_payable")
	d.run(0, words("account grant acme --amount 5 --expires-at 2999-01-31 --operator m --key k2 --reason-text", "welcome, and thanks")...)
	d.run(0, words("account adjust acme --amount=-12.5 --currency USD --key k3 --reason-text", "paid back")...)
	out, _ := d.run(0, words("account ledger acme")...)
	for _, want := range []string{
		`4 +\S+Z +-12.500000 USD +adjustment +k3`, `3 +\S+Z +5.000000 USD +promotion +k2`, `2 +\S+Z +100.000000 USD +top_up +k1`, `1 +\S+Z +50.000000 USD +recharge +acme/2`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s is not in\n%s", want, out)
		}
	}
	if out, _ = d.run(0, words("account ledger acme --limit 1")...); strings.Count(out, "\n") != 2 {
		t.Errorf("not one entry: %s", out)
	}
	out, _ = d.run(0, words("account show acme")...)
	wants(t, out, "balance                 142.500000 USD", "lots valid              12 months", "high-risk destinations  allowed", "auto-recharge           off, idle")
	d.refuses(words("account close acme"), "409 money_left", "142.500000 USD", "or close it all the same with --force")
	out, _ = d.run(0, words("account close acme --force")...)
	wants(t, out, "status                  closed")
	d.refuses(words("account set acme --lot-months 6"), "409 account_closed", "give --reopen")
	out, _ = d.run(0, words("account set acme --lot-months 6 --reopen")...)
	wants(t, out, "status                  active", "lots valid              6 months")
	s.stop(t)
}

// Lists are read to their end, however many pages they have.
func TestAccountLists(t *testing.T) {
	t.Parallel()
	s := startInProcess(t, t.TempDir(), "--simulate=false")
	d := &desk{T: t, url: s.http}
	const accounts = 230 // two full pages and a part
	for i := range accounts {
		must(t, http.MethodPut, fmt.Sprintf("%s/v1/accounts/a%03d", s.http, i), nil, `{"currency":"JPY"}`)
	}
	out, _ := d.run(0, "account", "list", "--json")
	i := 0
	for line := range strings.Lines(out) {
		var a struct{ ID, Currency, Balance, Status string }
		if err := json.Unmarshal([]byte(line), &a); err != nil || a.ID != fmt.Sprintf("a%03d", i) || a.Currency != "JPY" || a.Balance != "0.000000" || a.Status != "active" {
			t.Fatalf("line %d: %s: %v", i, line, err)
		}
		i++
	}
	if i != accounts {
		t.Errorf("%d accounts", i)
	}
	d.says(words("account list --after a227"), "account balance status", "a228 0.000000 JPY active", "a229 0.000000 JPY active")
	for i := range 130 {
		must(t, http.MethodPost, s.http+"/v1/accounts/a000/top-ups", http.Header{"Idempotency-Key": {strconv.Itoa(i)}}, `{"amount":"1"}`)
	}
	out, _ = d.run(0, words("account ledger a000 --limit 1000 --json")...)
	if n := strings.Count(out, `"number":`); n != 130 || !strings.HasPrefix(out, `{"number":130,`) {
		t.Errorf("%d entries: %.100s", n, out)
	}
	out, _ = d.run(0, words("account show a000 --json")...)
	if !json.Valid([]byte(out)) || !strings.Contains(out, `"balance":"130.000000"`) || strings.Count(out, "\n") != 1 {
		t.Errorf("not the answer on one line: %.200s", out)
	}
	s.stop(t)
}

func TestCommandsWithTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var lines []string
	tokens := map[string]string{}
	for _, scopes := range []string{"admin", "read", "fund"} {
		out, _, err := execute(t, "token", scopes, "--scopes", scopes)
		if err != nil {
			t.Fatal(err)
		}
		secret, line, _ := strings.Cut(out, "\n")
		lines = append(lines, line)
		tokens[scopes] = file(scopes, secret+"\n")
	}
	s := startInProcess(t, filepath.Join(dir, "data"), "--simulate=false", "--tokens", file("tokens", strings.Join(lines, "")))
	d := &desk{T: t, url: s.http}
	d.refuses(words("account list"), "401 credentials_missing", "--token-file", "CREDITSTREAM_TOKEN")
	d.refuses(words("account list --token x"), "401 ")
	d.run(0, words("account set acme --currency USD --token-file", tokens["admin"])...)
	d.refuses(words("account set acme --low-balance 5 --token-file", tokens["read"]), "403 scope_missing", "admin")
	d.says(words("account top-up acme --amount 5 --token-file", tokens["fund"]), "applied")
	d.refuses(words("account top-up nobody --amount 5 --token-file", tokens["fund"]), "409 not_applied")
	out, _ := d.run(0, words("account list --token-file", tokens["read"])...)
	wants(t, out, "acme", "5.000000 USD")
	secret, err := os.ReadFile(tokens["read"])
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, []string{"CREDITSTREAM_URL=" + s.http + "/", "CREDITSTREAM_TOKEN=" + strings.TrimSpace(string(secret))}, "account", "show", "acme", "--json")
	if code := p.wait(t, 10*time.Second); code != 0 || !strings.Contains(p.out.String(), `"balance":"5.000000"`) {
		t.Errorf("exit code %d: %s", code, p.out.String())
	}
	_, errs := d.run(2, words("account list --token x --token-file", tokens["read"])...)
	wants(t, errs, "expected one of them")
	_, errs = d.run(2, words("account list --token-file", file("two", "a b\n"))...)
	wants(t, errs, "holds 2 words: expected the token alone")
	s.stop(t)
}
