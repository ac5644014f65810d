package balance_test

import (
	"errors"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// What becomes of decks, one process after the other.
func TestNoteDecks(t *testing.T) {
	w := newWorld(t)
	day := 24 * time.Hour
	opt := balance.NoteOptions{Reach: 77 * day, Lead: time.Minute}
	deck := func(version string, after time.Duration) rating.DeckVersion {
		return rating.DeckVersion{ID: "tariff " + version, Version: version, ValidFrom: w.now.Add(after)}
	}
	old, now, soon := deck("old", -200*day), deck("now", -100*day), deck("soon", time.Minute+time.Microsecond)
	late, atOnce := deck("late", -time.Microsecond), deck("at-once", time.Minute)
	note := func(decks ...rating.DeckVersion) string {
		t.Helper()
		err := w.store.NoteDecks(t.Context(), decks, opt)
		if missing, ok := errors.AsType[*balance.MissingDeckError](err); ok {
			return "missing " + missing.Version
		}
		if refused, ok := errors.AsType[*balance.LateDeckError](err); ok {
			return "late " + refused.Version
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	expect := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect(note(old, now), "") // the first process: any
	expect(note(old, now), "") // a restart
	expect(note(now), "")      // the other was followed 100 days ago: no call of its time is read any more
	expect(note(old), "missing now")
	expect(note(old, now, late), "late late")
	expect(note(old, now, atOnce), "late at-once")
	expect(note(old, now, late, soon), "late late")
	expect(note(old, now), "") // nothing was noted by the refusals
	edited := soon
	edited.Version = "edited"
	expect(note(old, edited), "missing now")
	expect(note(old, now), "") // nor by that
	expect(note(old, now, soon), "")
	expect(note(old, now), "missing soon")         // another process has it
	expect(note(old, now, edited), "missing soon") // the same file, corrected in place
	expect(note(old, now, soon), "")               // put back
	w.now = w.now.Add(time.Hour)
	expect(note(old, now, soon), "") // valid by now, and known
	expect(note(soon), "missing now")
	w.now = w.now.Add(76 * day)
	expect(note(soon), "missing now") // a call of its last day may still be read
	w.now = w.now.Add(2 * day)
	expect(note(soon), "")

	// A backup that is older than a deck.
	if err := w.rdb.HDel(t.Context(), "cs:decks", "soon").Err(); err != nil {
		t.Fatal(err)
	}
	expect(note(now, soon), "late soon")
	opt.AcceptPast = true
	expect(note(soon), "missing now")
	expect(note(now, soon), "")
	opt.AcceptPast = false
	expect(note(now, soon), "")
}
