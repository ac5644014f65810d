package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// A job is what one round of calls decided.
type job struct {
	batch   *batch
	entries []*balance.Entry
}

// recheck is how often held payment requests are looked at.
const recheck = 100 * time.Millisecond

// publish writes what was decided, in order, until jobs is closed. held are
// entries of the take-over whose payment requests are not yet out.
func (w *worker) publish(ctx context.Context, jobs <-chan *job, held []*balance.Entry) error {
	timer := time.NewTimer(recheck)
	defer timer.Stop()
	var d decisions
	for {
		var err error
		if held, err = w.requestPayments(ctx, held); err != nil {
			return err
		}
		var again <-chan time.Time
		if len(held) > 0 {
			timer.Reset(recheck)
			again = timer.C
		}
		select {
		case j, ok := <-jobs:
			if !ok {
				return nil // what is still held stays in the outbox
			}
			if err := w.publishJob(ctx, j, &d); err != nil {
				return err
			}
			held = append(held, w.acknowledge(j.entries)...)
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *worker) publishJob(ctx context.Context, j *job, d *decisions) error {
	if err := d.read(w, j.batch, j.entries); err != nil {
		return err
	}
	if err := w.consumer.cfg.Publisher.Publish(ctx, d.records, d.verdicts, j.entries); err != nil {
		return w.publishError(ctx, err)
	}
	w.metrics().observePublished(d.records, d.verdicts, w.consumer.cfg.Now())
	return nil
}

// decisions are records with what became of each: no more than a batch has. They are
// large, so their memory is used again.
type decisions struct {
	records  []kafka.Record
	verdicts []balance.Verdict
}

// read finds the records of a batch that entries speak of. Commands leave no record,
// unless they are parked.
func (d *decisions) read(w *worker, b *batch, entries []*balance.Entry) error {
	d.records, d.verdicts = d.records[:0], d.verdicts[:0]
	for _, e := range entries {
		for _, i := range b.byLane[w.laneOf[e.Shard]] {
			rec, v := &b.records[i], &b.verdicts[i]
			if rec.Offset < e.First || rec.Offset >= e.End || w.commands && v.Outcome != balance.Parked {
				continue
			}
			d.records, d.verdicts = append(d.records, *rec), append(d.verdicts, *v)
			if err := decided(rec, &d.verdicts[len(d.verdicts)-1], e); err != nil {
				return err
			}
		}
	}
	return nil
}

// acknowledge notes that entries are published, and returns those whose payment
// requests are not: they stay in the outbox until these are out.
func (w *worker) acknowledge(entries []*balance.Entry) (held []*balance.Entry) {
	for _, e := range entries {
		if len(e.Requests) > 0 {
			held = append(held, e)
			continue
		}
		w.lanes[w.laneOf[e.Shard]].published(e)
	}
	return held
}

// requestPayments writes the payment requests of entries, oldest first, as far as
// they may go: on a replay only after the commands that were in the log at the
// take-over are applied, and only what is still unanswered (rule 10).
func (w *worker) requestPayments(ctx context.Context, held []*balance.Entry) ([]*balance.Entry, error) {
	for n, e := range held {
		for i := range e.Requests {
			open, ready, err := w.store().StillOpen(ctx, w.source, w.endAtTakeOver, &e.Requests[i])
			if err != nil {
				return nil, w.redisAway(err)
			}
			if !ready {
				return held[n:], nil
			}
			if !open {
				continue
			}
			if err := w.consumer.cfg.Publisher.RequestPayment(ctx, w.source, &e.Requests[i]); err != nil {
				return nil, w.publishError(ctx, err)
			}
		}
		w.lanes[w.laneOf[e.Shard]].published(e)
	}
	return nil, nil
}

// publishError says what a failed publication means: the publisher has waited for
// Kafka by itself, so what comes back is the end of the session, or for good.
func (w *worker) publishError(ctx context.Context, err error) error {
	w.metrics().errors.WithLabelValues("kafka_publish").Inc()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if kafka.Temporary(err) {
		return &takeOverError{causeKafka, err}
	}
	return fmt.Errorf("publish: %w", err)
}
