package consumer

import (
	"slices"
	"sync"

	"github.com/creditstream/creditstream/balance"
)

// A lane is what a worker knows of one shard, for its own partition.
type lane struct {
	shard int

	// call is held while a call of this lane is in flight: there is never more
	// than one. It guards mark.
	call sync.Mutex
	mark balance.Mark

	state  sync.Mutex
	told   int64    // the mark's offset, as last told by the shard
	unsent []int64  // first offsets of entries that are not yet acknowledged
	acked  []string // names of entries to trim: read and acknowledged since the take-over
}

// reset forgets everything but what a take-over found.
func (l *lane) reset(h *balance.Holding) {
	l.mark = h.Mark
	l.state.Lock()
	defer l.state.Unlock()
	l.told, l.unsent, l.acked = h.Mark.Next, nil, nil
	for _, e := range h.Outbox {
		l.unsent = append(l.unsent, e.First)
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
	l.unsent = append(l.unsent, r.Entry.First)
	l.told = r.Mark.Next
}

// confirmed takes a mark that the shard has confirmed.
func (l *lane) confirmed(m balance.Mark) {
	l.mark = m
	l.state.Lock()
	defer l.state.Unlock()
	l.told = m.Next
}

// published notes that all that an entry says is acknowledged. Entries of a lane
// are published in order.
func (l *lane) published(e *balance.Entry) {
	l.state.Lock()
	defer l.state.Unlock()
	l.unsent = l.unsent[1:]
	l.acked = append(l.acked, e.Name)
}

// done is the offset below which all is applied and published, as far as the
// worker was told.
func (l *lane) done() (offset int64, waiting int) {
	l.state.Lock()
	defer l.state.Unlock()
	if len(l.unsent) > 0 {
		return l.unsent[0], len(l.unsent)
	}
	return l.told, 0
}
