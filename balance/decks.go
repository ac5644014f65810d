package balance

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
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

// DeckOptions say what NoteDecks takes.
type DeckOptions struct {
	// Reach is how far back the answer time of a CDR may lie that is read now: the
	// retention of cdrs and the id window. A deck whose successor is older than
	// that is needed no more.
	Reach time.Duration
	// Lead is how long before its valid_from a deck must be added: the others have
	// to find it by then.
	Lead time.Duration
	// AcceptPast takes decks whatever their valid_from is: after Redis was restored
	// from a backup that is older than they are.
	AcceptPast bool
}

// NoteDecks notes the decks that this process prices by. The first process of a
// store may come with any; after that decks may only be added, and before they
// become valid, so that every process and every replay prices a record alike
// (design rule 7). It returns a *LateDeckError, a *MissingDeckError for the oldest
// deck that the store knows and loaded lacks, or an error of Redis; then nothing is
// noted.
func (s *Store) NoteDecks(ctx context.Context, loaded []rating.DeckVersion, opt DeckOptions) error {
	now := s.opt.Now()
	late := now.Add(opt.Lead).UnixMicro()
	if opt.AcceptPast {
		late = math.MinInt64
	}
	args := []any{late, now.Add(-opt.Reach).UnixMicro()}
	for _, d := range loaded {
		args = append(args, d.Version, d.ValidFrom.UnixMicro(), d.ValidFrom.UTC().Format(time.RFC3339Nano)+" "+d.ID)
	}
	replies, errs := s.run(ctx, []call{{noteDecks, []string{decksKey}, args}})
	if errs[0] != nil {
		return errs[0]
	}
	words, err := texts(replies[0])
	switch {
	case err != nil:
		return fmt.Errorf("note decks: %w", err)
	case len(words) == 1 && words[0] == "OK":
		return nil
	case len(words) == 2 && words[0] == "LATE":
		i := slices.IndexFunc(loaded, func(d rating.DeckVersion) bool { return d.Version == words[1] })
		return &fault{&LateDeckError{loaded[i], opt.Lead}}
	case len(words) == 3 && words[0] == "MISSING":
		return missingDeck(words[1], words[2])
	}
	return faultf("note decks: unexpected reply %q", words)
}

// missingDeck reads what a deck was noted as: microseconds, valid_from, id.
func missingDeck(version, noted string) error {
	_, rest, _ := strings.Cut(noted, " ")
	from, id, _ := strings.Cut(rest, " ")
	t, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return faultf("%s: version %s is noted as %q: %w", decksKey, version, noted, err)
	}
	return &fault{&MissingDeckError{Version: version, ID: id, ValidFrom: t}}
}
