package balance_test

import (
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// holding reads what a new owner of a lane would find.
func (w *world) holding(l lane) balance.Holding {
	w.tb.Helper()
	h, err := w.store.TakeOver(w.tb.Context(), l.source, []int{l.shard})
	if err != nil {
		w.tb.Fatal(err)
	}
	return h[0]
}

func TestTakeOverFindsMarkAndOutbox(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme", 10))
	w.command(topUp("acme", "k", 12))
	e := w.calls(1, 2)
	l := lane{w.store.ShardOf("acme"), e.Source}
	h := w.holding(l)
	if h.Mark != w.mark(l) {
		t.Errorf("mark %+v, want %+v", h.Mark, w.mark(l))
	}
	if len(h.Outbox) != 1 || h.Outbox[0].Name != e.Name || h.Outbox[0].Events[0].ID() != e.Events[0].ID() {
		t.Errorf("outbox %+v, want %+v", h.Outbox, e)
	}
}

func TestTrimTakesOnlyWhatIsNamed(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	first := w.calls(1)
	l, b := w.cdrBatch(0, "acme", 2)
	b.Trim = []string{"ffffffffffffffffffffffffffffffffffffffff"} // of an abandoned history
	second := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	if h := w.holding(l); len(h.Outbox) != 2 {
		t.Fatalf("%d entries in the outbox, want 2: nobody has published them", len(h.Outbox))
	}
	_, b = w.cdrBatch(0, "acme", 3)
	b.Trim = []string{first.Name}
	third := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	h := w.holding(l)
	if len(h.Outbox) != 2 || h.Outbox[0].Name != second.Name || h.Outbox[1].Name != third.Name {
		t.Errorf("outbox %v", h.Outbox)
	}
}

func TestARefusedCallTrimsNothing(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	first := w.calls(1)
	l, b := w.cdrBatch(0, "acme", 2)
	b.Trim, b.Expect.Name = []string{first.Name}, "ffffffffffffffffffffffffffffffffffffffff"
	if r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]; r.Status != balance.Refused {
		t.Fatalf("%+v", r)
	}
	if h := w.holding(l); len(h.Outbox) != 1 {
		t.Errorf("%d entries in the outbox, want 1", len(h.Outbox))
	}
}

func TestConfirmMovesOnlyTheExpectedMark(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.calls(1)
	l := lane{w.store.ShardOf("acme"), balance.Source{Topic: "cdrs", Partition: 0}}
	old := w.mark(l)
	ask := func(expect balance.Mark, next int64) bool {
		c := &balance.Confirmation{
			Shard: l.shard, Source: l.source, Expect: expect, Next: next,
			Last: balance.Last{Offset: next - 1, Digest: "x", AppendMillis: 7},
		}
		if err := w.store.Confirm(t.Context(), []*balance.Confirmation{c}); err != nil {
			t.Fatal(err)
		}
		if c.OK {
			w.marks[l] = c.New()
		}
		return c.OK
	}
	if !ask(old, 5) {
		t.Fatal("the expected mark is refused")
	}
	if h := w.holding(l); h.Mark.Next != 5 || h.Mark.Name != old.Name || h.Mark.Last.Digest != "x" {
		t.Errorf("%+v", h.Mark)
	}
	if ask(old, 6) {
		t.Error("a mark that has moved on is confirmed")
	}
	// the name is the same, the offset is not: what lies between is another owner's
	w.log[l.source] = 1
	_, b := w.cdrBatch(0, "acme", 9)
	b.Expect = old
	if r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]; r.Status != balance.Refused {
		t.Errorf("a call from before the confirmation: %+v", r)
	}
	if a := w.account("acme"); a.Spent != 1 {
		t.Errorf("spent %d, want 1", a.Spent)
	}
}

func TestRestartWithOtherFactsIsRefused(t *testing.T) {
	w := newWorld(t)
	o := options(w)
	o.Shards = 8
	if _, err := balance.Open(t.Context(), w.rdb, o); err == nil || balance.Temporary(err) {
		t.Errorf("8 shards on a store of 4: %v", err)
	}
	if _, err := balance.Open(t.Context(), w.rdb, options(w)); err != nil {
		t.Error(err)
	}
}

func TestScriptsComeBackAfterAFlush(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	if err := w.rdb.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	w.calls(5)
	if a := w.account("acme"); a.Spent != 5 {
		t.Errorf("spent %d", a.Spent)
	}
}

func TestForgetWaitsForEveryPartition(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.calls(5)
	sh := w.store.ShardOf("acme")
	key := "cs:{" + itoa(sh) + "}:seen:" + i64(w.store.Slice(w.now))
	ends := balance.Ends{{Topic: "cdrs", Partition: 0}: 1, {Topic: "cdrs", Partition: 1}: 1}
	w.now = w.now.Add(35*24*time.Hour + 30*time.Minute)
	forget := func() {
		t.Helper()
		for { // at most 100 slices a call
			n, err := w.store.Forget(t.Context(), sh, w.now, ends)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				return
			}
		}
	}
	forget()
	if n := w.rdb.Exists(t.Context(), key).Val(); n != 1 {
		t.Fatal("forgotten although partition 1 may still bring a repeat")
	}
	delete(ends, balance.Source{Topic: "cdrs", Partition: 1})
	forget()
	if n := w.rdb.Exists(t.Context(), key).Val(); n != 0 {
		t.Error("not forgotten although every partition is past")
	}
}

func TestConfirmTrimsOnlyItsOwnHistory(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	e := w.calls(1)
	l := lane{w.store.ShardOf("acme"), e.Source}
	c := &balance.Confirmation{Shard: l.shard, Source: l.source, Expect: w.mark(l), Next: 1, Last: w.mark(l).Last, Trim: []string{e.Name}}
	other := *c
	other.Expect.Name = "ffffffffffffffffffffffffffffffffffffffff"
	for _, x := range []struct {
		c    *balance.Confirmation
		left int
	}{{&other, 1}, {c, 0}} {
		if err := w.store.Confirm(t.Context(), []*balance.Confirmation{x.c}); err != nil {
			t.Fatal(err)
		}
		if n := len(w.holding(l).Outbox); n != x.left {
			t.Errorf("confirmed %v: %d entries left, want %d", x.c.OK, n, x.left)
		}
	}
}
