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
		err := w.appendDue(ctx)
		if now := w.consumer.cfg.Now(); err == nil && now.Sub(forgot) >= forgetEvery {
			err, forgot = w.forget(ctx), now
		}
		if err != nil && !over(ctx) {
			w.metrics().errors.WithLabelValues("timers").Inc()
			w.logger().WarnContext(ctx, "cannot look at timers: tried again", w.partition(), slog.Any("error", err))
		}
	}
}

// cdrEnds returns the ends of all cdrs partitions.
func (w *worker) cdrEnds(ctx context.Context) (balance.Ends, error) {
	topic := w.consumer.cfg.CDRTopic
	all, err := w.consumer.log.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends := balance.Ends{}
	for p, end := range all {
		ends[balance.Source{Topic: topic, Partition: p}] = end
	}
	return ends, nil
}

func (w *worker) appendDue(ctx context.Context) error {
	cfg := &w.consumer.cfg
	ends, err := w.cdrEnds(ctx)
	if err != nil {
		return err
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

// forget drops ids that no CDR can need any more.
func (w *worker) forget(ctx context.Context) error {
	ends, err := w.cdrEnds(ctx)
	if err != nil {
		return err
	}
	for _, l := range w.lanes {
		n, err := w.store().Forget(ctx, l.shard, ends)
		if err != nil {
			return err
		}
		w.metrics().forgotten.Add(float64(n))
	}
	return nil
}
