package consumer

import (
	"time"

	"github.com/creditstream/creditstream/balance"
)

// Lane is a lane that has taken over h.
type Lane struct{ l *lane }

// NewLane returns one.
func NewLane(h *balance.Holding) *Lane {
	x := &Lane{newLane(h.Shard)}
	x.l.reset(h)
	return x
}

// Applied, Published, Trims and Done are what the stages do to a lane.
func (x *Lane) Applied(e *balance.Entry) {
	x.l.applied(&balance.Reply{Entry: e, Mark: balance.Mark{Next: e.End, Name: e.Name}}, 0)
}

// Published notes that e is out.
func (x *Lane) Published(e *balance.Entry) { x.l.published(e) }

// Trims returns what the next call may trim.
func (x *Lane) Trims() []string { return x.l.trims() }

// Done returns what may be committed.
func (x *Lane) Done() int64 {
	offset, _ := x.l.done()
	return offset
}

// Absent remembers accounts that do not exist.
type Absent struct{ a absent }

// NewAbsent returns one that knows of none.
func NewAbsent(slack time.Duration) *Absent { return &Absent{absent{slack: slack}} }

// Note takes what a shard has answered.
func (x *Absent) Note(e *balance.Entry) { x.a.note(e) }

// Covers reports whether an account is known not to exist for a CDR.
func (x *Absent) Covers(account string, appendMillis int64) bool {
	return x.a.covers(account, appendMillis)
}

// MaxAbsent is how many accounts are remembered.
const MaxAbsent = maxAbsent
