package balance_test

import (
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// A processor whose clock is ahead writes timers down too early. Append time
// decides, and the timer stays due.
func TestTimersThatComeTooEarlyChangeNothing(t *testing.T) {
	w := newWorld(t)
	w.command(auto(put("acme"), 20, 50))
	w.command(topUp("acme", "top-up/1", 100))
	lot := w.account("acme").Lots[0]
	name := lot.ID + ":100:" + i64(lot.PurchasedAt.UnixMilli())
	early := func(c *balance.Command, state string) {
		t.Helper()
		c.Account, c.ID = "acme", "early/"+i64(w.now.UnixNano())
		e := w.command(c)
		r, _, err := w.store.CommandResult(t.Context(), "acme", c.ID)
		if err != nil || r.Refused != "too_early" || len(e.Events) > 0 {
			t.Errorf("%s: %+v, events %v, %v", c.Type, r, kinds(e), err)
		}
		if a := w.account("acme"); a.AutoRecharge.State != state || a.Forfeited != 0 {
			t.Errorf("%s: %+v", c.Type, a)
		}
	}
	early(&balance.Command{Type: balance.ExpireLot, Lot: name, Amount: micros(100)}, "idle")
	early(&balance.Command{Type: balance.WarnLot, Lot: name, Amount: micros(100), Days: 30}, "idle")
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.now = w.now.Add(14 * time.Minute)
	early(&balance.Command{Type: balance.Unanswered, N: 1}, "pending")
	w.command(declined(1, "try_later"))
	w.now = w.now.Add(59 * time.Minute)
	early(&balance.Command{Type: balance.Retry, N: 1}, "cooling")
	w.now = w.now.Add(2 * time.Minute)
	if due := w.due(); len(due) != 1 || due[0].Type != balance.Retry {
		t.Fatalf("due %+v, want the retry that came too early", due)
	}
}

func TestNoMoreExpiresThanALotWas(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(topUp("acme", "top-up/1", 100))
	lot := w.account("acme").Lots[0]
	w.now = w.now.AddDate(1, 0, 1)
	w.command(&balance.Command{
		Type: balance.ExpireLot, Account: "acme", Lot: lot.ID + ":100:" + i64(lot.PurchasedAt.UnixMilli()), Amount: micros(101),
	})
	if a := w.account("acme"); a.Forfeited != 0 || len(a.Lots) != 1 {
		t.Errorf("%+v", a)
	}
}

// What could be paid and not credited is not asked for; and when it is paid
// nevertheless, somebody is told.
func TestARechargeBeyondTheBounds(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	const full = int64(balance.MaxPurchase)
	for i := range int64(9) {
		c := topUp("acme", "top-up/"+i64(i), full)
		if i == 8 {
			c = topUp("acme", "top-up/8", full-60)
		}
		w.command(c)
	}
	for range 9 {
		w.command(adjust("acme", "take/"+i64(w.now.UnixNano()), -full/9))
	}
	w.calls(8*full - 60)
	wish := wantWish(t, w.command(auto(put("acme"), 20, 50)), 1, 50)
	if e := w.command(request(wish)); len(e.Requests) != 1 {
		t.Fatalf("60 are left to the bound, 50 are asked for: %v", kinds(e))
	}
	w.command(topUp("acme", "top-up/last", 11)) // 49 are left
	wantEvents(t, w.command(paid(1, 50)), "recharge.mismatched")
	wantState(t, w, "pending", w.balance("acme"))
	w.now = w.now.Add(16 * time.Minute)
	w.command(w.dueOne(balance.Unanswered, 0))
	wish = w.command(&balance.Command{Type: balance.Abandon, Account: "acme", N: 1, ID: "a"}).Wishes[0]
	e := w.command(request(wish))
	wantEvents(t, e, "account.suspended")
	if len(e.Requests) != 0 || e.Events[0].Get("reason") != "out_of_bounds" {
		t.Errorf("%+v", e)
	}
}

func (w *world) balance(id string) int64 { return int64(w.account(id).Balance()) }

// A late answer to the number before must not end the wait of a capped request.
func TestALateAnswerDoesNotLiftACap(t *testing.T) {
	w := newWorld(t)
	c := auto(put("acme"), 20, 50)
	one := int64(1)
	c.Put.AutoRecharge.Value.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{PerDay: &balance.Cap{Count: &one}}}
	w.command(topUpAfter(w, c))
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.command(declined(1, "expired_card"))
	wish := wantWish(t, w.command(payBy("pm_2", auto(put("acme"), 20, 50))), 2, 50)
	wantEvents(t, w.command(request(wish)), "recharge.suppressed")
	w.calls(100)
	if e := w.command(paid(1, 50)); len(e.Wishes) != 0 {
		t.Errorf("asks again within the window: %+v", e.Wishes)
	}
	wantState(t, w, "capped", -45)
}

// The brokers' clocks differ: a day that was begun goes on.
func TestTimeThatGoesBackOpensNoNewWindow(t *testing.T) {
	w := newWorld(t)
	c := auto(put("acme"), 20, 50)
	one := int64(1)
	c.Put.AutoRecharge.Value.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{PerDay: &balance.Cap{Count: &one}}}
	w.command(topUpAfter(w, c))
	w.now = w.now.Truncate(24 * time.Hour).Add(24 * time.Hour)
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.command(paid(1, 50))
	w.now = w.now.Add(-time.Second) // yesterday
	wantEvents(t, w.command(request(wantWish(t, w.calls(50), 2, 50))), "recharge.suppressed")
}

// The money of a payment that was given up and then declined is free again.
func TestADeclineAfterAnAbandonFreesTheCap(t *testing.T) {
	w := newWorld(t)
	c := auto(put("acme"), 20, 50)
	c.Put.AutoRecharge.Value.Caps = &balance.Nullable[balance.Caps]{Value: balance.Caps{PerMonth: &balance.Cap{Amount: micros(50)}}}
	w.command(topUpAfter(w, c))
	w.command(request(wantWish(t, w.calls(95), 1, 50)))
	w.now = w.now.Add(16 * time.Minute)
	w.command(w.dueOne(balance.Unanswered, 0))
	wish := w.command(&balance.Command{Type: balance.Abandon, Account: "acme", N: 1, ID: "a"}).Wishes[0]
	wantEvents(t, w.command(request(wish)), "recharge.suppressed")
	wish = wantWish(t, w.command(declined(1, "expired_card")), 2, 50)
	if e := w.command(request(wish)); len(e.Requests) != 1 {
		t.Errorf("the money of a declined payment still counts: %v", kinds(e))
	}
}
