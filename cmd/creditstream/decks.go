package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

// deckDepth bounds the directories within a deck that are looked at.
const deckDepth = 8

// deckStore notes which decks a store is priced by.
type deckStore interface {
	NoteDecks(ctx context.Context, loaded []rating.DeckVersion, opt balance.NoteOptions) error
}

// deckKeeper holds the decks in force, and adds those that appear in its
// directory while it runs.
type deckKeeper struct {
	dir     fs.FS // nil: what was loaded at the start is all
	options balance.NoteOptions
	log     *slog.Logger
	now     func() time.Time

	compared comparison

	current atomic.Pointer[rating.Decks]
	seen    uint64 // fingerprint of dir when it was read; 0: read it again
	before  uint64 // fingerprint at the last look
	shown   map[rating.DeckVersion]bool

	valid   *prometheus.GaugeVec
	active  *prometheus.GaugeVec
	reloads *prometheus.CounterVec
}

// The outcomes of a reload.
const (
	reloadOK      = "ok"
	reloadInvalid = "invalid" // the files are no valid deck
	reloadRefused = "refused" // they would change prices of the past
	reloadError   = "error"   // the store could not be asked: it is tried again
)

func newDeckKeeper(loaded *rating.Decks, dir string, options balance.NoteOptions, log *slog.Logger, now func() time.Time) *deckKeeper {
	k := &deckKeeper{options: options, log: log, now: now, compared: comparison{what: "the deck"}}
	k.current.Store(loaded)
	if dir != "" {
		k.dir = os.DirFS(dir)
	}
	return k
}

// instrument adds the metrics of decks.
func (k *deckKeeper) instrument(reg prometheus.Registerer) {
	f := promauto.With(reg)
	k.valid = f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "creditstream_rating_deck_valid_from_seconds", Help: "Decks that are loaded, by version; the value is since when each is valid.",
	}, []string{"deck", "version"})
	k.active = f.NewGaugeVec(prometheus.GaugeOpts{
		Name: "creditstream_rating_deck_active", Help: "1 for the deck that prices calls answered now, 0 for the others that are loaded.",
	}, []string{"deck", "version"})
	k.reloads = f.NewCounterVec(prometheus.CounterOpts{
		Name: "creditstream_rating_deck_reloads_total", Help: "Times that changed decks were read again, by outcome.",
	}, []string{"outcome"})
	for _, outcome := range []string{reloadOK, reloadInvalid, reloadRefused, reloadError} {
		k.reloads.WithLabelValues(outcome)
	}
	k.show()
}

// show sets the gauges.
func (k *deckKeeper) show() {
	versions := k.Versions()
	active := -1
	for i, d := range versions {
		if !d.ValidFrom.After(k.now()) {
			active = i
		}
	}
	gone := k.shown
	k.shown = map[rating.DeckVersion]bool{}
	for i, d := range versions {
		k.shown[d] = true
		delete(gone, d)
		k.valid.WithLabelValues(d.ID, d.Version).Set(float64(d.ValidFrom.Unix()))
		is := 0.0
		if i == active {
			is = 1
		}
		k.active.WithLabelValues(d.ID, d.Version).Set(is)
	}
	for d := range gone {
		k.valid.DeleteLabelValues(d.ID, d.Version)
		k.active.DeleteLabelValues(d.ID, d.Version)
	}
}

// Price prices a call by the decks in force.
func (k *deckKeeper) Price(c *rating.CDR) (rating.Charge, error) { return k.current.Load().Price(c) }

// Explain prices a call and shows how.
func (k *deckKeeper) Explain(c *rating.CDR) (rating.Charge, *rating.Explanation, error) {
	return k.current.Load().Explain(c)
}

// Reach says how long a call may last for some money.
func (k *deckKeeper) Reach(c *rating.CDR, money rating.Micros, limit int64) (rating.Reach, error) {
	return k.current.Load().Reach(c, money, limit)
}

// Versions lists the decks in force.
func (k *deckKeeper) Versions() []rating.DeckVersion { return k.current.Load().Versions() }

// note has the store note the decks, at the start. They are read again first: it
// may have waited long for the store.
func (k *deckKeeper) note(ctx context.Context, store deckStore) error {
	if k.dir != nil {
		loaded, err := rating.Load(k.dir)
		if err != nil {
			return fmt.Errorf("read the decks: %w", err)
		}
		k.current.Store(loaded)
	}
	at := k.now()
	err := store.NoteDecks(ctx, k.Versions(), k.options)
	if err == nil {
		k.compared.made(at, nil)
	}
	if _, late := errors.AsType[*balance.LateDeckError](err); late {
		return fmt.Errorf("%w; if it only adds a rate that was missing, or was added in time but Redis was away or was restored from an older backup, "+
			"start once with --accept-past-decks", err)
	}
	return err
}

// run looks after the decks until ctx ends (nil). It returns an error when this
// process must not go on pricing calls.
func (k *deckKeeper) run(ctx context.Context, store deckStore) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	defer signal.Stop(asked)
	tick := time.NewTicker(noteLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			k.asked(ctx, store)
		case <-tick.C:
			k.look(ctx, store)
			if err := k.check(ctx, store); err != nil {
				return err
			}
		}
		k.show()
	}
}

// asked reads the directory again because an operator says so.
func (k *deckKeeper) asked(ctx context.Context, store deckStore) {
	if k.dir == nil {
		k.log.WarnContext(ctx, "no decks are read again: they are not from a directory (--deck)")
		return
	}
	k.reload(ctx, store)
}

// look reads the directory again when it has changed and changes no more.
func (k *deckKeeper) look(ctx context.Context, store deckStore) {
	if k.dir == nil {
		return
	}
	now := fingerprint(k.dir)
	if now != k.seen && now == k.before {
		k.reload(ctx, store)
	}
	k.before = now
}

// reload takes the decks in the directory, if they are valid and the store takes
// them; else those in force stay.
func (k *deckKeeper) reload(ctx context.Context, store deckStore) {
	k.seen = fingerprint(k.dir)
	loaded, err := rating.Load(k.dir)
	if now := fingerprint(k.dir); now != k.seen {
		k.seen, k.before = 0, now // it changed meanwhile: the look that finds it at rest reads it
		return
	}
	outcome := reloadInvalid
	if err == nil {
		if slices.Equal(loaded.Versions(), k.Versions()) {
			k.log.DebugContext(ctx, "decks are read again and are the same")
			return
		}
		outcome, err = k.take(ctx, store, loaded)
	}
	k.reloads.WithLabelValues(outcome).Inc()
	if err != nil {
		k.log.ErrorContext(ctx, "decks are not taken: those in force stay", slog.String("outcome", outcome), slog.Any("error", err))
		return
	}
	for _, d := range k.Versions() {
		k.log.InfoContext(ctx, "deck loaded", slog.String("deck", d.ID), slog.String("version", d.Version), slog.Time("valid_from", d.ValidFrom),
			slog.Int("rows", d.Rows))
	}
}

func (k *deckKeeper) take(ctx context.Context, store deckStore, loaded *rating.Decks) (outcome string, err error) {
	options := k.options
	options.AcceptPast = false // that was for the start
	err = store.NoteDecks(ctx, loaded.Versions(), options)
	switch {
	case err == nil:
		k.current.Store(loaded)
		return reloadOK, nil
	case balance.Temporary(err):
		k.seen = 0 // the next look tries again
		return reloadError, err
	}
	return reloadRefused, err
}

// check asks the store whether other processes have a deck that this one lacks.
func (k *deckKeeper) check(ctx context.Context, store deckStore) error {
	at := k.now()
	err := store.NoteDecks(ctx, k.Versions(), again(k.options))
	var begins *time.Time
	if missing, ok := errors.AsType[*balance.MissingDeckError](err); ok {
		begins = &missing.ValidFrom
	}
	return k.compared.ends(ctx, k.log, at, err, begins)
}

// fingerprint changes when a file of the decks does; it is never 0. What cannot be
// read counts as not there: reading the decks reports it. A hash takes all that is
// written. As for rating.Load, names at the top that begin with a dot are no decks.
func fingerprint(dir fs.FS) uint64 {
	h := fnv.New64a()
	var look func(name string, depth int)
	look = func(name string, depth int) {
		entries, err := fs.ReadDir(dir, name)
		if err != nil || depth == 0 {
			return
		}
		for _, entry := range entries {
			if name == "." && strings.HasPrefix(entry.Name(), ".") {
				continue
			}
			file := path.Join(name, entry.Name())
			info, err := fs.Stat(dir, file) // follows a link, unlike entry
			switch {
			case err != nil:
			case info.IsDir():
				look(file, depth-1)
			default:
				_, _ = fmt.Fprintf(h, "%q %d %d\n", file, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	look(".", deckDepth)
	return max(h.Sum64(), 1)
}
