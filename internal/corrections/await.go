package corrections

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// maxAwaited is how many lines are corrected before it is waited for them: they are
// told of together.
const maxAwaited = 1000

// A RefusedError says that an adjustment was applied without effect.
type RefusedError struct {
	Reason string // such as out_of_bounds
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("the adjustment was refused as %s when it was applied: nothing has changed", e.Reason)
}

// errNotApplied means that a processor has not come to it yet, as far as is known.
var errNotApplied = errors.New("it is in the log, and not known to be applied yet; to run this again is safe")

// Waits between two looks at what is applied.
const (
	firstLook = 2 * time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// await waits until what was appended is applied, and completes the results. Who has
// waited in vain only looks from then on.
func (r *run) await(ctx context.Context, results []Result) {
	if r.Wait == 0 {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for wait := firstLook; !r.look(ctx, results); wait = min(2*wait, lastLook) {
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-bounded.Done():
			r.patience = 0
			return
		}
	}
}

// look completes the results of adjustments that are applied, says of the others why
// they are not known to be, and reports whether there are none. While Redis is away
// they are late, no more: they are in the log, and that is what counts.
func (r *run) look(ctx context.Context, results []Result) (done bool) {
	done = true
	var away error
	for i := range results {
		res := &results[i]
		if res.Outcome != Accepted {
			continue
		}
		res.Late = errNotApplied
		var was balance.CommandResult
		var found bool
		if away == nil {
			was, found, away = r.Store.CommandResult(ctx, res.Line.CDR.Account, res.ID)
		}
		switch {
		case away != nil:
			res.Late = fmt.Errorf("%w: %w", errNotApplied, away)
		case found && was.Refused != "":
			res.Outcome, res.Err, res.Late = "", &RefusedError{was.Refused}, nil
			name, number, _ := parseID(res.ID)
			r.calls[name].refuse(number)
		case found:
			res.Outcome, res.Late = Adjusted, nil
		}
		done = done && res.Outcome != Accepted
	}
	return done
}
