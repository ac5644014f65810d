package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/httpapi"
)

func TestAccountsAreListedAcrossShards(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	if got := r.do("GET /v1/accounts", "").is(200); strings.TrimSpace(got.text) != `{"accounts":[]}` {
		t.Errorf("of no accounts: %s", got.text)
	}
	var want []string
	used := map[int]bool{}
	for i := range 23 {
		id := fmt.Sprintf("%c%d", "Zab-_"[i%5], i)
		r.do("PUT /v1/accounts/"+id, `{"currency":"USD"}`).is(200)
		want = append(want, id)
		used[r.store.ShardOf(id)] = true
	}
	slices.Sort(want)
	if len(used) < 4 {
		t.Fatalf("they are in %d shards", len(used))
	}
	r.do("POST /v1/accounts/"+want[0]+"/top-ups", `{"amount":"5"}`, key).is(200)
	r.call(want[1], "0.25")
	r.do("POST /v1/accounts/"+want[2]+"/close", "").is(200)
	for _, limit := range []int{1, 5, 22, 23, 100} {
		ids, details := r.list(limit)
		if !slices.Equal(ids, want) {
			t.Errorf("limit %d: got  %q\nwant %q", limit, ids, want)
		}
		if first := []string{"USD 5.000000 active", "USD -0.250000 depleted", "USD 0.000000 closed"}; !slices.Equal(details[:3], first) {
			t.Errorf("got  %q\nwant %q", details[:3], first)
		}
	}
	for _, bad := range []string{"limit=0", "limit=101", "limit=x", "after=a%20b"} {
		r.do("GET /v1/accounts?"+bad, "").is(422)
	}
}

// list reads all pages; all but the last must be full.
func (r *reality) list(limit int) (ids, details []string) {
	r.Helper()
	query := fmt.Sprintf("?limit=%d", limit)
	for {
		var page struct {
			Accounts []struct{ ID, Currency, Balance, Status string }
			Next     string
		}
		if err := json.Unmarshal([]byte(r.do("GET /v1/accounts"+query, "").is(200).text), &page); err != nil {
			r.Fatal(err)
		}
		for _, a := range page.Accounts {
			ids = append(ids, a.ID)
			details = append(details, a.Currency+" "+a.Balance+" "+a.Status)
		}
		if page.Next == "" {
			return ids, details
		}
		if len(page.Accounts) != limit || page.Next != ids[len(ids)-1] {
			r.Fatalf("limit %d: a page of %d, next %s", limit, len(page.Accounts), page.Next)
		}
		query = fmt.Sprintf("?limit=%d&after=%s", limit, page.Next)
	}
}

func TestAListWithHolesIsNotAnswered(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	r.do(acme, `{"currency":"USD"}`).is(200)
	r.change(func() { r.notReady = errAway })
	r.do("GET /v1/accounts", "").is(503, "may be missing").because("not_ready")
	r.do("GET /v1/accounts/acme/ledger", "").is(200)
	r.do("GET /v1/accounts/nobody/ledger", "").is(503).because("not_ready")
}

func TestTheLedgerIsReadNewestFirst(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	r.do("GET /v1/accounts/acme/ledger", "").is(404).because("unknown_account")
	r.do(acme, `{"currency":"USD"}`).is(200)
	if got := r.do("GET /v1/accounts/acme/ledger", "").is(200); strings.TrimSpace(got.text) != `{"currency":"USD","entries":[]}` {
		t.Errorf("of no entries: %s", got.text)
	}
	r.do(topUp, `{"amount":"10"}`, keyed("buy")).is(200)
	r.pass(time.Second)
	r.do(adjustments, `{"amount":"-2.5","currency":"USD","reason":"r","operator":"o"}`, keyed("ticket-1")).is(200, `"balance":"7.500000"`)
	r.pass(time.Second)
	r.do(grants, `{"amount":"3","expires_at":"2026-12-01T00:00:00Z","reason":"r","operator":"o"}`, keyed("gift")).is(200, `"balance":"10.500000"`)
	const want = `{"currency":"USD","entries":[` +
		`{"number":3,"kind":"promotion","amount":"3.000000","at":"2026-11-22T07:00:02Z","reference":"gift"},` +
		`{"number":2,"kind":"adjustment","amount":"-2.500000","at":"2026-11-22T07:00:01Z","reference":"ticket-1"},` +
		`{"number":1,"kind":"top_up","amount":"10.000000","at":"2026-11-22T07:00:00Z","reference":"buy"}]}`
	if got := r.do("GET /v1/accounts/acme/ledger", "").is(200); strings.TrimSpace(got.text) != want {
		t.Errorf("got  %s\nwant %s", got.text, want)
	}
	r.do("GET /v1/accounts/acme/ledger?limit=2", "").is(200, `"number":3`, `"number":2`, `"next":2}`)
	r.do("GET /v1/accounts/acme/ledger?limit=1&before=3", "").is(200, `"entries":[{"number":2,`, `"next":2}`)
	if got := r.do("GET /v1/accounts/acme/ledger?limit=2&before=2", "").is(200, `[{"number":1,`); strings.Contains(got.text, "next") {
		t.Errorf("the last page has a next: %s", got.text)
	}
	for _, bad := range []string{"limit=0", "limit=101", "before=0", "before=x"} {
		r.do("GET /v1/accounts/acme/ledger?"+bad, "").is(422)
	}
}

// A trimmedLedger has the entries 5, 4 and 3: older ones are not kept.
type trimmedLedger struct{ *world }

func (trimmedLedger) Ledger(_ context.Context, _ string, before int64, limit int) (entries []balance.LedgerEntry, err error) {
	for n := int64(5); n >= 3 && len(entries) < limit; n-- {
		if before == 0 || n < before {
			entries = append(entries, balance.LedgerEntry{Number: n, Kind: "top_up"})
		}
	}
	return entries, nil
}

func TestTheLastPageOfATrimmedLedgerHasNoNext(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c := start(t, w, func(o *httpapi.Options) { o.Lists = trimmedLedger{w} })
	c.do(acme, `{"currency":"USD"}`).is(200)
	for query, next := range map[string]any{"": nil, "limit=3": nil, "limit=2": 4.0, "limit=1&before=5": 4.0, "limit=1&before=4": nil, "limit=2&before=4": nil} {
		if a := c.do("GET /v1/accounts/acme/ledger?"+query, "").is(200); a.body["next"] != next {
			t.Errorf("%s: next %v, want %v", query, a.body["next"], next)
		}
	}
}
