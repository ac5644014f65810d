package corrections_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/corrections"
)

// A call that was charged under another name is not sent to be charged once more: it
// is said which one that is, and once its charge is taken back this one may be loaded.
func TestChargedUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.create("globex", "USD")
	was := w.call("1", "acme", 100)
	w.send(was)
	another := w.answered.Add(3 * time.Hour).Format(time.RFC3339Nano)
	for member, value := range map[string]string{
		"answered_at": strings.Replace(was, w.answered.Format(time.RFC3339Nano), another, 1),
		"account":     w.call("1", "globex", 100),
		"source":      strings.Replace(was, `"source":"s"`, `"source":"t"`, 1),
	} {
		r := w.correct(w.config(), value)[0]
		e, ok := errors.AsType[*corrections.ElsewhereError](r.Err)
		if !ok || !slices.Equal(e.Differs, []string{member}) || e.ID != "1" || e.Account != "acme" || !e.AnsweredAt.Equal(w.answered) || e.Cost != 1_000_000 || e.Currency != "USD" {
			t.Errorf("%s: %+v", member, r.Err)
			continue
		}
		if text := e.Error(); strings.Contains(text, "creditstream load") || !strings.Contains(text, "costs 1.000000 USD") || !strings.Contains(text, `"duration_ms":0`) {
			t.Error(text)
		}
	}
	if r := w.correct(w.config(), w.call("2", "acme", 100))[0]; !errors.Is(r.Err, corrections.ErrNeverRated) ||
		!strings.Contains(r.Err.Error(), `unless it is the one that is charged as id "1"`) || !strings.Contains(r.Err.Error(), "1.000000 USD") {
		t.Errorf("of another id: %+v", r)
	}
	w.send(strings.Replace(w.call("3", "globex", 30), "user_out", "internal", 1), w.call("3", "acme", 30))
	for value, free := range map[string]bool{w.call("3", "globex", 30): false, strings.Replace(w.call("3", "globex", 30), "user_out", "internal", 1): true} {
		r := w.correct(w.config(), value)[0]
		if _, ok := errors.AsType[*corrections.ElsewhereError](r.Err); ok == free || free && r.Err != nil {
			t.Errorf("of which only a free record was rated: %+v", r)
		}
	}
	if r := w.correct(w.config(), w.call("4", "globex", 30))[0]; !errors.Is(r.Err, corrections.ErrNeverRated) {
		t.Errorf("a call that has nothing in common but source and answer time: %+v", r)
	}
	all := w.correct(w.config(), w.call("1", "acme", 0), w.call("1", "globex", 100))
	if all[0].Adjusted != 1_000_000 || !errors.Is(all[1].Err, corrections.ErrNeverRated) {
		t.Errorf("%+v", all)
	}
	if r := w.correct(w.config(), w.call("1", "globex", 100))[0]; !errors.Is(r.Err, corrections.ErrNeverRated) {
		t.Errorf("after its charge was taken back: %+v", r)
	}
	w.send(w.call("1", "globex", 100))
	if acme, globex := w.balance("acme"), w.balance("globex"); acme != "-0.300000" || globex != "-1.000000" {
		t.Errorf("balances %s %s", acme, globex)
	}
}

// A call that was not answered after all has no answer time: it is the only one that
// was charged with its source, id and account.
func TestNotAnsweredAfterAll(t *testing.T) {
	w := newWorld(t)
	w.create("acme", "USD")
	w.create("globex", "USD")
	unanswered := func(id, account string) string {
		return strings.Replace(w.call(id, account, 0), `,"answered_at":"`+w.answered.Format(time.RFC3339Nano)+`"`, "", 1)
	}
	w.send(w.call("1", "acme", 100), w.call("1", "acme", 100), w.call("1", "globex", 50), w.call("2", "acme", 100))
	first := w.answered
	w.answered = first.Add(time.Minute)
	w.send(w.call("2", "acme", 40))

	taken := w.want(unanswered("1", "acme"), "1.000000", "0.000000", "1.000000")
	w.want(unanswered("1", "acme"), "0.000000", "0.000000", "0.000000")
	if !strings.HasPrefix(taken.ID, "correct/") || !strings.HasSuffix(taken.ID, "/1") {
		t.Errorf("%s", taken.ID)
	}
	r := w.correct(w.config(), unanswered("2", "acme"))[0]
	if e, ok := errors.AsType[*corrections.SeveralError](r.Err); !ok || len(e.Calls) != 2 || !e.Calls[0].Equal(first) || !e.Calls[1].Equal(w.answered) {
		t.Errorf("%+v", r)
	}
	if r := w.correct(w.config(), unanswered("2", "globex"))[0]; r.Err == nil || !strings.Contains(r.Err.Error(), "differs in account and answered_at") {
		t.Errorf("of another account: %+v", r)
	}
	if r := w.correct(w.config(), unanswered("3", "acme"))[0]; !errors.Is(r.Err, corrections.ErrNeverRated) {
		t.Errorf("%+v", r)
	}
	if acme, globex := w.balance("acme"), w.balance("globex"); acme != "-1.400000" || globex != "-0.500000" {
		t.Errorf("balances %s %s", acme, globex)
	}
	w.answered = first
	w.want(w.call("1", "acme", 100), "0.000000", "1.000000", "-1.000000") // it was, after all
	w.kafka.DeleteRecords(w.topics.Rated, 0, -1)
	w.kafka.DeleteRecords(w.topics.Rated, 1, -1)
	r = w.correct(w.config(), unanswered("1", "acme"))[0]
	if _, ok := errors.AsType[*corrections.ExpiredError](r.Err); !ok || !strings.Contains(r.Err.Error(), "it has no answer time") {
		t.Errorf("%+v", r)
	}
}
