package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
)

// mapping writes a mapping file and returns its name.
func mapping(t *testing.T, sources ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mapping.yaml")
	if err := os.WriteFile(file, []byte("sources:\n- "+strings.Join(sources, "\n- ")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func sourceOf(name string, from time.Time, account string) string {
	active := ""
	if !from.IsZero() {
		active = ", active_from: " + from.UTC().Format(time.RFC3339)
	}
	return "{source: " + name + ", format: opensips" + active + ", account: {value: " + account + "}, kind: {value: user_out}}"
}

// A processor that would take records for something else than they were, or than
// others do, does not start.
func TestMappingsOfThePastStay(t *testing.T) {
	p := newPlant(t)
	runs := func(more ...string) {
		t.Helper()
		run := p.processor(p.http, more...)
		awaitReady(t, run, "http://"+p.http)
		run.stop(t)
	}
	refused := func(want string, more ...string) {
		t.Helper()
		run := p.processor(p.http, more...)
		if code := run.wait(t, 30*time.Second); code != 1 || !strings.Contains(run.out.String(), want) {
			t.Errorf("%v: exit code %d, want 1 and %q", more, code, want)
		}
	}
	ever, soon := time.Time{}, time.Now().Add(time.Hour).Truncate(time.Second)
	first := sourceOf("sbc-1", ever, "acme")
	runs("--zone", "Europe/Paris", "--mapping", mapping(t, first))
	runs("--zone", "Europe/Paris", "--mapping", mapping(t, first+" # as it was"))

	const put, late = "is not loaded: put it back as it was", "give it a later active_from"
	others := "records of this store are read with format and zone canonical,Europe/Paris, and this process has others"
	refused(others, "--mapping", mapping(t, first))
	refused(others, "--zone", "Europe/Paris", "--format", "opensips", "--mapping", mapping(t, first))
	zone := func(sources ...string) []string {
		return []string{"--zone", "Europe/Paris", "--mapping", mapping(t, sources...)}
	}
	refused(put, "--zone", "Europe/Paris")
	refused("source sbc-1, version ", zone(sourceOf("sbc-1", ever, "globex"))...)
	refused(late, zone(first, sourceOf("sbc-2", ever, "globex"))...)
	refused("start once with --accept-past-mappings", zone(first, sourceOf("sbc-1", time.Now().Add(noteLead/2), "globex"))...)
	refused(put, append(zone(sourceOf("sbc-1", ever, "globex")), "--accept-past-mappings")...)

	runs(zone(first, sourceOf("sbc-1", soon, "globex"), sourceOf("sbc-2", soon, "globex"))...)
	refused(put, zone(first, sourceOf("sbc-1", soon, "globex"))...)
	refused(put, zone(first, sourceOf("sbc-1", soon.Add(time.Second), "globex"), sourceOf("sbc-2", soon, "globex"))...)

	// A backup that is older than a source.
	late3 := sourceOf("sbc-3", time.Now().Add(-time.Hour), "globex")
	all := zone(first, sourceOf("sbc-1", soon, "globex"), sourceOf("sbc-2", soon, "globex"), late3)
	refused(late, all...)
	runs(append(all, "--accept-past-mappings")...)
	runs(all...)
}

// scriptedMappings answers in order.
type scriptedMappings struct {
	answers []error
	options []balance.NoteOptions
}

func (s *scriptedMappings) NoteMappings(_ context.Context, _ []balance.MappingVersion, opt balance.NoteOptions) error {
	s.options = append(s.options, opt)
	err := s.answers[0]
	s.answers = s.answers[1:]
	return err
}

// A process that lacks a version of the others goes on until shortly before it is
// active, and then it must end.
func TestAProcessEndsBeforeItReadsOtherwiseThanTheOthers(t *testing.T) {
	k := newMappingKeeper(&cdr.Options{}, balance.NoteOptions{}, slog.New(slog.NewTextHandler(t.Output(), nil)), time.Now)
	missing := func(after time.Duration) error {
		return &balance.MissingMappingError{MappingVersion: balance.MappingVersion{Source: "sbc", ID: "x", ActiveFrom: time.Now().Add(after)}}
	}
	soon, later, settings := missing(noteStop/2), missing(2*noteStop), &balance.MissingMappingError{}
	away := errors.New("dial tcp: connection refused")
	for i, test := range []struct{ answer, want error }{{nil, nil}, {later, nil}, {away, nil}, {soon, soon}, {settings, settings}} {
		store := &scriptedMappings{answers: []error{test.answer}}
		if err := k.check(t.Context(), store); !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%d: got %v, want %v", i, err, test.want)
		}
		if !store.options[0].AcceptPast {
			t.Error("a store that has gone back must take what this process has used already")
		}
	}
	if err := k.run(t.Context(), &scriptedMappings{answers: []error{later, soon}}); !errors.Is(err, soon) {
		t.Errorf("got %v, want %v", err, soon)
	}
}

// A process ends, with an error, when the others have a source that it lacks.
func TestAProcessThatLacksASourceEnds(t *testing.T) {
	p := newPlant(t)
	run := p.processor(p.http)
	awaitReady(t, run, "http://"+p.http)
	rdb := redis.NewClient(&redis.Options{Addr: p.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	soon := time.Now().Add(noteStop / 2).UTC()
	noted := strconv.FormatInt(soon.UnixMicro(), 10) + " " + soon.Format(time.RFC3339Nano) + " sbc-1"
	if err := rdb.HSet(t.Context(), "cs:mappings", "0123456789abcdef sbc-1", noted).Err(); err != nil {
		t.Fatal(err)
	}
	if code := run.wait(t, 20*time.Second); code != 1 || !strings.Contains(run.out.String(), "source sbc-1, version 0123456789abcdef, active from ") {
		t.Errorf("exit code %d", code)
	}
}
