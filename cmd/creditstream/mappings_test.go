package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
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
	return "{source: " + name + ", format: opensips" + active + ", account: {value: " + account + "}, callee: {field: params.dst}, kind: {value: user_out}}"
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
	rdb := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: p.redis, DB: p.redisDB})
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

// A dead letter of which the mapping has made another call is sent only if the
// operator says so, and only by the mapping that the processors have.
func TestReplayOverAChangeOfTheMapping(t *testing.T) {
	p := newPlant(t)
	first := sourceOf("sbc-1", time.Time{}, "acme")
	file := mapping(t, first, sourceOf("sbc-1", time.Now().Add(-30*time.Minute), "globex"))
	run := p.processor(p.http, "--mapping", file)
	awaitReady(t, run, "http://"+p.http)
	p.create("globex", "")
	event := fmt.Sprintf(`{"method":"E_ACC_CDR","params":{"callid":"c","from_tag":"f","to_tag":"t","sip_code":"200","time":%d,"ms_duration":1500,"dst":"+33142685300"}}`,
		time.Now().Add(-2*time.Hour).Unix())
	parked := kafka.Record{
		Topic: p.topic("cdrs"), Value: []byte(event), AppendMillis: time.Now().Add(-time.Hour).UnixMilli(),
		Headers: []kafka.Header{{Key: "cdr-source", Value: []byte("sbc-1")}},
	}
	verdict := balance.Verdict{Outcome: balance.Parked, Reason: rating.UnknownAccount, Message: "an hour ago"}
	publisher := alerts.New(p.writer, alerts.Topics{DeadLetters: p.topic("cdrs.dlq"), DeadLetterPartitions: plantPartitions}, func(string) int { return 0 }, nil)
	if err := publisher.Publish(t.Context(), []kafka.Record{parked}, []balance.Verdict{verdict}, nil); err != nil {
		t.Fatal(err)
	}
	p.awaitOpen(1)
	replay := func(code int, want string, more ...string) {
		t.Helper()
		args := append([]string{"dlq", "replay", "--source=sbc-1", "--redis", strings.Join(p.redis, ","), "--deck", p.deck}, more...)
		wants(t, p.tool(code, args...), want)
	}
	replay(1, "nothing is sent, as processors read records otherwise: source sbc-1, version ", "--mapping", mapping(t, first))
	replay(1, "nothing is sent, as processors read records otherwise: records of this store are read with", "--mapping", file, "--zone=UTC")
	const none = "nothing is sent, as processors read records otherwise: source sbc-1, version "
	replay(1, none)
	replay(1, none, "--dry-run")
	const unread = "1 dead letter more open, whose account or source cannot be read"
	if l := p.list("--account=globex"); l.Open != 0 || l.Unread != 1 {
		t.Errorf("without the mapping: %d open, %d not read", l.Open, l.Unread)
	}
	if l := p.list("--account=acme", "--mapping", file); l.Open != 1 || l.Unread != 0 {
		t.Errorf("with the mapping: %d open, %d not read", l.Open, l.Unread)
	}
	wants(t, p.tool(0, "dlq", "list", "--account=globex"), "0 dead letters open", unread)
	wants(t, p.tool(0, "dlq", "drop", "--account=globex", "--reason-text=x", "--dry-run"), "would drop 0 dead letters", unread)
	wants(t, p.tool(0, "dlq", "replay", "--account=globex", "--deck", p.deck, "--dry-run"), "0 would be sent", unread, "are not compared")
	const refused = "1/1  cdrs/0/0  not sent: the mapping has changed: appended now, it is not the call that it was at "
	replay(1, refused, "--mapping", file, "--dry-run")
	replay(1, refused, "--mapping", file)
	p.awaitOpen(1)
	replay(0, "would be charged 0.100000 USD", "--mapping", file, "--another-call", "--dry-run")
	replay(0, "1 dead letter: 1 sent", "--mapping", file, "--another-call")
	await(t, 30*time.Second, "the charge", func() error {
		if answer := must(t, http.MethodGet, "http://"+p.http+"/v1/accounts/globex", nil, ""); !strings.Contains(answer, `"balance":"-0.100000"`) {
			return errors.New(answer)
		}
		return nil
	})
	if l := p.list("--account=globex"); l.Open != 0 || l.Unread != 0 {
		t.Errorf("it was replayed: %d open, %d not read", l.Open, l.Unread)
	}
	run.stop(t)
}
