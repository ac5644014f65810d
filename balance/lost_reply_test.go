package balance_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/oracle"
	"github.com/creditstream/creditstream/rating"
)

// The replies of the calls that apply are lost in every scenario (scenario_test).
// Here are the other scripts: a caller that hears nothing asks again, and must come
// to where it would have been.

// clientBy returns a client whose connections are made by a wire. That of a cluster
// repeats a lost call by itself, as often as it follows a redirection, and says nothing
// of it: here it is not to follow any.
func clientBy(w *world, way *wire) redis.UniversalClient {
	opt := w.redis.Options()
	opt.Dialer, opt.MaxRedirects = way.dial, -1
	return balance.Client(opt)
}

// lossyWorld has a second store on the same Redis, of which each armed call loses
// its reply.
func lossyWorld(t *testing.T) (*world, *balance.Store, *wire) {
	t.Helper()
	w, way := newWorld(t), &wire{loss: replies}
	rdb := clientBy(w, way)
	t.Cleanup(func() { _ = rdb.Close() })
	store, err := balance.Open(t.Context(), rdb, options(w))
	if err != nil {
		t.Fatal(err)
	}
	return w, store, way
}

// lose has a call made whose reply is lost.
func (w *wire) lose(t *testing.T, call func() error) {
	t.Helper()
	before := w.lost
	w.armed.Store(true)
	if err := call(); !balance.Temporary(err) {
		t.Fatalf("a call whose reply is lost says %v: want an error that is worth waiting for", err)
	}
	if w.lost != before+1 {
		t.Fatal("no reply was lost")
	}
}

func TestALostReplyOfOpen(t *testing.T) {
	w, way := newWorld(t), &wire{loss: replies}
	w.redis.Flush()
	rdb := clientBy(w, way)
	t.Cleanup(func() { _ = rdb.Close() })
	way.lose(t, func() error { _, err := balance.Open(t.Context(), rdb, options(w)); return err })
	created := w.rdb.HGetAll(t.Context(), "cs:meta").Val()
	w.now = w.now.Add(time.Hour)
	if _, err := balance.Open(t.Context(), rdb, options(w)); err != nil {
		t.Fatal(err)
	}
	if again := w.rdb.HGetAll(t.Context(), "cs:meta").Val(); created["created"] == "" || again["created"] != created["created"] {
		t.Errorf("created %v, then %v", created, again)
	}
}

func TestALostReplyOfTakeOver(t *testing.T) {
	w, store, way := lossyWorld(t)
	w.command(put("acme"))
	e := w.calls(5)
	shard := []int{w.store.ShardOf("acme")}
	way.lose(t, func() error { _, err := store.TakeOver(t.Context(), e.Source, shard); return err })
	h, err := store.TakeOver(t.Context(), e.Source, shard)
	if err != nil || len(h) != 1 || h[0].Mark != w.mark(lane{shard[0], e.Source}) || len(h[0].Outbox) != 1 {
		t.Errorf("%+v %v", h, err)
	}
}

func TestALostReplyOfConfirm(t *testing.T) {
	w, store, way := lossyWorld(t)
	w.command(put("acme"))
	e := w.calls(5)
	l := lane{w.store.ShardOf("acme"), e.Source}
	c := &balance.Confirmation{
		Shard: l.shard, Source: l.source, Expect: w.mark(l), Next: 9, Last: balance.Last{Offset: 8, Digest: "x", AppendMillis: 7}, Trim: []string{e.Name},
	}
	way.lose(t, func() error { return store.Confirm(t.Context(), []*balance.Confirmation{c}) })
	if c.OK {
		t.Error("confirmed without an answer")
	}
	h := w.holding(l) // the take-over finds what the lost call has done
	if h.Mark != c.New() || len(h.Outbox) != 0 {
		t.Errorf("%+v", h)
	}
	if err := store.Confirm(t.Context(), []*balance.Confirmation{c}); err != nil || c.OK {
		t.Errorf("the same question again: %t %v", c.OK, err)
	}
	next := *c
	next.Expect, next.Trim = h.Mark, nil
	if err := store.Confirm(t.Context(), []*balance.Confirmation{&next}); err != nil || !next.OK {
		t.Errorf("from what was found: %t %v", next.OK, err)
	}
}

// A look at timers changes nothing, whether it is heard or not.
func TestALostReplyOfDue(t *testing.T) {
	w, store, way := lossyWorld(t)
	w.command(auto(put("acme"), 20, 50))
	w.command(topUp("acme", "k", 100))
	w.command(&balance.Command{
		Type: balance.Grant, Account: "acme", ID: "g", Amount: micros(7), Reason: "welcome", Operator: "ann", Expires: w.now.AddDate(1, 0, 20),
	})
	w.now = w.now.AddDate(1, 0, 1)
	want := w.due()
	look := func() ([]*balance.Command, error) {
		return store.Due(t.Context(), w.store.ShardOf("acme"), w.now, balance.Ends{})
	}
	if len(want) != 3 { // two warnings, an expiry
		t.Fatalf("due %+v", want)
	}
	way.lose(t, func() error { _, err := look(); return err })
	got, err := look()
	if err != nil || !slices.EqualFunc(got, want, func(a, b *balance.Command) bool { return oracle.DueText(a) == oracle.DueText(b) }) {
		t.Errorf("%+v %v", got, err)
	}
}

func TestALostReplyOfStillOpen(t *testing.T) {
	w, store, way := lossyWorld(t)
	e := w.command(request(wantWish(t, w.command(auto(put("acme"), 20, 50)), 1, 50)))
	ask := func() (open, ready bool, err error) {
		return store.StillOpen(t.Context(), e.Source, w.log[e.Source], &e.Requests[0])
	}
	way.lose(t, func() error { _, _, err := ask(); return err })
	if open, ready, err := ask(); !open || !ready || err != nil {
		t.Errorf("%t %t %v", open, ready, err)
	}
}

func TestALostReplyOfForget(t *testing.T) {
	w, store, way := lossyWorld(t)
	w.command(put("acme"))
	w.calls(5)
	w.now = w.now.Add(35*24*time.Hour + 30*time.Minute)
	sh := w.store.ShardOf("acme")
	ends := balance.Ends{{Topic: "cdrs", Partition: 0}: 1}
	forget := func() (int, error) { return store.Forget(t.Context(), sh, w.now, ends) }
	way.lose(t, func() error { _, err := forget(); return err })
	for n := 1; n > 0; {
		var err error
		if n, err = forget(); err != nil {
			t.Fatal(err)
		}
	}
	if left := w.rdb.Keys(t.Context(), "cs:{"+itoa(sh)+"}:seen:*").Val(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestALostReplyOfNoteDecks(t *testing.T) {
	w, store, way := lossyWorld(t)
	note := func(version string, from time.Time) error {
		return store.NoteDecks(t.Context(), []rating.DeckVersion{{ID: "d", Version: version, ValidFrom: from}}, balance.NoteOptions{Reach: 24 * time.Hour, Lead: time.Minute})
	}
	way.lose(t, func() error { return note("v1", w.now) })
	w.now = w.now.Add(time.Hour)
	if err := note("v1", w.now.Add(-time.Hour)); err != nil { // noted: else it would be late
		t.Error(err)
	}
}
