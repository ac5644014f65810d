package balance

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// NoteOptions say what NoteDecks and NoteMappings take.
type NoteOptions struct {
	// Reach is how far back a record may lie that is read now, by its answer time
	// and by its append time: the retention of cdrs and the id window. A version
	// whose successor is older than that is needed no more.
	Reach time.Duration
	// Lead is how long before it begins a version must be added: the other
	// processes have to find it by then.
	Lead time.Duration
	// AcceptPast takes versions whenever they begin: after Redis was restored from a
	// backup that is older than they are.
	AcceptPast bool
}

// notable is a version of a deck or a mapping as a store remembers it.
type notable struct {
	name string // the version; what it is a version of follows after a space
	from time.Time
	what string // for people
}

// A refusal is why nothing was noted: name is too late, or was noted and is not
// loaded.
type refusal struct {
	reason refusalReason
	name   string
	noted  notable // of what is missing
}

type refusalReason string

const (
	tooLate refusalReason = "LATE"
	missing refusalReason = "MISSING"
)

// anyLate adds nothing: all that was not noted is too late.
const anyLate = "any"

// note adds loaded to what the key holds, or returns why it does not.
func (s *Store) note(ctx context.Context, key string, loaded []notable, opt NoteOptions) (*refusal, error) {
	late := s.opt.Now().Add(opt.Lead).UnixMicro()
	if opt.AcceptPast {
		late = math.MinInt64
	}
	return s.noteUnless(ctx, strconv.FormatInt(late, 10), key, loaded, opt.Reach)
}

// noteUnless is note where what begins by late (us), or is anyLate, is not added.
func (s *Store) noteUnless(ctx context.Context, late, key string, loaded []notable, reach time.Duration) (*refusal, error) {
	args := []any{late, s.opt.Now().Add(-reach).UnixMicro()}
	for _, v := range loaded {
		args = append(args, v.name, v.from.UnixMicro(), v.from.UTC().Format(time.RFC3339Nano)+" "+v.what)
	}
	replies, errs := s.run(ctx, []call{{noteVersions, []string{key}, args}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	words, err := texts(replies[0])
	switch {
	case err != nil:
		return nil, fmt.Errorf("note %s: %w", key, err)
	case len(words) == 1 && words[0] == "OK":
		return nil, nil //nolint:nilnil // no refusal, no error
	case len(words) == 2 && words[0] == string(tooLate):
		return &refusal{reason: tooLate, name: words[1]}, nil
	case len(words) == 3 && words[0] == string(missing):
		noted, err := readNoted(key, words[1], words[2])
		return &refusal{reason: missing, name: words[1], noted: noted}, err
	}
	return nil, faultf("note %s: unexpected reply %q", key, words)
}

// readNoted reads what a version was noted as: microseconds, the same for people,
// what it is.
func readNoted(key, name, text string) (notable, error) {
	_, rest, _ := strings.Cut(text, " ")
	from, what, _ := strings.Cut(rest, " ")
	t, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return notable{}, faultf("%s: version %s is noted as %q: %w", key, name, text, err)
	}
	return notable{name, t, what}, nil
}
