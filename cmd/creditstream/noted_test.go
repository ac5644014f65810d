package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// A processor applies nothing unless decks and mapping were compared with the store
// so lately that nothing can have begun which others have noted since.
func TestAComparisonHoldsForAWhile(t *testing.T) {
	t.Parallel()
	p := newProcessor(processorConfig{}, slog.New(slog.NewTextHandler(t.Output(), nil)), new(rating.Decks))
	p.decks.instrument(p.registry)
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	p.now, p.decks.now, p.mappings.now = clock, clock, clock
	current := p.streamConfig(nil, nil).Current
	refused := func(when, want string) {
		t.Helper()
		if err := current(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", when, err, want)
		}
	}
	holds := func(when string) {
		t.Helper()
		if err := current(); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	checks := func(deck, mapping error) {
		t.Helper()
		err := errors.Join(p.decks.check(t.Context(), &scriptedStore{answers: []error{deck}}), p.mappings.check(t.Context(), &scriptedMappings{answers: []error{mapping}}))
		if err != nil {
			t.Fatal(err)
		}
	}
	const deck, mapping = "the deck must be compared", "the mapping must be compared"
	away := errors.New("dial tcp: connection refused")

	refused("before the start", deck)
	if err := p.decks.note(t.Context(), &scriptedStore{answers: []error{nil}}); err != nil {
		t.Fatal(err)
	}
	refused("the deck is noted", mapping)
	if err := p.mappings.note(t.Context(), &scriptedMappings{answers: []error{nil}}); err != nil {
		t.Fatal(err)
	}
	holds("both are noted")
	now = now.Add(noteFresh - time.Millisecond)
	checks(away, away)
	holds("Redis is away for a while")
	now = now.Add(time.Millisecond)
	checks(away, away)
	refused("Redis is away for long", deck)
	refused("Redis is away for long", mapping)
	checks(away, nil)
	refused("the mapping is compared", deck)
	checks(nil, nil)
	holds("Redis is there again")

	// What others have and this process lacks begins soon.
	soon := now.Add(noteStop + time.Second)
	checks(&balance.MissingDeckError{ValidFrom: soon}, nil)
	now = now.Add(time.Second - time.Millisecond)
	holds("the deck does not begin yet")
	now = now.Add(time.Millisecond)
	refused("the deck is about to begin", deck)
	checks(nil, &balance.MissingMappingError{MappingVersion: balance.MappingVersion{Source: "sbc", ActiveFrom: now.Add(noteStop + time.Second)}})
	now = now.Add(time.Second)
	refused("the version is about to be active", mapping)
}

// What a topic still has may be read again: how long that is says the topic.
func TestReachIsOfTheTopic(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for retention, want := range map[string]time.Duration{
		"86400000": 8 * day, "0": 7 * day, "-1": forever, "": forever, "9223372036854775807": forever,
	} {
		info := kafka.TopicInfo{Configs: map[string]string{"retention.ms": retention}}
		if got := reachOf(info, 7*day); got != want {
			t.Errorf("%q: %s, want %s", retention, got, want)
		}
	}
}

// A version whose successor is older than the retention that was asked for stays
// needed while the topic keeps the records that were read by it.
func TestAVersionIsNeededWhileTheTopicHasItsRecords(t *testing.T) {
	p := newPlant(t)
	spec := kafka.TopicSpec{Name: p.topic("cdrs"), Partitions: plantPartitions, Replication: 1, Configs: map[string]string{
		"message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete", "retention.ms": "-1",
	}}
	if err := p.client.EnsureTopics(t.Context(), []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	args := func(sources ...string) []string {
		return []string{"--cdr-retention=100d", "--id-window=77d", "--mapping", mapping(t, sources...)}
	}
	second := sourceOf("sbc-1", time.Now().AddDate(-1, 0, 0), "globex")
	run := p.processor(p.http, args(sourceOf("sbc-1", time.Time{}, "acme"), second)...)
	awaitReady(t, run, "http://"+p.http)
	run.stop(t)
	run = p.processor(p.http, args(second)...)
	if code := run.wait(t, 30*time.Second); code != 1 || !strings.Contains(run.out.String(), "is not loaded: put it back as it was") {
		t.Errorf("exit code %d, want 1: records of before are in the topic", code)
	}
}
