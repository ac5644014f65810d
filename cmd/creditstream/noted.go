package main

import (
	"context"
	"log/slog"
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

// compared returns err, of noting again, if this process must end. begins is when
// that begins which others have noted and it lacks; nil: it lacks nothing.
func compared(ctx context.Context, log *slog.Logger, now time.Time, err error, begins *time.Time) error {
	switch {
	case begins != nil && now.Before(begins.Add(-noteStop)):
		log.WarnContext(ctx, "another process has what this one lacks: it stops before that begins", slog.Any("error", err))
		return nil
	case begins == nil && balance.Temporary(err):
		log.DebugContext(ctx, "cannot compare decks and mapping with the store", slog.Any("error", err))
		return nil
	}
	return err
}
