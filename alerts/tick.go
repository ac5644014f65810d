package alerts

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

const (
	// maxTickWait bounds the wait for the broker's clock: then it is asked again.
	maxTickWait = time.Second
	// maxAnswers is how many calls one record may answer that was appended
	// before they came. A broker's clock can go back when a partition gets a new
	// leader, and another process may have appended since: without a bound, a
	// caller that needs the last record to be late would ask for ever.
	maxAnswers = 256
)

// Tick returns nil once the last record of a commands partition that this process
// knows of was appended later than untilMillis, by the broker's clock; it appends
// ticks until one is. Where the clock is not there yet, it waits with a timer.
// Calls for a partition share: one tick is in flight at most, and none is
// written when the last command or tick of this process is late enough.
// Temporary errors are retried until ctx ends.
func (c *Commands) Tick(ctx context.Context, partition int, untilMillis int64) error {
	l := c.lane(partition)
	call := l.call(untilMillis)
	for {
		var err error
		switch now := l.next(&call); now.do {
		case finish:
			return nil
		case follow:
			err = await(ctx, now.changed, nil)
		case watch:
			err = l.watch(ctx, &call, now)
		case ask:
			err = c.tick(ctx, l, partition)
		}
		if err != nil {
			return fmt.Errorf("tick commands partition %d: %w", partition, err)
		}
	}
}

// tick appends one tick; next has said that it is this call's turn.
func (c *Commands) tick(ctx context.Context, l *lane, partition int) error {
	defer l.release()
	value, err := (&balance.Command{Type: balance.Tick}).Encode()
	if err != nil {
		return err
	}
	_, err = c.write(ctx, partition, kafka.Message{Value: value})
	return err
}

// A lane is what this process knows of one commands partition.
type lane struct {
	mu       sync.Mutex
	seen     int64 // records of this process so far: 0 means that last is not known
	last     kafka.Written
	answers  int           // calls that last has answered from memory
	ticking  bool          // a tick is in flight
	watching int           // calls that wait for the clock: last is at most maxTickWait old
	changed  chan struct{} // closed when anything above may have changed
}

// saw notes a record that was appended. An answer that was overtaken by a later
// one costs a tick too many at the most.
func (l *lane) saw(w kafka.Written) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen++
	l.last, l.answers = w, 0
	l.wake()
}

// release ends a tick, whatever became of it.
func (l *lane) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticking = false
	l.wake()
}

func (l *lane) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// A tickCall is one call of Tick.
type tickCall struct {
	untilMillis int64
	came        int64 // lane.seen when it came
	watched     int64 // lane.seen when it last began to wait for the clock
	due         bool  // the clock should be there by now: ask it
}

func (l *lane) call(untilMillis int64) tickCall {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tickCall{untilMillis: untilMillis, came: l.seen, watched: l.seen}
}

// A step is what a call does next.
type step struct {
	do      action
	wait    time.Duration // watch: for so long
	changed <-chan struct{}
}

type action int

const (
	finish action = iota
	follow        // wait for the tick of another call
	watch         // wait for the broker's clock, or for a record of another call
	ask           // append a tick; the lane is the call's until release
)

func (l *lane) next(c *tickCall) step {
	l.mu.Lock()
	defer l.mu.Unlock()
	late := l.seen > 0 && l.last.AppendMillis > c.untilMillis
	if late && l.trusted(c) {
		return step{do: finish}
	}
	if l.ticking {
		return step{do: follow, changed: l.changed}
	}
	// last is recent if it was appended while this call waits, or others watch
	// the clock from it. Otherwise nobody knows what time it is there.
	recent := l.seen > c.watched || l.watching > 0 && !c.due
	if !late && recent {
		wait := min(c.untilMillis-l.last.AppendMillis+1, maxTickWait.Milliseconds())
		c.due, c.watched = false, l.seen
		l.watching++
		return step{do: watch, wait: time.Duration(wait) * time.Millisecond, changed: l.changed}
	}
	c.due, c.watched = false, l.seen
	l.ticking = true
	return step{do: ask}
}

// trusted reports whether the last record may answer a call.
func (l *lane) trusted(c *tickCall) bool {
	if l.seen > c.came {
		return true // it was appended after the call came
	}
	l.answers++
	return l.answers <= maxAnswers
}

// watch waits as a step says, and notes whether the time is up.
func (l *lane) watch(ctx context.Context, c *tickCall, s step) error {
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	err := await(ctx, s.changed, timer.C)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watching--
	c.due = l.seen == c.watched // nothing came: the time is up
	return err
}

// await waits for one of two signals, or until ctx ends.
func await(ctx context.Context, changed <-chan struct{}, up <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
	case <-up:
	}
	return nil
}
