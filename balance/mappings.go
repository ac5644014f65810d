package balance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A MappingVersion is a piece of what says what records mean from an append time
// on: a version of a source or, without a source, the settings that all share.
type MappingVersion struct {
	Source     string    // holds no control character
	ID         string    // holds no space; of a source a content hash, of the settings what they are
	ActiveFrom time.Time // append time; zero: ever since
}

// name is the version's in the store.
func (v *MappingVersion) name() string {
	if v.Source == "" {
		return v.ID
	}
	return v.ID + " " + v.Source
}

func (v *MappingVersion) String() string {
	since := "active ever since"
	if !v.ActiveFrom.IsZero() {
		since = "active from " + v.ActiveFrom.Format(time.RFC3339Nano)
	}
	if v.Source == "" {
		return fmt.Sprintf("format and zone %s, %s", v.ID, since)
	}
	return fmt.Sprintf("source %s, version %s, %s", v.Source, v.ID, since)
}

// A MissingMappingError says that the records of a store are read by a version that
// this process does not have.
type MissingMappingError struct{ MappingVersion }

// Error implements error.
func (e *MissingMappingError) Error() string {
	if e.Source == "" {
		return fmt.Sprintf("records of this store are read with format and zone %s, and this process has others: start it with these, "+
			"they are fixed when the balances are created; a source that is read otherwise has a format and a zone of its own in the mapping", e.ID)
	}
	return e.String() + ", says what records of this store mean and is not loaded: put it back as it was; " +
		"to change the source, add another version with a later active_from"
}

// A LateMappingError says that a version would change what records of the past mean.
type LateMappingError struct {
	MappingVersion

	Lead time.Duration // how long before its active_from it had to be added
}

// Error implements error.
func (e *LateMappingError) Error() string {
	return fmt.Sprintf("%s, is not known to this store, and that time has passed or is less than %s away: records would mean something else "+
		"than they did, or than another process takes them for; give it a later active_from", e.String(), e.Lead)
}

// NoteMappings notes what this process reads records by. The first process of a
// store may come with anything; after that versions and sources may only be added,
// and before they are active, so that a record means the same to every process and
// in every replay (design rule 7). It returns a *MissingMappingError for the oldest
// version that the store knows and loaded lacks, a *LateMappingError, or an error
// of Redis; then nothing is noted.
func (s *Store) NoteMappings(ctx context.Context, loaded []MappingVersion, opt NoteOptions) error {
	r, err := s.note(ctx, mappingsKey, notables(loaded), opt)
	if err != nil || r == nil {
		return err
	}
	if r.reason == missing {
		return missingMapping(r)
	}
	return &fault{&LateMappingError{versionNamed(loaded, r.name), opt.Lead}}
}

// CheckMappings returns an error when the records of the store are not read by what
// is loaded: a *MissingMappingError, or one that names what the store does not know.
// A version whose successor is older than reach need not be loaded. Nothing is noted.
func (s *Store) CheckMappings(ctx context.Context, loaded []MappingVersion, reach time.Duration) error {
	r, err := s.noteUnless(ctx, anyLate, mappingsKey, notables(loaded), reach)
	if err != nil || r == nil {
		return err
	}
	if r.reason == missing {
		return missingMapping(r)
	}
	v := versionNamed(loaded, r.name)
	return faultf("%s, is not known to this store: no processor reads records by it", v.String())
}

func notables(loaded []MappingVersion) []notable {
	list := make([]notable, len(loaded))
	for i := range loaded {
		list[i] = notable{loaded[i].name(), loaded[i].ActiveFrom, loaded[i].Source}
	}
	return list
}

func missingMapping(r *refusal) error {
	id, _, _ := strings.Cut(r.name, " ")
	return &fault{&MissingMappingError{MappingVersion{Source: r.noted.what, ID: id, ActiveFrom: r.noted.from}}}
}

func versionNamed(loaded []MappingVersion, name string) MappingVersion {
	return loaded[slices.IndexFunc(loaded, func(v MappingVersion) bool { return v.name() == name })]
}
