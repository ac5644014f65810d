package balance_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// What becomes of mappings, one process after the other.
func TestNoteMappings(t *testing.T) {
	w := newWorld(t)
	day := 24 * time.Hour
	opt := balance.NoteOptions{Reach: 77 * day, Lead: time.Minute}
	type version = balance.MappingVersion
	settings := version{ID: "canonical,Europe/Paris"}
	pbx := func(id string, after time.Duration) version {
		return version{Source: "pbx 1", ID: id, ActiveFrom: w.now.Add(after).UTC()}
	}
	first, next := version{Source: "pbx 1", ID: "first"}, pbx("next", time.Minute+time.Microsecond)
	sbc := version{Source: "sbc", ID: "first", ActiveFrom: w.now.Add(time.Hour).UTC()}
	note := func(versions ...version) string {
		t.Helper()
		err := w.store.NoteMappings(t.Context(), versions, opt)
		if missing, ok := errors.AsType[*balance.MissingMappingError](err); ok {
			return "missing " + missing.String()
		}
		if refused, ok := errors.AsType[*balance.LateMappingError](err); ok {
			return "late " + refused.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	expect := func(got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	expect(note(settings, first), "") // the first process: any
	expect(note(settings, first), "") // a restart
	expect(note(settings), "missing source pbx 1, version first, active ever since")
	expect(note(version{ID: "canonical"}, first), "missing format and zone canonical,Europe/Paris")
	expect(note(settings, version{Source: "pbx 1", ID: "edited"}), "missing source pbx 1, version first")
	expect(note(settings, first, version{Source: "sbc", ID: "first"}), "late source sbc, version first, active ever since")
	expect(note(settings, first, pbx("late", -time.Second)), "late source pbx 1, version late, active from 2027-")
	expect(note(settings, first, pbx("at-once", time.Minute)), "late source pbx 1, version at-once")
	expect(note(settings, first), "") // nothing was noted by the refusals
	expect(note(settings, first, next, sbc), "")
	expect(note(settings, first, next), "missing source sbc, version first, active from 2027-") // another process has it
	expect(note(settings, first, pbx("edited", 2*time.Minute), sbc), "missing source pbx 1, version next")

	// A version is needed as long as the log, and the last one of each source for ever.
	w.now = w.now.Add(77 * day)
	expect(note(settings, next, sbc), "missing source pbx 1, version first")
	w.now = w.now.Add(2 * time.Minute)
	expect(note(settings, next, sbc), "")
	expect(note(settings, sbc), "missing source pbx 1, version next")
	w.now = w.now.Add(1000 * day)
	expect(note(settings, next), "missing source sbc, version first")
	expect(note(next, sbc), "missing format and zone canonical,Europe/Paris")

	// A backup that is older than a source.
	if err := w.rdb.HDel(t.Context(), "cs:mappings", "first sbc").Err(); err != nil {
		t.Fatal(err)
	}
	expect(note(settings, next, sbc), "late source sbc, version first")
	opt.AcceptPast = true
	expect(note(settings, sbc), "missing source pbx 1, version next")
	expect(note(settings, next, sbc), "")
	opt.AcceptPast = false
	expect(note(settings, next, sbc), "")
}

// A store that no mapping was ever loaded for is one all the same.
func TestTheFirstMappingOfAStoreBegins(t *testing.T) {
	w := newWorld(t)
	opt := balance.NoteOptions{Reach: time.Hour, Lead: time.Minute}
	settings := balance.MappingVersion{ID: "canonical"}
	note := func(versions ...balance.MappingVersion) error {
		return w.store.NoteMappings(t.Context(), versions, opt)
	}
	if err := note(settings); err != nil {
		t.Fatal(err)
	}
	err := note(settings, balance.MappingVersion{Source: "pbx", ID: "x"})
	if _, ok := errors.AsType[*balance.LateMappingError](err); !ok || balance.Temporary(err) {
		t.Errorf("got %v", err)
	}
	if err := note(settings, balance.MappingVersion{Source: "pbx", ID: "x", ActiveFrom: w.now.Add(time.Hour)}); err != nil {
		t.Error(err)
	}
}

// A tool that reads records as the processors do can see that it does.
func TestCheckMappings(t *testing.T) {
	w := newWorld(t)
	settings, pbx := balance.MappingVersion{ID: "canonical"}, balance.MappingVersion{Source: "pbx", ID: "x"}
	next := balance.MappingVersion{Source: "pbx", ID: "next", ActiveFrom: w.now.Add(time.Hour)}
	check := func(want string, versions ...balance.MappingVersion) {
		t.Helper()
		err := w.store.CheckMappings(t.Context(), versions, 24*time.Hour)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || balance.Temporary(err)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	check("canonical, active ever since, is not known to this store", settings) // which has noted nothing, and does not now
	check("is not known to this store", settings)
	for range 2 {
		if err := w.store.NoteMappings(t.Context(), []balance.MappingVersion{settings, pbx}, balance.NoteOptions{}); err != nil {
			t.Fatal(err)
		}
		check("", settings, pbx)
		check("source pbx, version x, active ever since, says what records of this store mean", settings)
		check("source pbx, version next, active from ", settings, pbx, next)
	}
	if err := w.store.NoteMappings(t.Context(), []balance.MappingVersion{settings, pbx, next}, balance.NoteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(24 * time.Hour)
	check("version x, active ever since", settings, next)
	w.now = w.now.Add(2 * time.Hour)
	check("", settings, next)
}
