package consumer

import (
	"time"

	"github.com/creditstream/creditstream/balance"
)

// maxAbsent is how many accounts are remembered not to exist; then all are forgotten.
const maxAbsent = 10_000

// absent remembers accounts that did not exist up to a time of the commands log. That
// is a fact of the log, whatever becomes of Redis: a CDR appended before is parked
// without asking a shard again, so that a flood of unknown accounts that has piled up
// costs no more than one of records that cannot be read.
type absent struct {
	slack time.Duration // between the brokers' clocks
	until map[string]int64
}

// note takes what a shard has answered.
func (a *absent) note(e *balance.Entry) {
	for account, until := range e.Unknown {
		if len(a.until) >= maxAbsent || a.until == nil {
			a.until = map[string]int64{}
		}
		a.until[account] = until
	}
}

// covers reports whether an account is known not to exist for a CDR: its first settings
// that were accepted were appended later than the CDR, by more than the slack (design rule 7).
func (a *absent) covers(account string, appendMillis int64) bool {
	until, ok := a.until[account]
	return ok && account != "" && until > appendMillis+a.slack.Milliseconds()
}
