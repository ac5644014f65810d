package balance

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/creditstream/creditstream/rating"
)

// A MissingDeckError says that a store is priced by a deck that this process does
// not have.
type MissingDeckError struct {
	Version   string
	ID        string
	ValidFrom time.Time
}

// Error implements error.
func (e *MissingDeckError) Error() string {
	return fmt.Sprintf("deck %s, version %s, valid from %s, prices calls of this store and is not loaded: put it back; "+
		"to change prices, add another deck with a later valid_from", e.ID, e.Version, e.ValidFrom.Format(time.RFC3339))
}

// A LateDeckError says that a deck would change the price of calls of the past.
type LateDeckError struct {
	rating.DeckVersion

	Lead time.Duration // how long before its valid_from it had to be added
}

// Error implements error.
func (e *LateDeckError) Error() string {
	return fmt.Sprintf("deck %s, version %s, is valid from %s, which has passed or is less than %s away: it would price calls otherwise "+
		"than they were, or than another process does; give it a later valid_from, and correct past calls with an adjustment",
		e.ID, e.Version, e.ValidFrom.Format(time.RFC3339), e.Lead)
}

// NoteDecks notes the decks that this process prices by. The first process of a
// store may come with any; after that decks may only be added, and before they
// become valid, so that every process and every replay prices a record alike
// (design rule 7). It returns a *MissingDeckError for the oldest deck that the store
// knows and loaded lacks, a *LateDeckError, or an error of Redis; then nothing is
// noted.
func (s *Store) NoteDecks(ctx context.Context, loaded []rating.DeckVersion, opt NoteOptions) error {
	r, err := s.note(ctx, decksKey, notableDecks(loaded), opt)
	switch {
	case err != nil || r == nil:
		return err
	case r.reason == missing:
		return missingDeck(r)
	}
	return &fault{&LateDeckError{deckNamed(loaded, r.name), opt.Lead}}
}

// CheckDecks returns an error when the store is not priced by what is loaded: a
// *MissingDeckError, or one that names the deck that the store does not know. A deck
// whose successor is older than reach need not be loaded. Nothing is noted.
func (s *Store) CheckDecks(ctx context.Context, loaded []rating.DeckVersion, reach time.Duration) error {
	r, err := s.noteUnless(ctx, anyLate, decksKey, notableDecks(loaded), reach)
	switch {
	case err != nil || r == nil:
		return err
	case r.reason == missing:
		return missingDeck(r)
	}
	d := deckNamed(loaded, r.name)
	return faultf("deck %s, version %s, valid from %s, is not known to this store: no processor prices calls by it",
		d.ID, d.Version, d.ValidFrom.Format(time.RFC3339))
}

func notableDecks(loaded []rating.DeckVersion) []notable {
	list := make([]notable, len(loaded))
	for i, d := range loaded {
		list[i] = notable{d.Version, d.ValidFrom, d.ID}
	}
	return list
}

func missingDeck(r *refusal) error {
	return &fault{&MissingDeckError{Version: r.name, ID: r.noted.what, ValidFrom: r.noted.from}}
}

func deckNamed(loaded []rating.DeckVersion, version string) rating.DeckVersion {
	return loaded[slices.IndexFunc(loaded, func(d rating.DeckVersion) bool { return d.Version == version })]
}
