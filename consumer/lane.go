package consumer

import (
	"slices"
	"sync"

	"github.com/creditstream/creditstream/balance"
)

// A turn is a lock whose holder may wait for Redis. It is a channel, so that those
// who wait for it count as waiting where a test keeps the clock (testing/synctest):
// for a mutex they do not.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// Lock waits for the turn.
func (t turn) Lock() { t <- struct{}{} }

// TryLock takes the turn if nobody has it, and reports whether it did.
func (t turn) TryLock() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// Unlock gives the turn back.
func (t turn) Unlock() { <-t }

// A lane is what a worker knows of one shard, for its own partition.
type lane struct {
	shard int

	// call is held while a call of this lane is in flight: there is never more
	// than one. It guards mark.
	call turn
	mark balance.Mark

	state  sync.Mutex
	told   int64    // the mark's offset, as last told by the shard
	unsent []unsent // entries that are not yet acknowledged, and what follows them
	acked  []string // names of entries to trim: read and acknowledged since the take-over
}

func newLane(shard int) *lane { return &lane{shard: shard, call: newTurn()} }

// unsent is an entry that is not trimmed yet because it, or one before it, is not
// acknowledged.
type unsent struct {
	first int64
	name  string
	done  bool
}

// reset forgets everything but what a take-over found. It waits for a call in
// flight.
func (l *lane) reset(h *balance.Holding) {
	l.call.Lock()
	defer l.call.Unlock()
	l.mark = h.Mark
	l.state.Lock()
	defer l.state.Unlock()
	l.told, l.unsent, l.acked = h.Mark.Next, nil, nil
	for _, e := range h.Outbox {
		l.unsent = append(l.unsent, unsent{first: e.First, name: e.Name})
	}
}

// next is the mark's offset, as last told by the shard.
func (l *lane) next() int64 {
	l.state.Lock()
	defer l.state.Unlock()
	return l.told
}

// trims returns what the next apply call may trim.
func (l *lane) trims() []string {
	l.state.Lock()
	defer l.state.Unlock()
	return slices.Clone(l.acked)
}

// applied takes the reply to a call that was to trim the first entries.
func (l *lane) applied(r *balance.Reply, trimmed int) {
	l.mark = r.Mark
	l.state.Lock()
	defer l.state.Unlock()
	l.acked = l.acked[trimmed:]
	l.unsent = append(l.unsent, unsent{first: r.Entry.First, name: r.Entry.Name})
	l.told = r.Mark.Next
}

// confirmed takes a mark that the shard has confirmed, in a call that was to trim
// the first entries.
func (l *lane) confirmed(m balance.Mark, trimmed int) {
	l.mark = m
	l.state.Lock()
	defer l.state.Unlock()
	l.acked = l.acked[trimmed:]
	l.told = m.Next
}

// published notes that all that an entry says is acknowledged. It may be trimmed
// once the same is true of every entry before it: one with a payment request may
// take longer than those after it.
func (l *lane) published(e *balance.Entry) {
	l.state.Lock()
	defer l.state.Unlock()
	for i := range l.unsent {
		if l.unsent[i].name == e.Name {
			l.unsent[i].done = true
		}
	}
	for len(l.unsent) > 0 && l.unsent[0].done {
		l.acked = append(l.acked, l.unsent[0].name)
		l.unsent = l.unsent[1:]
	}
}

// done is the offset below which all is applied and published, as far as the
// worker was told.
func (l *lane) done() (offset int64, waiting int) {
	l.state.Lock()
	defer l.state.Unlock()
	if len(l.unsent) > 0 {
		return l.unsent[0].first, len(l.unsent)
	}
	return l.told, 0
}
