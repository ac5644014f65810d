package consumer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/creditstream/creditstream/balance"
)

const (
	timerEvery  = time.Second // between looks at what is due
	forgetEvery = time.Minute // between looks at ids that may go

	timerPatience = 10 * time.Second // for an appended timer to be applied, before it is appended again
)

// timers appends the commands of what is due on this partition's shards. It is
// run by the owner of the commands partition; to append one twice is harmless.
func (w *worker) timers(ctx context.Context) error {
	timer := time.NewTimer(timerEvery)
	defer timer.Stop()
	var forgot time.Time
	sent := map[string]time.Time{} // timers appended of late
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			timer.Reset(timerEvery)
		}
		err := w.appendDue(ctx, sent)
		if now := w.consumer.cfg.Now(); err == nil && now.Sub(forgot) >= forgetEvery {
			err, forgot = w.forget(ctx), now
		}
		if err == nil || over(ctx) {
			failed = 0
			continue
		}
		w.metrics().errors.WithLabelValues("timers").Inc()
		if failed%60 == 0 {
			w.logger().WarnContext(ctx, "cannot look at timers: tried again every second", w.partition(), slog.Any("error", err))
		}
		failed++
	}
}

// cdrEnds returns the ends of all cdrs partitions.
func (w *worker) cdrEnds(ctx context.Context) (balance.Ends, error) {
	topic := w.consumer.cfg.CDRTopic
	all, err := w.consumer.cfg.Client.Ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends := balance.Ends{}
	for p, end := range all {
		ends[balance.Source{Topic: topic, Partition: p}] = end
	}
	return ends, nil
}

// appendDue appends what is due. What was appended a moment ago is not appended
// again: it may not be applied yet.
func (w *worker) appendDue(ctx context.Context, sent map[string]time.Time) error {
	cfg := &w.consumer.cfg
	now := cfg.Now() // before the ends: what is due now must not count on what comes later
	maps.DeleteFunc(sent, func(_ string, at time.Time) bool { return now.Sub(at) > timerPatience })
	ends, err := w.cdrEnds(ctx)
	if err != nil {
		return err
	}
	commands, err := w.consumer.cfg.Client.Ends(ctx, cfg.CommandTopic)
	if err != nil {
		return err
	}
	ends[w.source] = commands[w.source.Partition]
	var failed error // one is enough: they are likely alike
	for _, l := range w.lanes {
		due, err := w.store().Due(ctx, l.shard, now, ends)
		failed = cmp.Or(failed, err)
		for _, c := range due {
			key := fmt.Sprint(c.Type, " ", c.Account, " ", c.N, " ", c.Lot)
			if _, ok := sent[key]; ok {
				continue
			}
			if _, _, err := cfg.Commander.Append(ctx, c); err != nil {
				return err
			}
			sent[key] = now
		}
	}
	return failed
}

// forget drops ids that no CDR can need any more.
func (w *worker) forget(ctx context.Context) error {
	now := w.consumer.cfg.Now() // before the ends, as above
	ends, err := w.cdrEnds(ctx)
	if err != nil {
		return err
	}
	for _, l := range w.lanes {
		n, err := w.store().Forget(ctx, l.shard, now, ends)
		if err != nil {
			return err
		}
		w.metrics().forgotten.Add(float64(n))
	}
	return nil
}
