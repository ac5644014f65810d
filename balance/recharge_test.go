package balance_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

func i64(n int64) string { return strconv.FormatInt(n, 10) }

func request(w balance.Wish) *balance.Command {
	return &balance.Command{Type: balance.Request, Account: w.Account, N: w.N, Amount: &w.Amount, Currency: w.Currency, Seen: w.Seen}
}

func paid(n, amount int64) *balance.Command {
	return &balance.Command{Type: balance.Result, Account: "acme", N: n, Status: "succeeded", Amount: micros(amount), Currency: "USD"}
}

func declined(n int64, code string) *balance.Command {
	return &balance.Command{Type: balance.Result, Account: "acme", N: n, Status: "declined", Code: code, Class: balance.ClassOf(code)}
}

func wantWish(t *testing.T, e *balance.Entry, n, amount int64) balance.Wish {
	t.Helper()
	if len(e.Wishes) != 1 || e.Wishes[0].N != n || int64(e.Wishes[0].Amount) != amount {
		t.Fatalf("wishes %+v, want number %d of %d", e.Wishes, n, amount)
	}
	return e.Wishes[0]
}

func wantState(t *testing.T, w *world, state string, bal int64) {
	t.Helper()
	a := w.account("acme")
	if a.AutoRecharge.State != state || int64(a.Balance()) != bal {
		t.Fatalf("state %s, balance %d; want %s, %d", a.AutoRecharge.State, a.Balance(), state, bal)
	}
}

func TestRechargeFromWishToCredit(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wantState(t, w, "idle", 100)
	if e := w.calls(79); len(e.Wishes) != 0 {
		t.Fatalf("a wish at 21: %+v", e.Wishes)
	}
	wish := wantWish(t, w.calls(1), 1, 50) // at the trigger, not below it
	e := w.command(request(wish))
	if len(e.Requests) != 1 || e.Requests[0].ID() != "acme/1" || e.Requests[0].Amount != 50 || e.Requests[0].PaymentMethod != "pm_1" {
		t.Fatalf("requests %+v", e.Requests)
	}
	if e := w.command(request(wish)); len(e.Requests) != 0 {
		t.Fatal("the wish a second time asks for money a second time")
	}
	if e := w.calls(5); len(e.Wishes) != 0 {
		t.Fatal("a wish while one is pending")
	}
	wantState(t, w, "pending", 15)
	wantEvents(t, w.command(paid(1, 50)), "recharge.succeeded")
	wantState(t, w, "idle", 65)
	wantEvents(t, w.command(paid(1, 50)))
	wantState(t, w, "idle", 65)
}

// topUpAfter applies put and returns a top-up of 100.
func topUpAfter(w *world, put *balance.Command) *balance.Command {
	e := w.command(put)
	if len(e.Wishes) != 1 {
		w.tb.Fatalf("enabling at 0 makes a wish at once: %+v", e.Wishes)
	}
	return topUp("acme", "first", 100)
}

func TestOneRequestClosesALargeGap(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wantWish(t, w.calls(300), 1, 250) // -200 + 250 = 50 > 20
}

func TestAStaleWishIsRefusedAndMadeAgain(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wish := wantWish(t, w.calls(95), 1, 50)
	w.command(topUp("acme", "meanwhile", 100)) // money came in: the wish is void
	if e := w.command(request(wish)); len(e.Requests) != 0 || len(e.Wishes) != 0 {
		t.Fatalf("%+v %+v", e.Requests, e.Wishes)
	}
	wish = wantWish(t, w.calls(100), 1, 50)
	e := w.command(auto(put("acme"), 25, 60)) // so are settings
	fresh := wantWish(t, e, 1, 60)
	if e := w.command(request(wish)); len(e.Requests) != 0 {
		t.Fatal("the wish of older settings is accepted")
	} else {
		wantWish(t, e, 1, 60)
	}
	if e := w.command(request(fresh)); len(e.Requests) != 1 || e.Requests[0].Amount != 60 {
		t.Fatalf("%+v", e.Requests)
	}
}

func TestDeclines(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wish := wantWish(t, w.calls(95), 1, 50)
	for n := int64(1); n <= 2; n++ { // two soft ones cool down, first an hour, then six
		w.command(request(wish))
		wantEvents(t, w.command(declined(n, "insufficient_funds")), "recharge.failed") // and not suspended
		wantState(t, w, "cooling", 5)
		wait := map[int64]time.Duration{1: time.Hour, 2: 6 * time.Hour}[n]
		w.now = w.now.Add(wait - time.Second)
		if due := w.due(); len(due) != 0 {
			t.Fatalf("due early: %+v", due)
		}
		w.now = w.now.Add(2 * time.Second)
		due := w.due()
		if len(due) != 1 || due[0].Type != balance.Retry || due[0].N != n {
			t.Fatalf("due %+v", due)
		}
		wish = wantWish(t, w.command(due[0]), n+1, 50)
		if again := w.due(); len(again) != 0 {
			t.Fatalf("an applied timer is due again: %+v", again)
		}
	}
	w.command(request(wish))
	e := w.command(declined(3, "insufficient_funds"))
	wantEvents(t, e, "recharge.failed", "account.suspended")
	if e.Events[0].Get("next") != "suspended" {
		t.Errorf("%+v", e.Events[0])
	}
	wantState(t, w, "suspended", 5)
	wish = wantWish(t, w.command(&balance.Command{Type: balance.Resume, Account: "acme", ID: "r"}), 4, 50)
	w.command(request(wish))
	w.command(declined(4, "expired_card"))
	wantState(t, w, "suspended", 5)
	w.command(auto(put("acme"), 20, 50)) // the settings as they were change nothing
	wantState(t, w, "suspended", 5)
	wish = wantWish(t, w.command(payBy("pm_2", auto(put("acme"), 20, 50))), 5, 50) // a new payment method asks at once
	w.command(request(wish))
	wantEvents(t, w.command(paid(3, 50)), "recharge.succeeded") // the answer to an older number counts too
	wantState(t, w, "pending", 55)
}

// dueOne returns the one command of a type that is due, and wants its amount; it
// applies the warnings that are due beside it.
func (w *world) dueOne(kind balance.CommandType, amount int64) *balance.Command {
	w.tb.Helper()
	var found []*balance.Command
	for _, c := range w.due() {
		if c.Type == kind {
			found = append(found, c)
		} else {
			w.command(c)
		}
	}
	if len(found) != 1 || found[0].Amount != nil && int64(*found[0].Amount) != amount {
		w.tb.Fatalf("due %+v, want one %s of %d", found, kind, amount)
	}
	return found[0]
}

func payBy(method string, c *balance.Command) *balance.Command {
	c.Put.AutoRecharge.Value.PaymentMethod = &method
	return c
}

// due returns what is due on acme's shard.
func (w *world) due() []*balance.Command {
	w.tb.Helper()
	return w.dueOn(w.store.ShardOf("acme"))
}

// dueOn returns what is due on a shard, with the ends of the logs as they are.
func (w *world) dueOn(shard int) []*balance.Command {
	w.tb.Helper()
	ends := balance.Ends{{Topic: "cdrs", Partition: 0}: 0, {Topic: "cdrs", Partition: 1}: 0}
	for s, end := range w.log {
		if s.Topic == "cdrs" || s.Partition == w.store.CommandPartition(shard) {
			ends[s] = end
		}
	}
	due, err := w.store.Due(w.tb.Context(), shard, w.now, ends)
	if err != nil {
		w.tb.Fatal(err)
	}
	return due
}

func TestNoAnswerAndMismatches(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wantEvents(t, w.command(paid(1, 50)), "recharge.mismatched") // nobody asked
	wantState(t, w, "idle", 100)
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.now = w.now.Add(16 * time.Minute)
	due := w.due()
	if len(due) != 1 || due[0].Type != balance.Unanswered {
		t.Fatalf("due %+v", due)
	}
	wantEvents(t, w.command(due[0]), "recharge.unresolved")
	wantState(t, w, "unresolved", 5)
	other := paid(1, 50)
	other.Currency = "EUR"
	wantEvents(t, w.command(other), "recharge.mismatched")
	wantState(t, w, "unresolved", 5)
	wantEvents(t, w.command(paid(1, 49)), "recharge.mismatched", "recharge.succeeded") // credited as paid
	wantState(t, w, "idle", 54)
}

func TestAbandonedRequestMayStillBePaid(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	abandon := &balance.Command{Type: balance.Abandon, Account: "acme", N: 1, ID: "a"}
	w.command(abandon)
	wantState(t, w, "pending", 5) // only what is unresolved can be abandoned
	w.now = w.now.Add(16 * time.Minute)
	w.command(w.due()[0])
	abandon.ID = "b"
	wish := wantWish(t, w.command(abandon), 2, 50)
	w.command(request(wish))
	wantState(t, w, "pending", 5)
	wantEvents(t, w.command(paid(1, 50)), "recharge.succeeded")
	wantEvents(t, w.command(paid(2, 50)), "recharge.succeeded")
	wantState(t, w, "idle", 105)
}

func TestStillOpen(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	e := w.command(request(wantWish(t, w.calls(95), 1, 50)))
	src := e.Source
	ask := func(end int64) (open, ready bool) {
		open, ready, err := w.store.StillOpen(t.Context(), src, end, &e.Requests[0])
		if err != nil {
			t.Fatal(err)
		}
		return open, ready
	}
	if _, ready := ask(w.log[src] + 1); ready {
		t.Error("ready before the commands are applied")
	}
	if open, ready := ask(w.log[src]); !open || !ready {
		t.Error("a pending request is not open")
	}
	w.command(paid(1, 50))
	if open, ready := ask(w.log[src]); open || !ready {
		t.Error("an answered request is open")
	}
}

func TestIdempotentCommands(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(topUp("acme", "k", 10))
	wantEvents(t, w.command(topUp("acme", "k", 10)))
	wantEvents(t, w.command(topUp("acme", "k", 11))) // the same key with another body changes nothing
	if a := w.account("acme"); a.Funded != 10 || len(a.Lots) != 1 {
		t.Errorf("%+v", a)
	}
	r, found, err := w.store.CommandResult(t.Context(), "acme", "k")
	want, _ := topUp("acme", "k", 10).Digest()
	other, _ := topUp("acme", "k", 11).Digest()
	if err != nil || !found || r.Digest != want || r.Digest == other || r.Refused != "" {
		t.Errorf("%+v %v %v", r, found, err)
	}
}

func TestRefusals(t *testing.T) {
	w := newWorld(t)
	check := func(c *balance.Command, want string) {
		t.Helper()
		w.command(c)
		r, found, err := w.store.CommandResult(t.Context(), c.Account, c.ID)
		if err != nil || found != (want != "no account") || found && r.Refused != want {
			t.Errorf("%+v %v %v, want %s", r, found, err, want)
		}
	}
	check(topUp("acme", "1", 10), "no account")
	check(&balance.Command{Type: balance.PutAccount, Account: "acme", ID: "2", Put: &balance.Settings{}}, "no account")
	w.command(put("acme"))
	check(&balance.Command{Type: balance.PutAccount, Account: "acme", ID: "3", Put: &balance.Settings{Currency: "EUR"}}, "currency_is_fixed")
	on := true
	check(&balance.Command{Type: balance.PutAccount, Account: "acme", ID: "4", Put: &balance.Settings{
		AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{Enabled: &on}},
	}}, "auto_recharge_incomplete")
	if a := w.account("acme"); a.Currency != "USD" || a.AutoRecharge != nil {
		t.Errorf("%+v", a)
	}
}

func TestLotsExpireInOrderAndTakeTheRest(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.now = time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC)
	w.command(topUp("acme", "leap", 100))
	w.now = w.now.Add(24 * time.Hour)
	w.command(topUp("acme", "next", 50))
	w.calls(30)
	a := w.account("acme")
	if got := a.Lots[0].ExpireAt.Format(time.DateOnly); got != "2029-02-28" {
		t.Errorf("bought on 29 February, expires %s", got)
	}
	w.now = time.Date(2029, 2, 28, 19, 0, 0, 0, time.UTC) // past expiry and its grace
	// nothing may expire while a call of that time may still be on its way
	end := w.log[balance.Source{Topic: "cdrs", Partition: 1}]
	w.log[balance.Source{Topic: "cdrs", Partition: 1}]++
	for _, c := range w.due() {
		if c.Type != balance.WarnLot {
			t.Fatalf("expires before every record is applied: %+v", c)
		}
		w.command(c)
	}
	w.log[balance.Source{Topic: "cdrs", Partition: 1}] = end
	expire := w.dueOne(balance.ExpireLot, 70)
	w.calls(7) // a late call between decision and command: the next lot pays
	wantEvents(t, w.command(expire), "credit.expired")
	wantEvents(t, w.command(expire))
	a = w.account("acme")
	if a.Balance() != 43 || a.Forfeited != 70 || len(a.Lots) != 1 || a.Lots[0].Remaining != 43 {
		t.Errorf("%+v", a)
	}
}

func TestAnOldWishIsNotTakenForTheNextOne(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wish := wantWish(t, w.calls(95), 1, 50)
	w.command(request(wish))
	w.command(declined(1, "try_later"))
	w.now = w.now.Add(2 * time.Hour)
	w.command(w.due()[0]) // idle again, and nothing was paid in
	if e := w.command(request(wish)); len(e.Requests) != 0 {
		t.Fatalf("number 1 is asked for again: %+v", e.Requests)
	}
}

func TestCommandsAreAppliedOnce(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	sh := w.store.ShardOf("acme")
	l := lane{sh, balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(sh)}}
	b := &balance.CommandBatch{Position: w.position(l, 2), Orders: []balance.Order{{Offset: 1, AppendMillis: w.now.UnixMilli(), Command: topUp("acme", "k", 10)}}}
	w.took(l, w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0])
	if r := w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0]; r.Status != balance.Refused {
		t.Errorf("the same call again: %+v", r)
	}
	b.Next, b.Expect = 3, w.mark(l)
	b.Expect.Name = "0123456789012345678901234567890123456789"
	if r := w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0]; r.Status != balance.Refused {
		t.Errorf("another history: %+v", r)
	}
}

func TestLateAnswersAreComparedWithWhatWasAskedThen(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.command(declined(1, "expired_card"))
	wish := wantWish(t, w.command(payBy("pm_2", auto(put("acme"), 20, 60))), 2, 60)
	w.command(request(wish))
	wantEvents(t, w.command(paid(1, 49)), "recharge.mismatched", "recharge.succeeded") // an answer of the number before
	wantEvents(t, w.command(paid(2, 60)), "recharge.succeeded")
	wantEvents(t, w.command(paid(2, 60)))
	wantEvents(t, w.command(paid(2, 61)), "recharge.mismatched") // paid twice?
	wantState(t, w, "idle", 114)

	w = newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.command(declined(1, "expired_card"))
	wantEvents(t, w.command(paid(1, 50)), "account.resumed", "recharge.succeeded") // it was paid after all, as asked
}

// A broker whose clock is behind that of the timer must not have a request
// suppressed, and told of, again and again.
func TestACapIsNotAskedBeforeItsWindowEnds(t *testing.T) {
	w := newWorld(t)
	put := auto(put("acme"), 20, 50)
	one := int64(1)
	put.Put.AutoRecharge.Value.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{PerDay: &balance.Cap{Count: &one}}}
	w.command(topUpAfter(w, put))
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.command(paid(1, 50))
	wantEvents(t, w.command(request(wantWish(t, w.calls(50), 2, 50))), "recharge.suppressed")
	midnight := w.now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	w.now = midnight
	retry := w.due()[0]
	w.now = midnight.Add(-time.Second)
	if e := w.command(retry); len(e.Wishes) != 0 {
		t.Fatalf("asks before the window ends: %+v", e.Wishes)
	}
	w.now = midnight
	if due := w.due(); len(due) != 1 {
		t.Fatalf("due %+v, want the retry that came too early", due)
	}
	wantWish(t, w.command(retry), 2, 50)
}
