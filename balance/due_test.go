package balance_test

import (
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

func TestTimersThatWaitHoldUpNoOthers(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	for i := range int64(1001) {
		w.command(&balance.Command{
			Type: balance.Grant, Account: "acme", ID: "grant/" + i64(i), Amount: micros(1), Reason: "welcome", Operator: "ann", Expires: w.now.Add(time.Hour),
		})
	}
	w.log[balance.Source{Topic: "cdrs", Partition: 1}]++ // a call that is on its way
	w.now = w.now.Add(8 * time.Hour)
	w.command(adjust("acme", "adjust/1", -1001))
	w.command(request(wantWish(t, w.command(auto(put("acme"), 20, 50)), 1, 50)))
	w.now = w.now.Add(15 * time.Minute)
	for _, c := range w.due() {
		if c.Type == balance.Unanswered {
			return
		}
	}
	t.Error("1,001 lots that wait for a call hold up the timer of a request")
}

// While the past is applied again, what was due in it is in the log already.
func TestNothingIsDueWhileCommandsAreBehind(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(topUp("acme", "top-up/1", 100))
	w.now = w.now.AddDate(1, 0, 1)
	src := balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(w.store.ShardOf("acme"))}
	w.log[src]++
	if due := w.due(); len(due) != 0 {
		t.Errorf("due %+v", due)
	}
	w.log[src]--
	if due := w.due(); len(due) == 0 {
		t.Error("nothing is due when all is applied")
	}
}
