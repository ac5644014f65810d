package balance_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

func wantEvents(t *testing.T, e *balance.Entry, want ...string) {
	t.Helper()
	if got := kinds(e); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestFundedSpentAndCrossed(t *testing.T) {
	w := newWorld(t)
	wantEvents(t, w.command(put("acme", 30, 10)), "balance.low") // a new account stands at 0
	wantEvents(t, w.command(topUp("acme", "k1", 100)), "funds.added", "balance.recovered")
	wantEvents(t, w.calls(50, 19))
	e := w.calls(1, 25, 3, 3)
	wantEvents(t, e, "balance.low", "balance.low", "balance.depleted")
	if got := e.Events[0].Get("threshold"); got != "30" {
		t.Errorf("first level %s", got)
	}
	if e.Events[2].Balance != -1 || e.Events[2].Offset != 5 {
		t.Errorf("depleted %+v", e.Events[2])
	}
	if e.Events[0].Sequence >= e.Events[1].Sequence {
		t.Error("sequences do not rise")
	}
	a := w.account("acme")
	if a.Balance() != -1 || a.Spent != 101 || a.Status() != "depleted" {
		t.Errorf("%+v", a)
	}
	wantEvents(t, w.command(topUp("acme", "k2", 100)), "funds.added", "balance.recovered", "balance.restored")
	a = w.account("acme")
	if a.Balance() != 99 || len(a.Lots) != 2 || a.Lots[0].Remaining != 0 || a.Lots[1].Remaining != 99 {
		t.Errorf("%+v", a)
	}
}

func TestRepeatsAreChargedOnce(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	l, b := w.cdrBatch(0, "acme", 5, 7, 5)
	b.Debits[2].Digest = b.Debits[0].Digest // within one batch
	e := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	if o, _ := e.Of(2, "acme", 5); o != balance.Duplicate {
		t.Errorf("outcome %s", o)
	}
	l, c := w.cdrBatch(1, "acme", 5, 1) // and over partitions
	c.Debits[0].Digest = b.Debits[0].Digest
	e = w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{c})[0])
	if o, _ := e.Of(0, "acme", 5); o != balance.Duplicate {
		t.Errorf("outcome %s", o)
	}
	if a := w.account("acme"); a.Spent != 13 {
		t.Errorf("spent %d, want 13", a.Spent)
	}
}

func TestMarkRefusesOtherHistories(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	l, b := w.cdrBatch(0, "acme", 5)
	w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	if r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]; r.Status != balance.Refused || r.Mark.Next != 1 {
		t.Errorf("the same call again: %+v", r)
	}
	_, c := w.cdrBatch(0, "acme", 7)
	c.Expect.Name = "0123456789012345678901234567890123456789" // same offset, another history
	if r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{c})[0]; r.Status != balance.Refused {
		t.Errorf("another history: %+v", r)
	}
	if a := w.account("acme"); a.Spent != 5 {
		t.Errorf("spent %d, want 5", a.Spent)
	}
}

func TestCDRWaitsForCommandsAndAccounts(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	_, b := w.cdrBatch(0, "acme", 5)
	b.CommandsEnd++
	if r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]; r.Status != balance.Behind {
		t.Errorf("a command in the log is not applied: %+v", r)
	}
	// acme exists, but this CDR was appended before its first command
	b.CommandsEnd--
	b.Debits[0].AppendMillis = w.now.Add(-time.Second).UnixMilli()
	l := lane{b.Shard, b.Source}
	e := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	if o, why := e.Of(0, "acme", 5); o != balance.Parked || why != rating.UnknownAccount {
		t.Errorf("%s %s", o, why)
	}
	// an account that may yet come: wait until the commands are past the CDR
	_, c := w.cdrBatch(0, "acme", 5)
	for i := range c.Debits {
		c.Debits[i].Account = neighbour(w)
	}
	r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{c})[0]
	if r.Status != balance.Unknown || r.Until != c.Debits[0].AppendMillis+250 {
		t.Fatalf("%+v", r)
	}
	w.now = w.now.Add(251 * time.Millisecond)
	w.command(&balance.Command{Type: balance.Tick, Account: "acme"})
	c.CommandsEnd = w.log[balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(c.Shard)}]
	e = w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{c})[0])
	if o, why := e.Of(c.Debits[0].Offset, c.Debits[0].Account, 5); o != balance.Parked || why != rating.UnknownAccount {
		t.Errorf("%s %s", o, why)
	}
}

// An account that does not exist has one line in the entry, however many records it
// has: it is their outcome and nobody else's, and none of them claims its id.
func TestAllRecordsOfAnUnknownAccount(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	nobody := neighbour(w)
	_, b := w.cdrBatch(0, "acme", 5, 5, 0, 5, 5)
	for _, i := range []int{0, 2, 3} {
		b.Debits[i].Account = nobody
	}
	b.Debits[2].Account = "" // an emergency call of nobody's
	b.Debits[3].Digest = b.Debits[0].Digest
	for i := range b.Debits { // long before the commands that are applied
		b.Debits[i].AppendMillis = w.now.UnixMilli() - 200
	}
	w.now = w.now.Add(251 * time.Millisecond)
	w.command(&balance.Command{Type: balance.Tick, Account: "acme"})
	b.CommandsEnd = w.log[balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(b.Shard)}]
	l := lane{b.Shard, b.Source}
	e := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	for i, want := range []balance.Outcome{balance.Parked, balance.Charged, balance.Free, balance.Parked, balance.Charged} {
		d := &b.Debits[i]
		if o, why := e.Of(d.Offset, d.Account, d.Amount); o != want || (why == rating.UnknownAccount) != (want == balance.Parked) {
			t.Errorf("record %d: %s %s, want %s", i, o, why, want)
		}
	}
	if at, ok := e.Unknown[nobody]; !ok || at != w.now.UnixMilli() || len(e.Unknown) != 1 || len(e.Exceptions) != 0 {
		t.Errorf("%v at %d, %v", e.Unknown, w.now.UnixMilli(), e.Exceptions)
	}
	w.command(put(nobody))
	_, again := w.cdrBatch(0, nobody, 5, 5)
	again.Debits[0].Digest, again.Debits[1].Digest = b.Debits[0].Digest, b.Debits[2].Digest
	e = w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{again})[0])
	for i, want := range []balance.Outcome{balance.Charged, balance.Duplicate} { // the emergency call has claimed its id
		if o, _ := e.Of(again.Debits[i].Offset, nobody, 5); o != want {
			t.Errorf("again, record %d: %s, want %s", i, o, want)
		}
	}
}

// neighbour returns another account of acme's shard.
func neighbour(w *world) string {
	for i := range 1000 {
		id := "other" + string(rune('a'+i%26)) + string(rune('a'+i/26))
		if w.store.ShardOf(id) == w.store.ShardOf("acme") {
			return id
		}
	}
	return ""
}

func TestParkedRecordsClaimNothing(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	l, b := w.cdrBatch(0, "acme", 5, 5)
	b.Debits[0].Currency, b.Debits[1].Digest = "EUR", b.Debits[0].Digest
	if n := balance.Cut(b.Debits); n != 1 {
		t.Fatalf("cut at %d: an account has one currency a batch", n)
	}
	rest := b.Debits[1:]
	b.Debits, b.Next, b.Last.Offset = b.Debits[:1], b.Next-1, b.Last.Offset-1
	e := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	if o, why := e.Of(0, "acme", 5); o != balance.Parked || why != rating.CurrencyMismatch {
		t.Errorf("%s %s", o, why)
	}
	b.Debits, b.Expect, b.Next = rest, w.mark(l), b.Next+1
	e = w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	if o, _ := e.Of(1, "acme", 5); o != balance.Charged {
		t.Errorf("the copy after a parked one: %s", o)
	}
}

func TestEmergencyNeedsNoAccount(t *testing.T) {
	w := newWorld(t)
	l, b := w.cdrBatch(0, "nobody", 0, 0)
	for i := range b.Debits {
		b.Debits[i].Account = ""
	}
	b.Debits[1].Digest = b.Debits[0].Digest
	e := w.took(l, w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0])
	first, _ := e.Of(0, "", 0)
	second, _ := e.Of(1, "", 0)
	if first != balance.Free || second != balance.Duplicate {
		t.Errorf("%s, %s", first, second)
	}
}

func TestBoundsStopBeforeTheFirstWrite(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(put(neighbour(w)))
	if err := w.rdb.HSet(t.Context(), "cs:{"+itoa(w.store.ShardOf("acme"))+"}:acct:acme", "spent", "8999999999999999").Err(); err != nil {
		t.Fatal(err)
	}
	_, b := w.cdrBatch(0, "acme", 1, 2)
	b.Debits[0].Account = neighbour(w)
	r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]
	if !errors.Is(r.Err, balance.ErrBounds) || balance.Temporary(r.Err) {
		t.Errorf("%+v", r)
	}
	b.Debits[1].Digest = b.Debits[0].Digest // looked at one by one
	b.Debits[0].Account, b.Debits[0].Amount = "acme", 2
	if r := w.store.ApplyCDRs(t.Context(), []*balance.CDRBatch{b})[0]; !errors.Is(r.Err, balance.ErrBounds) {
		t.Errorf("%+v", r)
	}
	if a := w.account(neighbour(w)); a.Spent != 0 {
		t.Errorf("half applied: spent %d", a.Spent)
	}
}

func itoa(n int) string { return string(rune('0' + n)) }
