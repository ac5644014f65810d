package balance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
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
		"to change prices, add a deck with a valid_from that is still to come", e.ID, e.Version, e.ValidFrom.Format(time.RFC3339))
}

// A LateDeckError says that a deck would change the price of calls of the past.
type LateDeckError struct{ rating.DeckVersion }

// Error implements error.
func (e *LateDeckError) Error() string {
	return fmt.Sprintf("deck %s, version %s, is valid from %s, which has passed: it would price calls otherwise than they were, or than "+
		"another process does; give it a valid_from that is still to come, and correct past calls with an adjustment",
		e.ID, e.Version, e.ValidFrom.Format(time.RFC3339))
}

// DeckOptions say what NoteDecks takes.
type DeckOptions struct {
	// Reach is how far back the answer time of a CDR may lie that is read now: the
	// retention of cdrs and the id window. A deck whose successor is older than
	// that is needed no more.
	Reach time.Duration
	// AcceptPast takes decks that are valid already though the store does not know
	// them: after Redis was restored from a backup that is older than they are.
	AcceptPast bool
}

// NoteDecks notes the decks that this process prices by. The first process of a
// store may come with any; after that decks may only be added, with a valid_from
// that is still to come, so that every process and every replay prices a record
// alike (design rule 7). It returns a *LateDeckError, a *MissingDeckError for the
// oldest deck that the store knows and loaded lacks, or an error of Redis. In the
// first case nothing is noted.
func (s *Store) NoteDecks(ctx context.Context, loaded []rating.DeckVersion, opt DeckOptions) error {
	accept := "0"
	if opt.AcceptPast {
		accept = "1"
	}
	args := []any{s.clock(), accept}
	for _, d := range loaded {
		args = append(args, d.Version, strconv.FormatInt(d.ValidFrom.UnixMicro(), 10), d.ValidFrom.UTC().Format(time.RFC3339Nano)+" "+d.ID)
	}
	replies, errs := s.run(ctx, []call{{noteDecks, []string{decksKey}, args}})
	if errs[0] != nil {
		return errs[0]
	}
	words, err := texts(replies[0])
	if err != nil || len(words) < 2 {
		return faultf("note decks: %d words: %w", len(words), err)
	}
	if words[0] == "LATE" {
		i := slices.IndexFunc(loaded, func(d rating.DeckVersion) bool { return d.Version == words[1] })
		return &fault{&LateDeckError{loaded[i]}}
	}
	noted, err := parseDecks(words[1:])
	if err != nil {
		return err
	}
	oldest := s.opt.Now().Add(-opt.Reach)
	for i, d := range noted {
		needed := i+1 == len(noted) || noted[i+1].ValidFrom.After(oldest)
		if needed && !slices.ContainsFunc(loaded, func(l rating.DeckVersion) bool { return l.Version == d.Version }) {
			return &fault{d}
		}
	}
	return nil
}

// parseDecks reads pairs of version and "valid_from id"; the oldest first.
func parseDecks(words []string) ([]*MissingDeckError, error) {
	var decks []*MissingDeckError
	for i := 0; i+1 < len(words); i += 2 {
		from, id, _ := strings.Cut(words[i+1], " ")
		t, err := time.Parse(time.RFC3339Nano, from)
		if err != nil {
			return nil, faultf("%s: version %s is noted as %q: %w", decksKey, words[i], words[i+1], err)
		}
		decks = append(decks, &MissingDeckError{Version: words[i], ID: id, ValidFrom: t})
	}
	slices.SortFunc(decks, func(a, b *MissingDeckError) int {
		return cmp.Or(a.ValidFrom.Compare(b.ValidFrom), strings.Compare(a.Version, b.Version))
	})
	return decks, nil
}
