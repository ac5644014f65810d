package verify

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/oracle"
)

// readCommands tells the models every command. A shard has one partition of them, so
// that partitions do not meet.
func (r *run) readCommands(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range r.commands {
		l := &r.commands[i]
		g.Go(func() error {
			return r.scan(ctx, l, func(rec *kafka.Record) error {
				c, err := r.command(l, rec)
				if err != nil || c == nil {
					return err
				}
				a := r.shardOf(c.Account).account(c.Account)
				if a.marks.holds(l.source, rec.Offset) {
					r.counts.commands.Add(1)
					a.command(c, rec.AppendMillis)
				}
				return nil
			})
		})
	}
	return g.Wait()
}

// command reads a command; nil is what moves nothing: a tick, or what is parked.
func (r *run) command(l *log, rec *kafka.Record) (*balance.Command, error) {
	c, err := balance.DecodeCommand(rec.Value)
	switch {
	case errors.Is(err, balance.ErrNewerCommand):
		return nil, fmt.Errorf("%w: %s offset %d: %w", ErrUnreadable, l.source, rec.Offset, err)
	case err != nil, c.Type == balance.Tick:
		return nil, nil //nolint:nilnil,nilerr // a processor parks what is no command
	case r.Store.CommandPartition(r.Store.ShardOf(c.Account)) != l.source.Partition:
		return nil, nil //nolint:nilnil // parked, too
	}
	return c, nil
}

// command applies a command to the model.
func (a *account) command(c *balance.Command, at int64) {
	if a.model == nil {
		a.model = oracle.New(a.id)
	}
	a.model.Command(c, at)
	a.model.Out, a.model.Entries = nil, nil // nobody asks
}

// known reports whether the account exists for a CDR.
func (a *account) known(appended, slack int64) bool {
	return a.model != nil && a.model.Exists && a.model.Created <= appended+slack
}
