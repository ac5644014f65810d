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
			if err := w.publishJob(ctx, j); err != nil {
				return err
			}
			held = append(held, w.acknowledge(j.entries)...)
		case <-again:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *worker) publishJob(ctx context.Context, j *job) error {
	var records []kafka.Record
	var verdicts []balance.Verdict
	for _, e := range j.entries {
		rs, vs, err := j.batch.decided(w, w.laneOf[e.Shard], e)
		if err != nil {
			return err
		}
		records, verdicts = append(records, rs...), append(verdicts, vs...)
	}
	if err := w.consumer.cfg.Publisher.Publish(ctx, records, verdicts, j.entries); err != nil {
		return w.publishError(ctx, err)
	}
	w.metrics().observePublished(records, verdicts, w.consumer.cfg.Now())
	return nil
}

// decided returns the records of a lane that an entry speaks of, with what became
// of them. Commands leave no record, unless they are parked.
func (b *batch) decided(w *worker, lane int, e *balance.Entry) ([]kafka.Record, []balance.Verdict, error) {
	var records []kafka.Record
	var verdicts []balance.Verdict
	for _, i := range b.byLane[lane] {
		rec, v := &b.records[i], b.verdicts[i]
		if rec.Offset < e.First || rec.Offset >= e.End {
			continue
		}
		if w.commands && v.Outcome != balance.Parked {
			continue
		}
		if err := decided(rec, &v, e); err != nil {
			return nil, nil, err
		}
		records, verdicts = append(records, *rec), append(verdicts, v)
	}
	return records, verdicts, nil
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
