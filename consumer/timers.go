package consumer

import (
	"context"
	"log/slog"
	"time"

	"github.com/creditstream/creditstream/balance"
)

const (
	timerEvery  = time.Second // between looks at what is due
	forgetEvery = time.Minute // between looks at ids that may go
)

// timers appends the commands of what is due on this partition's shards. It is
// run by the owner of the commands partition; to append one twice is harmless.
func (w *worker) timers(ctx context.Context) error {
	tick := time.NewTicker(timerEvery)
	defer tick.Stop()
	var forgot time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		forget := w.consumer.cfg.Now().Sub(forgot) >= forgetEvery
		if err := w.lookAtTimers(ctx, forget); err != nil && ctx.Err() == nil {
			w.metrics().errors.WithLabelValues("timers").Inc()
			w.logger().WarnContext(ctx, "cannot look at timers: tried again", w.partition(), slog.Any("error", err))
			continue
		}
		if forget {
			forgot = w.consumer.cfg.Now()
		}
	}
}

func (w *worker) lookAtTimers(ctx context.Context, forget bool) error {
	cfg := &w.consumer.cfg
	ends := balance.Ends{}
	cdrs, err := w.consumer.log.Ends(ctx, cfg.CDRTopic)
	if err != nil {
		return err
	}
	for p, end := range cdrs {
		ends[balance.Source{Topic: cfg.CDRTopic, Partition: p}] = end
	}
	for _, l := range w.lanes {
		if forget {
			n, err := w.store().Forget(ctx, l.shard, ends)
			if err != nil {
				return err
			}
			w.metrics().forgotten.Add(float64(n))
		}
	}
	commands, err := w.consumer.log.Ends(ctx, cfg.CommandTopic)
	if err != nil {
		return err
	}
	end := commands[w.source.Partition]
	ends[w.source] = end
	for _, l := range w.lanes {
		if l.next() < end {
			continue // timers appended before are not all applied yet
		}
		due, err := w.store().Due(ctx, l.shard, ends)
		if err != nil {
			return err
		}
		for _, c := range due {
			if _, _, err := cfg.Commander.Append(ctx, c); err != nil {
				return err
			}
		}
	}
	return nil
}
