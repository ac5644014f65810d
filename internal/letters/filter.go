package letters

import (
	"slices"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/rating"
)

// A Filter picks dead letters; every part that is not zero must fit.
type Filter struct {
	Reasons         []rating.Reason // one of them
	Account, Source string          // as far as the record could be read
	Since, Until    time.Time       // when the parked record was appended: from Since, before Until
	IDs             []alerts.LetterID
}

// IsZero reports whether the filter picks everything.
func (f *Filter) IsZero() bool {
	return len(f.Reasons) == 0 && f.Account == "" && f.Source == "" && f.Since.IsZero() && f.Until.IsZero() && len(f.IDs) == 0
}

// mayPick reports whether the filter picks e, or would if that account or source were
// its own which could not be read of it.
func (f *Filter) mayPick(e *Entry) bool {
	guess := *e
	if e.Account == "" {
		guess.Account = f.Account
	}
	if e.Source == "" {
		guess.Source = f.Source
	}
	return f.picks(&guess)
}

func (f *Filter) picks(e *Entry) bool {
	switch {
	case len(f.Reasons) > 0 && !slices.Contains(f.Reasons, e.Reason),
		f.Account != "" && f.Account != e.Account,
		f.Source != "" && f.Source != e.Source,
		!f.Since.IsZero() && e.Appended.Before(f.Since),
		!f.Until.IsZero() && !e.Appended.Before(f.Until),
		len(f.IDs) > 0 && !slices.Contains(f.IDs, e.ID):
		return false
	}
	return true
}
