package consumer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// A keeper confirms the marks of all workers of a generation about once a second,
// one call per shard, and then commits: a shard that went back is noticed even
// when it is idle.
type keeper struct {
	consumer   *Consumer
	workers    []*worker
	generation *kafka.Generation
	committed  map[kafka.TopicPartition]int64
}

// run keeps until over is closed.
func (k *keeper) run(ctx context.Context, over <-chan struct{}) {
	tick := time.NewTicker(k.consumer.cfg.Confirm)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
			k.keep(ctx)
		}
	}
}

// asked is one confirmation and the lane it is about, whose call is held.
type asked struct {
	worker *worker
	lane   *lane
	*balance.Confirmation
}

// keep confirms and commits once.
func (k *keeper) keep(ctx context.Context) {
	all := k.questions()
	defer func() {
		for _, a := range all {
			a.lane.call.Unlock()
		}
	}()
	if err := k.confirm(ctx, all); err != nil {
		k.consumer.metrics.errors.WithLabelValues("redis").Inc()
		if !balance.Temporary(err) {
			k.consumer.cfg.Logger.ErrorContext(ctx, "cannot confirm marks", slog.Any("error", err))
		}
		return
	}
	k.commit(ctx)
	k.consumer.metrics.confirmations.Inc()
}

// questions holds the call of every lane that has none in flight: a call in
// flight confirms by itself.
func (k *keeper) questions() []asked {
	var all []asked
	for _, w := range k.workers {
		if !w.steady.Load() {
			continue
		}
		fed := w.fedTo()
		for _, l := range w.lanes {
			if !l.call.TryLock() {
				continue
			}
			c := &balance.Confirmation{Shard: l.shard, Source: w.source, Expect: l.mark, Next: l.mark.Next, Last: l.mark.Last}
			if fed.next > c.Next {
				c.Next, c.Last = fed.next, fed.last
			}
			all = append(all, asked{w, l, c})
		}
	}
	return all
}

func (k *keeper) confirm(ctx context.Context, all []asked) error {
	questions := make([]*balance.Confirmation, len(all))
	for i, a := range all {
		questions[i] = a.Confirmation
	}
	if err := k.consumer.cfg.Store.Confirm(ctx, questions); err != nil {
		return err
	}
	for _, a := range all {
		if a.OK {
			a.lane.confirmed(a.New())
		} else {
			a.worker.refuse(a.Shard)
		}
	}
	return nil
}

func (k *keeper) commit(ctx context.Context) {
	offsets := map[kafka.TopicPartition]int64{}
	for _, w := range k.workers {
		if !w.steady.Load() {
			continue
		}
		tp := kafka.TopicPartition{Topic: w.source.Topic, Partition: w.source.Partition}
		offset, waiting := w.done()
		k.consumer.metrics.outbox.WithLabelValues(w.source.Topic, partitionLabel(w.source)).Set(float64(waiting))
		if before, ok := k.committed[tp]; !ok || offset > before {
			offsets[tp] = offset
		}
	}
	if len(offsets) == 0 {
		return
	}
	if err := k.generation.Commit(offsets); err != nil {
		if !errors.Is(err, kafka.ErrGenerationEnded) {
			k.consumer.metrics.errors.WithLabelValues("kafka_commit").Inc()
			k.consumer.cfg.Logger.WarnContext(ctx, "cannot commit: tried again", slog.Any("error", err))
		}
		return
	}
	maps.Copy(k.committed, offsets)
}

// done is the offset below which all is applied on every lane and published.
func (w *worker) done() (offset int64, waiting int) {
	for i, l := range w.lanes {
		o, n := l.done()
		if i == 0 || o < offset {
			offset = o
		}
		waiting += n
	}
	return offset, waiting
}
