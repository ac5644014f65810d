package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// A worker carries the records of one partition to the shards.
type worker struct {
	consumer      *Consumer
	source        balance.Source
	commands      bool // the partition is one of the commands topic
	judge         *judge
	lanes         []*lane
	absent        absent
	laneOf        map[int]int // shard -> lane
	readTo        balance.Last
	endAtTakeOver int64 // of the log; payment requests of a replay wait until it is applied

	waiting atomic.Pointer[string] // what the worker waits for; nil: nothing
	steady  atomic.Bool            // past its take-over: its marks may be confirmed
	catchUp atomic.Int64           // of commands: the end of the log at the take-over
	inHand  atomic.Int64           // append time of the first record of the batch that is applied; 0: there is none
	fetched atomic.Int64           // append time of the last record that was fetched; 0: it is the log's last

	mu    sync.Mutex
	fed   fed                     // all below is applied on every lane
	again context.CancelCauseFunc // of the session
}

// fed is a position that every lane has been fed up to.
type fed struct {
	next int64
	last balance.Last
}

// A takeOverError ends a session: the worker must take over again.
type takeOverError struct {
	cause string // of a closed set, for the metric
	err   error
}

func (e *takeOverError) Error() string { return e.cause + ": " + e.err.Error() }
func (e *takeOverError) Unwrap() error { return e.err }

func isTakeOver(err error) bool {
	_, ok := errors.AsType[*takeOverError](err)
	return ok
}

// over reports whether a context has ended.
func over(ctx context.Context) bool { return ctx.Err() != nil }

func newWorker(c *Consumer, src balance.Source) *worker {
	w := &worker{
		consumer: c, source: src, commands: src.Topic == c.cfg.CommandTopic, laneOf: map[int]int{},
		judge: &judge{decoder: c.cfg.Decoder, rater: c.cfg.Rater, store: c.cfg.Store}, absent: absent{slack: c.cfg.Store.Slack()},
	}
	for sh := range c.cfg.Store.Shards() {
		if !w.commands || c.cfg.Store.CommandPartition(sh) == src.Partition {
			w.laneOf[sh] = len(w.lanes)
			w.lanes = append(w.lanes, newLane(sh))
		}
	}
	w.wait("taking over")
	return w
}

func (w *worker) store() *balance.Store { return w.consumer.cfg.Store }
func (w *worker) metrics() *metrics     { return w.consumer.metrics }
func (w *worker) logger() *slog.Logger  { return w.consumer.cfg.Logger }
func (w *worker) wait(why string)       { w.waiting.Store(&why) }
func (w *worker) goOn()                 { w.waiting.Store(nil) }
func (w *worker) partition() slog.Attr  { return slog.String("partition", w.source.String()) }

// run works until stop ends, then finishes what is in hand, before hard ends. Its
// error is one that waiting does not mend.
func (w *worker) run(stop, hard context.Context) error {
	var lost time.Time // since when the log does not have what the marks speak of
	for attempt := 0; stop.Err() == nil; {
		began := w.consumer.cfg.Now()
		err := w.session(stop, hard)
		if err == nil && over(stop) {
			return nil // still steady: what was finished is confirmed and committed
		}
		w.steady.Store(false)
		if over(stop) || over(hard) {
			return nil
		}
		again, ok := errors.AsType[*takeOverError](err)
		if !ok {
			return fmt.Errorf("%s: %w", w.source, err)
		}
		if again.cause != causeLog {
			lost = time.Time{}
		} else if lost.IsZero() {
			lost = w.consumer.cfg.Now()
		} else if w.consumer.cfg.Now().Sub(lost) > w.consumer.cfg.Patience {
			return fmt.Errorf("%s: %w", w.source, again.err)
		}
		w.metrics().takeOvers.WithLabelValues(again.cause).Inc()
		level := slog.LevelDebug
		if attempt%30 == 0 { // about once a minute while something is away
			level = slog.LevelWarn
		}
		w.logger().Log(hard, level, "takes over again", w.partition(), slog.String("cause", again.cause), slog.Any("error", again.err))
		w.wait("taking over again: " + again.cause)
		if w.consumer.cfg.Now().Sub(began) > 10*time.Second {
			attempt = 0
		}
		if again.cause != causeRefused {
			_ = w.consumer.pause.Wait(stop, attempt)
			attempt++
		}
	}
	return nil
}

// session is one ownership: take over, then read, apply and publish side by side.
func (w *worker) session(stop, hard context.Context) error {
	ctx, again := context.WithCancelCause(hard)
	defer again(nil)
	w.mu.Lock()
	w.again = again
	w.mu.Unlock()

	if err := w.current(); err != nil {
		return err
	}
	held, from, err := w.takeOver(ctx, stop)
	if err != nil {
		return err
	}
	if w.commands {
		w.catchUp.Store(w.endAtTakeOver)
	}
	w.goOn()
	w.steady.Store(true)

	g, ctx := errgroup.WithContext(ctx)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	defer context.AfterFunc(stop, stopReading)()
	batches, jobs := make(chan *batch, 1), make(chan *job, 4)
	g.Go(func() error {
		defer close(batches)
		return w.read(reading, from, batches)
	})
	g.Go(func() error {
		defer close(jobs)
		for b := range batches {
			if stop.Err() != nil {
				continue // not begun: the next owner does it
			}
			if err := w.applyBatch(ctx, stop, b, jobs); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error { return w.publish(ctx, jobs, held) })
	if w.commands {
		g.Go(func() error { return w.timers(reading) })
	}
	err = g.Wait()
	if cause, ok := errors.AsType[*takeOverError](context.Cause(ctx)); ok && !isTakeOver(err) {
		err = cause
	}
	if err == nil && stop.Err() == nil {
		err = fmt.Errorf("session of %s ended without a reason", w.source)
	}
	return err
}

// inSession returns the position that every lane has been fed up to, and a way to
// end the session that fed them.
func (w *worker) inSession() (fed, context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fed, w.again
}

func (w *worker) nextFed() int64 {
	f, _ := w.inSession()
	return f.next
}

func (w *worker) setFed(f fed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fed = f
}

// read fetches and judges until ctx ends.
func (w *worker) read(ctx context.Context, from int64, out chan<- *batch) error {
	cfg := &w.consumer.cfg
	for failed := 0; ctx.Err() == nil; {
		f, err := w.consumer.cfg.Client.Fetch(ctx, w.source.Topic, w.source.Partition, from,
			kafka.FetchOptions{MaxWait: cfg.FetchWait, MaxBytes: cfg.FetchBytes})
		var ends []int64
		if err == nil && len(f.Records) > 0 && !w.commands {
			// after the fetch has answered: what is in the commands log by now goes first (rule 5)
			ends, err = w.consumer.cfg.Client.Ends(ctx, cfg.CommandTopic)
		}
		if err != nil {
			if over(ctx) {
				return nil
			}
			if err := w.fate(ctx, err, &failed); err != nil {
				return err
			}
			continue
		}
		if failed > 0 {
			w.goOn()
			failed = 0
		}
		w.seeFetched(&f)
		if f.Next == from {
			continue
		}
		from = f.Next
		b, err := w.prepare(&f, ends)
		if err != nil {
			return err
		}
		select {
		case out <- b:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (w *worker) prepare(f *kafka.Fetched, ends []int64) (*batch, error) {
	if err := w.current(); err != nil {
		return nil, err
	}
	if !f.LogAppendTime && len(f.Records) > 0 {
		w.metrics().producerTime.Inc()
	}
	w.metrics().batchRecords.Observe(float64(len(f.Records)))
	if w.commands {
		return w.judgeCommands(f)
	}
	b := w.judgeCDRs(f)
	b.ends = ends
	return b, nil
}

// fate decides what an error of reading the log means: wait and try again (nil),
// or stop for good.
func (w *worker) fate(ctx context.Context, err error, failed *int) error {
	if errors.Is(err, kafka.ErrOffsetOutOfRange) {
		return &takeOverError{causeLog, err} // the take-over says what is missing
	}
	if !kafka.Temporary(err) {
		return err
	}
	w.wait("waiting for Kafka")
	w.metrics().waits.WithLabelValues("kafka").Inc()
	w.metrics().errors.WithLabelValues("kafka_fetch").Inc()
	if *failed == 0 {
		w.logger().WarnContext(ctx, "waits for Kafka", w.partition(), slog.Any("error", err))
	}
	_ = w.consumer.pause.Wait(ctx, *failed)
	*failed++
	return nil
}
