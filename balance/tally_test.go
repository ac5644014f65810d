package balance_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/creditstream/creditstream/balance"
)

func TestTally(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	want := balance.Tally{Recharges: map[string]int{}}
	for i := range 40 {
		id := fmt.Sprintf("tenant-%d", i)
		c := put(id)
		if i%4 == 0 {
			auto(c, 10, 50) // at zero it asks at once
		}
		w.command(c)
		switch i % 4 {
		case 0:
			w.command(&balance.Command{Type: balance.Request, Account: id, N: 1, Amount: micros(50), Currency: "USD", Seen: 1})
			want.AtOrAboveZero++
			want.Recharges["pending"]++
		case 1:
			l, b := w.cdrBatch(0, id, 7)
			w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
			want.BelowZero++
			want.Recharges["idle"]++
		default:
			w.command(topUp(id, "first", 5))
			want.AtOrAboveZero++
			want.Recharges["idle"]++
		}
	}
	for _, limit := range []int{1, 3, 100} {
		var got balance.Tally
		for sh := range shards {
			after, all := "", 0
			for {
				last, n, err := w.store.Tally(t.Context(), sh, after, limit, &got)
				if err != nil || n > limit {
					t.Fatal(n, err)
				}
				if all += n; last == "" {
					break
				}
				after = last
			}
			if all == 0 {
				t.Errorf("shard %d has no account: the test has tested too little", sh)
			}
		}
		if got.AtOrAboveZero != want.AtOrAboveZero || got.BelowZero != want.BelowZero || !maps.Equal(got.Recharges, want.Recharges) {
			t.Errorf("by %d: %+v, want %+v", limit, got, want)
		}
	}
}

func TestMemoryAndIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.command(put("acme"))
	before, compact, err := w.store.SliceIDs(t.Context(), w.now)
	if err != nil || before != 0 || compact < 512 {
		t.Errorf("%d ids of at most %d, %v", before, compact, err)
	}
	w.calls(1, 2, 3)
	if n, _, err := w.store.SliceIDs(t.Context(), w.now); err != nil || n != 3 {
		t.Errorf("%d ids, want 3: %v", n, err)
	}
	used, limit, err := w.store.Memory(t.Context())
	if err != nil || used < 100_000 || limit != 0 {
		t.Errorf("%d bytes of %d, %v", used, limit, err)
	}
}
