package consumer_test

import (
	"strings"
	"testing"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

func TestStreamEndToEnd(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	until(t, "ready", func() bool { return r.Ready() == nil })
	w.create("acme", "globex")
	twice := w.call("acme", 7)
	w.produce(0, w.call("acme", 1000), twice, w.call("globex", 3))
	w.produce(1, w.call("acme", 20), twice, []byte("{no json"), w.call("acme", 5, `,"callee":"none"`))
	w.produce(1, w.call("nobody", 5), []byte(strings.Replace(string(w.call("nobody", 5)), "user_out", "emergency", 1)))
	until(t, "charged", func() bool { return w.spent("acme") == 1027 && w.spent("globex") == 3 })
	until(t, "all handled", func() bool { return r.figure(t, "creditstream_consumer_records_total") == 9 })
	outcomes := map[string]int{}
	for _, x := range w.rated() {
		outcomes[x.Outcome]++
	}
	// the duplicate member "callee" is a bad field; nobody is parked once the commands are past it
	if outcomes["charged"] != 4 || outcomes["duplicate"] != 1 || outcomes["free"] != 1 {
		t.Errorf("outcomes %v", outcomes)
	}
	reasons := map[string]int{}
	for _, d := range w.all(w.topics.DeadLetters) {
		reasons[header(&d, "cs-reason")]++
	}
	if len(reasons) != 3 || reasons[string(rating.NotJSON)] != 1 || reasons[string(rating.BadField)] != 1 || reasons[string(rating.UnknownAccount)] != 1 {
		t.Errorf("reasons %v", reasons)
	}
	until(t, "committed", func() bool { return r.figure(t, "creditstream_consumer_outbox_entries") == 0 })
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if a := r.figure(t, "creditstream_consumer_take_overs_total"); a != 0 {
		t.Errorf("%v take-overs without a fault", a)
	}
}

// recharging creates an account that buys 50 micros at 20.
func recharging(account string) *balance.Command {
	on, pm, trigger, amount := true, "pm_1", rating.Micros(20), rating.Micros(50)
	return &balance.Command{Type: balance.PutAccount, Account: account, ID: "create", Put: &balance.Settings{
		Currency: "USD", AutoRecharge: &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{
			Enabled: &on, PaymentMethod: &pm, Trigger: &trigger, Amount: &amount,
		}},
	}}
}

func TestRechargeGoesRoundTheLog(t *testing.T) {
	w := newWorld(t)
	w.start()
	amount := rating.Micros(50)
	w.command(recharging("acme"))
	until(t, "request", func() bool { return len(w.all(w.topics.RechargeRequests)) == 1 })
	req := w.all(w.topics.RechargeRequests)[0]
	if header(&req, "ce_id") != "acme/1" {
		t.Errorf("%s", header(&req, "ce_id"))
	}
	w.command(&balance.Command{Type: balance.Result, Account: "acme", N: 1, Status: "succeeded", Amount: &amount, Currency: "USD"})
	until(t, "credit", func() bool { a, err := w.store.Account(t.Context(), "acme"); return err == nil && a.Balance() == 50 })
	w.produce(0, w.call("acme", 30))
	until(t, "second request", func() bool { return len(w.all(w.topics.RechargeRequests)) == 2 })
}

// A member that is given no partitions has nothing to wait for: it is ready.
func TestMembersWithoutPartitionsAreReady(t *testing.T) {
	w := newWorld(t)
	var all []*running
	for range partitions + 1 { // of two topics, which the group assigns alike
		all = append(all, w.start())
	}
	idle := func() (n int) {
		for _, r := range all {
			if r.figure(t, "creditstream_consumer_partitions_held") == 0 {
				n++
			}
		}
		return n
	}
	until(t, "all are ready, one of them without partitions", func() bool {
		for _, r := range all {
			if r.Ready() != nil {
				return false
			}
		}
		return idle() == 1
	})
}
