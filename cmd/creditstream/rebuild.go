package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/rating"
)

func newRebuild(environ func() []string) *cobra.Command {
	var c runConfig
	s := c.rebuildSettings()
	cmd := &cobra.Command{
		Use: "rebuild", Short: "Fill an empty Redis from the logs, or bring a restored backup up to them", Args: noArgs,
		Long: `Applies credit-commands and cdrs to Redis until it has all that was in them when the
command began, and ends. Give it the settings of the processors. Redis is empty, or holds
balances that are behind, such as those of a restored backup: then it goes on from there.
A Redis with keys of something else is refused; nothing is ever deleted. Other processors
of the group may run: they share the work.

What the records caused is published again: rated records name the same place as before;
events have new sequences and so new ids; payments are requested only if the log has no
answer. It is interrupted at any time, and goes on when it is run again.

` + fmt.Sprintf(settingsHelp, envName("max-charge"), "max-charge"),
		Example: `  creditstream rebuild --brokers kafka-1:9092 --redis redis-1:6379 --deck /etc/creditstream/deck
  creditstream rebuild --config /etc/creditstream/creditstream.yaml`,
	}
	s.flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		problems := s.resolve(cmd.Flags(), environ, isSetting)
		loaded, more := loadDeck(s, c.DeckDir, nil)
		formats, wrong := c.load(s)
		if err := problemsError(slices.Concat(problems, c.check(s), more, wrong)); err != nil {
			return err
		}
		c.Formats, c.AcceptEmptyRedis = formats, true
		return runRebuild(cmd.Context(), &c, loaded, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// rebuildSettings are those of run without what is for its API, and for the guard
// that this command is the way past.
func (c *runConfig) rebuildSettings() *settings {
	all, s := c.settings(), newSettings()
	ofAPI := newSettings()
	c.access.settings(ofAPI)
	c.authorizeSettings(ofAPI)
	for _, one := range all.list {
		if !slices.Contains([]string{"config", "http", "max-purchase", "accept-empty-redis"}, one.name) && ofAPI.byName[one.name] == nil {
			s.borrow(all, one.name)
		}
	}
	s.byName["log-level"].initial = "warn"
	return s
}

func runRebuild(ctx context.Context, c *runConfig, loaded *rating.Decks, stdout, stderr io.Writer) error {
	r := rebuild{processor: newProcessor(c.processorConfig, c.logger(stderr), loaded), stderr: stderr, told: time.Now()}
	began := time.Now()
	if err := r.run(ctx); err != nil {
		return err
	}
	p := printer{out: stdout}
	if r.total == 0 {
		p.line("nothing to do: Redis has all that was in the logs")
	} else {
		p.line("rebuilt: %s in %s; compare them with creditstream verify", count(int(r.total), "record"), time.Since(began).Round(time.Millisecond))
	}
	return p.err
}

// A rebuild is a processor that ends when it has caught up.
type rebuild struct {
	processor *processor
	stderr    io.Writer
	bar       *progress
	told      time.Time

	ends        map[balance.Source]int64 // of the logs when it began
	from, total int64                    // records applied before, and to apply
}

// errInterrupted says that a rebuild has not come to its end.
var errInterrupted = errors.New("interrupted: run it again to go on from here")

func (r *rebuild) run(ctx context.Context) error {
	p := r.processor
	closeAll, err := p.connect()
	if err != nil {
		return err
	}
	defer closeAll()
	if err := r.refuseOthers(ctx); err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	streamed := make(chan error, 1)
	go func() { streamed <- r.stream(working) }()
	watched := make(chan error, 1)
	go func() { watched <- r.watch(working) }()
	select {
	case err = <-streamed:
		stop()
		err = errors.Join(err, dropCanceled(<-watched))
	case err = <-watched:
		stop()
		err = errors.Join(dropCanceled(err), <-streamed)
	}
	if err == nil && ctx.Err() != nil {
		err = errInterrupted
	}
	return err
}

// stream is that of the processor, after a look at how much there is to do.
func (r *rebuild) stream(ctx context.Context) error {
	partitions, err := r.processor.prepare(ctx)
	if err != nil {
		return dropCanceled(err)
	}
	if _, _, err := r.look(ctx); err != nil {
		r.cannotTell(ctx, err) // watch looks again
	}
	return r.processor.flow(ctx, partitions)
}

func dropCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// refuseOthers refuses a Redis that something else uses. One that is away is waited
// for by the processor.
func (r *rebuild) refuseOthers(ctx context.Context) error {
	p := r.processor
	holds, keys, err := balance.Look(ctx, p.rdb)
	if err != nil && !balance.Temporary(err) {
		return err
	}
	if holds == balance.Foreign {
		return fmt.Errorf("redis %v, database %d, is not empty and holds no balances of creditstream (%s): "+
			"empty it, or give another one", p.cfg.Redis, p.cfg.RedisDB, count(int(keys), "key"))
	}
	return nil
}

// rebuildLook is how often a rebuild looks how far it is; rebuildTell how often it says
// so where no bar is drawn.
const (
	rebuildLook = 200 * time.Millisecond
	rebuildTell = 10 * time.Second
)

// watch returns nil when all that was in the logs is applied.
func (r *rebuild) watch(ctx context.Context) error {
	tick := time.NewTicker(rebuildLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if (*backend)(r.processor).started() != nil {
			continue
		}
		applied, caughtUp, err := r.look(ctx)
		switch {
		case err != nil:
			r.cannotTell(ctx, err)
		case caughtUp:
			r.bar.clear()
			return nil
		default:
			r.show(ctx, applied-r.from)
		}
	}
}

func (r *rebuild) cannotTell(ctx context.Context, err error) {
	if ctx.Err() == nil {
		r.processor.log.WarnContext(ctx, "cannot tell how far the rebuild is", slog.Any("error", err))
	}
}

// look returns how many records are applied, and whether that is all.
func (r *rebuild) look(ctx context.Context) (applied int64, caughtUp bool, _ error) {
	p := r.processor
	if r.ends == nil {
		if err := r.readEnds(ctx); err != nil {
			return 0, false, err
		}
	}
	marks, err := p.store.AllMarks(ctx)
	if err != nil {
		return 0, false, err
	}
	var left int64
	for src, end := range r.ends {
		low := end
		for sh, m := range marks {
			if src.Topic == p.cfg.Topics.CDRs || p.store.CommandPartition(sh) == src.Partition {
				low = min(low, m[src].Next)
			}
		}
		applied += low
		left += end - low
	}
	if r.bar == nil {
		r.from, r.total = applied, left
		r.bar = newProgress(r.stderr, left, time.Now())
	}
	return applied, left == 0, nil
}

func (r *rebuild) readEnds(ctx context.Context) error {
	ends := map[balance.Source]int64{}
	for _, topic := range []string{r.processor.cfg.Topics.CDRs, r.processor.cfg.Topics.Commands} {
		all, err := r.processor.client.Ends(ctx, topic)
		if err != nil {
			return err
		}
		for p, end := range all {
			ends[balance.Source{Topic: topic, Partition: p}] = end
		}
	}
	r.ends = ends
	return nil
}

func (r *rebuild) show(ctx context.Context, done int64) {
	now := time.Now()
	r.bar.show(done, int(done), now)
	if r.bar.out == nil && now.Sub(r.told) >= rebuildTell {
		r.told = now
		r.processor.log.WarnContext(ctx, "rebuilds", slog.Int64("records", done), slog.Int64("of", r.total), slog.Duration("left", r.bar.left(done, now)))
	}
}
