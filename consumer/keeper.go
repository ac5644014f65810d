package consumer

import (
	"context"
	"errors"
	"fmt"
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

// run keeps until over is closed. Its error is one that waiting does not mend.
func (k *keeper) run(ctx context.Context, over <-chan struct{}) error {
	timer := time.NewTimer(k.consumer.cfg.Confirm)
	defer timer.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-timer.C:
			if err := k.keep(ctx); err != nil {
				return err
			}
			timer.Reset(k.consumer.cfg.Confirm)
		}
	}
}

// asked is one confirmation, the lane it is about, whose call is held, and how to
// end the session that it was asked for.
type asked struct {
	*balance.Confirmation

	worker *worker
	lane   *lane
	again  context.CancelCauseFunc
}

// keep confirms, trims and commits once. While Redis is away it says so to Ready.
func (k *keeper) keep(ctx context.Context) error {
	for _, w := range k.workers {
		w.seeAge(k.consumer.cfg.Now())
	}
	refused, err := k.confirm(ctx)
	switch {
	case err == nil:
		k.consumer.away.Store(nil)
		k.commit(ctx, refused)
		if len(refused) == 0 {
			k.consumer.metrics.confirmations.Inc()
		}
	case balance.Temporary(err):
		if k.consumer.away.Swap(new("waiting for Redis")) == nil {
			k.consumer.cfg.Logger.WarnContext(ctx, "waits for Redis", slog.Any("error", err))
		}
		k.consumer.metrics.redisError(err)
		k.consumer.metrics.waits.WithLabelValues("redis").Inc()
		err = nil
	}
	return err
}

// questions holds the call of every lane that has none in flight: a call in
// flight confirms by itself. What is asked is of one session: a take-over waits
// for the lane before it changes its mark, and no lane is steady before all are.
func (k *keeper) questions() []asked {
	var all []asked
	for _, w := range k.workers {
		for _, l := range w.lanes {
			if !l.call.TryLock() {
				continue
			}
			if !w.steady.Load() {
				l.call.Unlock()
				continue
			}
			fed, again := w.inSession()
			c := &balance.Confirmation{
				Shard: l.shard, Source: w.source, Expect: l.mark, Next: l.mark.Next, Last: l.mark.Last, Trim: l.trims(),
			}
			if fed.next > c.Next {
				c.Next, c.Last = fed.next, fed.last
			}
			all = append(all, asked{c, w, l, again})
		}
	}
	return all
}

// confirm asks, and returns the workers of which a shard refused.
func (k *keeper) confirm(ctx context.Context) (refused map[*worker]bool, err error) {
	all := k.questions()
	defer func() {
		for _, a := range all {
			a.lane.call.Unlock()
		}
	}()
	questions := make([]*balance.Confirmation, len(all))
	for i, a := range all {
		questions[i] = a.Confirmation
	}
	if err := k.consumer.cfg.Store.Confirm(ctx, questions); err != nil {
		return nil, err
	}
	refused = map[*worker]bool{}
	for _, a := range all {
		if a.OK {
			a.lane.confirmed(a.New(), len(a.Trim))
			continue
		}
		refused[a.worker] = true
		a.again(&takeOverError{causeRefused, fmt.Errorf("shard %d does not confirm the mark", a.Shard)})
	}
	return refused, nil
}

func (k *keeper) commit(ctx context.Context, refused map[*worker]bool) {
	offsets := map[kafka.TopicPartition]int64{}
	for _, w := range k.workers {
		if !w.steady.Load() || refused[w] {
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
