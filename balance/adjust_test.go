package balance_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

func adjust(account, id string, amount int64) *balance.Command {
	return &balance.Command{
		Type: balance.Adjust, Account: account, ID: id, Amount: micros(amount), Currency: "USD", Reason: "wrong rate", Operator: "ann",
	}
}

// conserved checks that the lots hold what the balance says.
func conserved(t *testing.T, a *balance.Account) {
	t.Helper()
	held := rating.Micros(0)
	for _, l := range a.Lots {
		held += l.Remaining
	}
	if overdraft := max(0, -a.Balance()); held-overdraft != a.Balance() {
		t.Errorf("lots hold %d, balance %d", held, a.Balance())
	}
}

func TestAdjustmentsGiveAndTake(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme", 30))
	w.command(topUp("acme", "k", 100))
	wantEvents(t, w.calls(60))
	wantEvents(t, w.command(adjust("acme", "a1", -15)), "funds.adjusted", "balance.low")
	a := w.account("acme")
	if a.Balance() != 25 || a.Spent != 75 || a.Adjusted != 15 || a.Funded != 100 {
		t.Errorf("%+v", a)
	}
	conserved(t, a)
	wantEvents(t, w.command(adjust("acme", "a2", -30)), "funds.adjusted", "balance.depleted")
	conserved(t, w.account("acme"))
	wantEvents(t, w.command(adjust("acme", "a3", 95)), "funds.adjusted", "balance.recovered", "balance.restored")
	a = w.account("acme")
	if a.Balance() != 90 || a.Spent != 105 || a.Adjusted != 45 || a.Funded != 195 || len(a.Lots) != 2 {
		t.Errorf("%+v", a)
	}
	conserved(t, a)
	ledger, err := w.store.Ledger(t.Context(), "acme", 0, 3)
	if err != nil || len(ledger) != 3 {
		t.Fatal(ledger, err)
	}
	for i, want := range []int64{95, -30, -15} {
		if l := ledger[i]; l.Kind != "adjustment" || int64(l.Amount) != want || l.Number != int64(4-i) || l.Reference != "a"+i64(int64(3-i)) {
			t.Errorf("ledger %+v, want %d", l, want)
		}
	}
}

// Applied once, whatever a repeat of the id says.
func TestAnAdjustmentCountsOnce(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(adjust("acme", "a", 10))
	w.command(adjust("acme", "a", 10))
	w.command(adjust("acme", "a", 25))
	if a := w.account("acme"); a.Balance() != 10 {
		t.Errorf("balance %d, want 10", a.Balance())
	}
	first, err := adjust("acme", "a", 10).Digest()
	if err != nil {
		t.Fatal(err)
	}
	if r, found, err := w.store.CommandResult(t.Context(), "acme", "a"); err != nil || !found || r.Digest != first || r.Refused != "" {
		t.Errorf("%+v %t %v", r, found, err)
	}
}

// A refund of what was paid from a lot that has expired since is a lot of its own:
// given back to the old one, it would be lost.
func TestARefundAfterExpiry(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(topUp("acme", "k", 100))
	w.calls(60)
	w.now = w.now.AddDate(1, 0, 1)
	w.command(w.dueOne(balance.ExpireLot, 40))
	w.command(topUp("acme", "k2", 50))
	w.command(adjust("acme", "a", 60))
	a := w.account("acme")
	if a.Balance() != 110 || a.Forfeited != 40 || len(a.Lots) != 2 || a.Lots[1].Remaining != 60 {
		t.Errorf("%+v", a)
	}
	if want := w.now.AddDate(1, 0, 0); !a.Lots[1].ExpireAt.Equal(want.Truncate(time.Millisecond)) {
		t.Errorf("the refund expires at %s, want %s", a.Lots[1].ExpireAt, want)
	}
	conserved(t, a)
	w.now = w.now.AddDate(1, 0, 1)
	for _, c := range w.due() {
		w.command(c)
	}
	for _, c := range w.due() { // lots expire one after the other
		w.command(c)
	}
	if a := w.account("acme"); a.Balance() != 0 || len(a.Lots) != 0 || a.Forfeited != 150 {
		t.Errorf("%+v", a)
	}
}

// It is refused by what earlier commands say, never by the balance.
func TestRefusedAdjustments(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	euros := adjust("acme", "euros", 5)
	euros.Currency = "EUR"
	w.command(euros)
	w.command(adjust("nobody", "a", 5))
	most := int64(balance.MaxPurchase)
	w.command(adjust("acme", "all", -most))
	w.command(adjust("acme", "one more", -1)) // taken in all
	for i := range int64(9) {
		w.command(adjust("acme", "give"+i64(i), most))
	}
	w.command(adjust("acme", "too much", 1))
	for id, want := range map[string]string{
		"euros": "currency_mismatch", "all": "", "one more": "out_of_bounds", "give8": "", "too much": "out_of_bounds",
	} {
		if r, found, err := w.store.CommandResult(t.Context(), "acme", id); err != nil || !found || r.Refused != want {
			t.Errorf("%s: %+v %t %v, want %q", id, r, found, err, want)
		}
	}
	if _, err := w.store.Account(t.Context(), "nobody"); !errors.Is(err, balance.ErrUnknownAccount) {
		t.Errorf("an adjustment makes an account: %v", err)
	}
	if a := w.account("acme"); a.Funded != 9*rating.Micros(most) || a.Spent != rating.Micros(most) {
		t.Errorf("%+v", a)
	}
}

// What calls have spent may leave no room: then nothing of the batch is written.
func TestAnAdjustmentBeyondTheBounds(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	key := "cs:{" + i64(int64(w.store.ShardOf("acme"))) + "}:acct:acme"
	if err := w.rdb.HSet(t.Context(), key, "spent", i64(int64(rating.MaxTotal)-4)).Err(); err != nil {
		t.Fatal(err)
	}
	sh := w.store.ShardOf("acme")
	src := balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(sh)}
	l := lane{sh, src}
	b := &balance.CommandBatch{Position: w.position(l, w.log[src]+2), Orders: []balance.Order{
		{w.log[src], w.now.UnixMilli(), topUp("acme", "k", 7)},
		{w.log[src] + 1, w.now.UnixMilli(), adjust("acme", "a", -5)},
	}}
	r := w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0]
	if r.Status != balance.Unavailable || !errors.Is(r.Err, balance.ErrBounds) || balance.Temporary(r.Err) {
		t.Fatalf("%+v", r)
	}
	if a := w.account("acme"); a.Funded != 0 || len(a.Lots) != 0 {
		t.Errorf("half of a batch was written: %+v", a)
	}
	b.Orders[1].Command = adjust("acme", "a", -4)
	w.took(l, w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0])
	if a := w.account("acme"); a.Spent != rating.MaxTotal || a.Funded != 7 {
		t.Errorf("%+v", a)
	}
}

// A refund is not a payment: it shows no payment method to work. But it makes a
// wish stale that was made before it, and may end the need for one.
func TestAdjustmentsAndRecharge(t *testing.T) {
	w := newWorld(t)
	w.command(topUpAfter(w, auto(put("acme"), 20, 50)))
	wish := wantWish(t, w.calls(80), 1, 50)
	w.command(adjust("acme", "a", 30))
	if e := w.command(request(wish)); len(e.Requests) != 0 {
		t.Error("a wish from before the refund asks for money")
	}
	wish = wantWish(t, w.command(adjust("acme", "b", -31)), 1, 50)
	w.command(request(wish))
	w.command(declined(1, "expired_card"))
	wantState(t, w, "suspended", 19)
	w.command(adjust("acme", "c", 5))
	wantState(t, w, "suspended", 24)
}

func TestWhatAnAdjustmentNeeds(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(c *balance.Command){
		"":                   func(*balance.Command) {},
		"amount 0.000000":    func(c *balance.Command) { c.Amount = micros(0) },
		"amount is missing":  func(c *balance.Command) { c.Amount = nil },
		"amount -1000000000": func(c *balance.Command) { c.Amount = micros(-int64(balance.MaxPurchase) - 1) },
		"needs an id":        func(c *balance.Command) { c.ID = "" },
		"currency is":        func(c *balance.Command) { c.Currency = "" },
		"reason \"\"":        func(c *balance.Command) { c.Reason = "" },
		"reason \"a\\nb\"":   func(c *balance.Command) { c.Reason = "a\nb" },
		"reason \"xxx":       func(c *balance.Command) { c.Reason = strings.Repeat("x", balance.MaxReasonBytes+1) },
		"operator \"a b\"":   func(c *balance.Command) { c.Operator = "a b" },
		"cdr: source and id": func(c *balance.Command) { c.CDR = &balance.CDRName{ID: "1"} },
	} {
		c := adjust("acme", "a", -5)
		change(c)
		b, err := c.Encode()
		if want == "" {
			d, err2 := balance.DecodeCommand(b)
			if err != nil || err2 != nil || *d.Amount != -5 || d.Reason != c.Reason {
				t.Errorf("%v %v %+v", err, err2, d)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
