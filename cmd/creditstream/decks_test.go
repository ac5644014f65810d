package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// writeDeck writes a deck with one price into a directory of decks. It appears
// under its name at once, as a careful operator would have it.
func writeDeck(t *testing.T, decks, id string, from time.Time, price string) {
	t.Helper()
	dir := filepath.Join(decks, "."+id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"deck.yaml": "id: " + id + "\ncurrency: USD\nvalid_from: " + from.UTC().Format(time.RFC3339) +
			"\nhome_country: US\nrules: [{kinds: [user_out], table: out.csv}]\n",
		"out.csv": "prefix,price\n," + price + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(decks, id)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, filepath.Join(decks, id)); err != nil {
		t.Fatal(err)
	}
}

// sees waits until the metrics of a processor have a line.
func sees(t *testing.T, base, line string) {
	t.Helper()
	await(t, 30*time.Second, "metric "+line, func() error {
		_, text, err := request(t, http.MethodGet, base+"/metrics", nil, "")
		if err == nil && !strings.Contains("\n"+text, "\n"+line+"\n") {
			err = errors.New("it is not there yet")
		}
		return err
	})
}

// A deck added while a processor runs prices calls from its valid_from on; one
// that would change the past is refused, now and at a restart.
func TestDecksAreAddedWhileAProcessorRuns(t *testing.T) {
	decks, data := t.TempDir(), t.TempDir()
	writeDeck(t, decks, "first", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), "1")
	s := startSandbox(t, data, "--deck", decks, "--log-level", "info")
	quote := func(at time.Time) string {
		t.Helper()
		answer := must(t, http.MethodGet, s.http+"/v1/quote?kind=user_out&callee=44&seconds=60&at="+url.QueryEscape(at.Format(time.RFC3339)), nil, "")
		_, rest, _ := strings.Cut(answer, `"charge":"`)
		price, _, _ := strings.Cut(rest, `"`)
		return price
	}
	expect := func(at time.Time, want string) {
		t.Helper()
		if got := quote(at); got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
	tomorrow := time.Now().Add(24 * time.Hour).Truncate(time.Second)
	expect(tomorrow, "1.000000")

	// Found by looking.
	writeDeck(t, decks, "second", tomorrow, "2")
	sees(t, s.http, `creditstream_rating_deck_reloads_total{outcome="ok"} 1`)
	expect(tomorrow.Add(-time.Second), "1.000000")
	expect(tomorrow, "2.000000")

	// Taken at once on SIGHUP, when they are no valid deck; those in force stay.
	broken := filepath.Join(decks, "broken")
	if err := os.Mkdir(broken, 0o700); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	sees(t, s.http, `creditstream_rating_deck_reloads_total{outcome="invalid"} 1`)
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}

	// One of the past, and one that is changed, are refused.
	writeDeck(t, decks, "late", time.Now().Add(-time.Minute), "3")
	sees(t, s.http, `creditstream_rating_deck_reloads_total{outcome="refused"} 1`)
	if err := os.RemoveAll(filepath.Join(decks, "late")); err != nil {
		t.Fatal(err)
	}
	writeDeck(t, decks, "first", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), "9")
	s.signal(syscall.SIGHUP)
	sees(t, s.http, `creditstream_rating_deck_reloads_total{outcome="refused"} 2`)
	if err := os.Rename(filepath.Join(decks, "first"), filepath.Join(decks, ".first")); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGHUP)
	sees(t, s.http, `creditstream_rating_deck_reloads_total{outcome="refused"} 3`)
	if err := os.Rename(filepath.Join(decks, ".first"), filepath.Join(decks, "first")); err != nil {
		t.Fatal(err)
	}
	expect(time.Now(), "1.000000")
	s.stop(t)
	for _, said := range []string{"which has passed", "put it back", "broken/deck.yaml: read the deck"} {
		if !strings.Contains(s.out.String(), said) {
			t.Errorf("the log does not say %q", said)
		}
	}

	// At a restart too; and what was added is still known.
	refused := start(t, nil, "sandbox", "--http", freeAddr(t), "--kafka", freeAddr(t), "--data-dir", data, "--simulate=false", "--deck", decks)
	if code := refused.wait(t, 30*time.Second); code != 1 || !strings.Contains(refused.out.String(), "put it back") {
		t.Errorf("exit code %d: %s", code, refused.out.String())
	}
	writeDeck(t, decks, "first", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), "1")
	s = startSandbox(t, data, "--deck", decks)
	expect(tomorrow, "2.000000")
	s.stop(t)
}

// scriptedStore answers in order.
type scriptedStore struct {
	answers []error
	asked   [][]rating.DeckVersion
	options []balance.NoteOptions
}

func (s *scriptedStore) NoteDecks(_ context.Context, loaded []rating.DeckVersion, opt balance.NoteOptions) error {
	s.asked, s.options = append(s.asked, loaded), append(s.options, opt)
	err := s.answers[0]
	s.answers = s.answers[1:]
	return err
}

func keeperOf(t *testing.T, decks string) *deckKeeper {
	t.Helper()
	loaded, err := rating.Load(os.DirFS(decks))
	if err != nil {
		t.Fatal(err)
	}
	k := newDeckKeeper(loaded, decks, balance.NoteOptions{Reach: time.Hour, AcceptPast: true}, slog.New(slog.NewTextHandler(t.Output(), nil)), time.Now)
	k.instrument(prometheus.NewRegistry())
	return k
}

// A process that lacks a deck of the others goes on until shortly before the deck
// is valid, and then it must end.
func TestAProcessEndsBeforeItPricesOtherwiseThanTheOthers(t *testing.T) {
	decks := t.TempDir()
	writeDeck(t, decks, "first", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), "1")
	k := keeperOf(t, decks)
	soon := &balance.MissingDeckError{Version: "v", ID: "second", ValidFrom: time.Now().Add(noteStop / 2)}
	later := &balance.MissingDeckError{Version: "v", ID: "second", ValidFrom: time.Now().Add(2 * noteStop)}
	away := errors.New("dial tcp: connection refused")
	late := &balance.LateDeckError{}
	for i, test := range []struct{ answer, want error }{{nil, nil}, {later, nil}, {away, nil}, {soon, soon}} {
		store := &scriptedStore{answers: []error{test.answer}}
		if err := k.check(t.Context(), store); !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%d: got %v, want %v", i, err, test.want)
		}
		if !store.options[0].AcceptPast {
			t.Error("a store that has gone back must take decks that this process has used already")
		}
	}
	// It looks by itself.
	if err := k.run(t.Context(), &scriptedStore{answers: []error{nil, later, soon}}); !errors.Is(err, soon) {
		t.Errorf("got %v, want %v", err, soon)
	}
	if err := k.note(t.Context(), &scriptedStore{answers: []error{late}}); !errors.Is(err, late) || !strings.Contains(err.Error(), "--accept-past-decks") {
		t.Errorf("at the start: got %v", err)
	}
}

// A deck that could not be noted is tried again; while files change none is read.
func TestDecksAreReadWhenTheirFilesRest(t *testing.T) {
	decks := t.TempDir()
	writeDeck(t, decks, "first", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), "1")
	k := keeperOf(t, decks)
	store := &scriptedStore{answers: []error{errors.New("dial tcp: connection refused"), nil}}
	asked := func(want int, when string) {
		t.Helper()
		k.look(t.Context(), store)
		if len(store.asked) != want {
			t.Fatalf("%s: asked %d times, want %d", when, len(store.asked), want)
		}
	}
	asked(0, "the first look")
	asked(0, "nothing changed since the start")
	asked(0, "nothing changed")
	for i := range 3 {
		writeDeck(t, decks, "second", time.Now().Add(time.Hour), strconv.Itoa(i))
		writeDeck(t, decks, strings.Repeat("x", i+3), time.Now().Add(time.Hour+time.Duration(i+1)*time.Minute), "1")
		asked(0, "it changes")
	}
	asked(1, "it rests: Redis is away")
	if n := len(k.Versions()); n != 1 {
		t.Fatalf("%d decks", n)
	}
	asked(2, "again")
	asked(2, "taken")
	if n := len(k.Versions()); n != 5 {
		t.Fatalf("%d decks", n)
	}
	if store.options[1].AcceptPast {
		t.Error("a reload must not take decks of the past")
	}
}

// A process ends, with an error, when the others have a deck that it lacks.
func TestAProcessThatLacksADeckEnds(t *testing.T) {
	server := ownRedis(t) // a sandbox uses no cluster
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	s := startSandbox(t, t.TempDir(), "--redis", server.Addr())
	soon := time.Now().Add(noteStop / 2).UTC()
	noted := strconv.FormatInt(soon.UnixMicro(), 10) + " " + soon.Format(time.RFC3339Nano) + " other tariff"
	if err := rdb.HSet(t.Context(), "cs:decks", "0123456789abcdef", noted).Err(); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(t, 20*time.Second); code != 1 || !strings.Contains(s.out.String(), "deck other tariff, version 0123456789abcdef") {
		t.Errorf("exit code %d", code)
	}
}
