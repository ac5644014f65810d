package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/creditstream/creditstream/balance"
)

// What decks and mappings have in common: the store knows which there are.
const (
	// noteLook is how often the store is asked whether other processes have noted
	// what this one lacks; and how often the directory of decks is looked at: a change
	// is taken when the next look finds it the same, so that no half-written deck is read.
	noteLook = 2 * time.Second
	// noteLead is how long before it begins a deck, or a version of a mapping, must be
	// added: the other processes have to find it by then.
	noteLead = time.Minute
	// noteStop is how long before that a process that lacks it ends: it would take
	// records for something else than the others.
	noteStop = 20 * time.Second
)

// again returns the options to note what this process has noted and used before:
// Redis has gone back if it does not know it.
func again(o balance.NoteOptions) balance.NoteOptions {
	o.AcceptPast = true
	return o
}

// noteFresh is how long a comparison holds: what others note after it begins later
// than that by noteStop at least.
const noteFresh = noteLead - noteStop

// A comparison is until when this process knows that records mean the same to it as
// to the others of its store. The clock on the wall counts: versions begin by it, and
// it goes on while a machine sleeps.
type comparison struct {
	what  string       // that is compared
	until atomic.Int64 // ms
}

// made says that the store was asked at a time. begins is when that begins which
// others have noted and this process lacks; nil: it lacks nothing.
func (c *comparison) made(at time.Time, begins *time.Time) {
	until := at.Add(noteFresh)
	if begins != nil && begins.Add(-noteStop).Before(until) {
		until = begins.Add(-noteStop)
	}
	c.until.Store(until.UnixMilli())
}

// current returns why the last comparison holds no more.
func (c *comparison) current(now time.Time) error {
	if until := time.UnixMilli(c.until.Load()); now.UnixMilli() >= until.UnixMilli() {
		return fmt.Errorf("%s must be compared with that of other processes: Redis has said nothing of them that holds after %s", c.what, until.UTC().Format(time.RFC3339))
	}
	return nil
}

// ends takes err, of noting again at a time, and returns it if this process must end.
// begins is when that begins which others have noted and it lacks; nil: it lacks nothing.
func (c *comparison) ends(ctx context.Context, log *slog.Logger, at time.Time, err error, begins *time.Time) error {
	switch {
	case err == nil:
		c.made(at, nil)
		return nil
	case begins != nil && at.Before(begins.Add(-noteStop)):
		c.made(at, begins)
		log.WarnContext(ctx, "another process has what this one lacks: it stops before that begins", slog.Any("error", err))
		return nil
	case begins == nil && balance.Temporary(err):
		log.DebugContext(ctx, "cannot compare decks and mapping with the store", slog.Any("error", err))
		return nil
	}
	return err
}
