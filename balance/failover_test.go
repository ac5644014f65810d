package balance_test

import (
	"fmt"
	"testing"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// A master that is dead tells nobody that its replica has taken over, so the client
// must ask of its own accord: soon, as nothing is debited until then.
func TestCallsReachTheReplicaThatTookOver(t *testing.T) {
	t.Parallel()
	c := testserver.NewCluster(t, 1, 1)
	w := newWorldOn(t, c.Redis)
	w.command(put("acme"))
	w.calls(5)
	master, replica := c.Nodes[0], c.Nodes[1]
	if err := master.Wait(t.Context(), 1, 0).Err(); err != nil { // it has all
		t.Fatal(err)
	}
	master.Kill()
	if err := replica.Do(t.Context(), "cluster", "failover", "takeover").Err(); err != nil {
		t.Fatal(err)
	}
	l, b := w.cdrBatch(0, "acme", 7)
	testserver.Until(t, "a debit by the replica", func() error {
		r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]
		if r.Status == balance.Unavailable {
			return fmt.Errorf("unavailable: %w", r.Err)
		}
		w.took(l, r)
		return nil
	})
	if a := w.account("acme"); a.Spent != 12 {
		t.Errorf("spent %d, want 12", a.Spent)
	}
}
