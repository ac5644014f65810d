package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// WriterOptions bound a Writer. Zero values mean the defaults.
type WriterOptions struct {
	// MaxBatchBytes bounds a batch by an upper estimate of its size; a single
	// larger message goes alone. Default 900 KiB: brokers take 1 MiB by default
	// and refuse a batch as a whole.
	MaxBatchBytes int
	// Concurrency is how many partitions are written at a time. Default: 8.
	Concurrency int
	// Backoff spaces the attempts. Default: 100 ms up to 5 s.
	Backoff Backoff
	// UnknownTopicAfter is how long a topic or partition that does not exist is
	// waited for. Default: 30 s.
	UnknownTopicAfter time.Duration
	// OnRetry, if set, is told each error that is waited out, for a metric. It
	// is called from several goroutines.
	OnRetry func(err error)
}

// Writer writes many messages to many partitions until they are acknowledged.
// It is safe for concurrent use; calls do not wait for each other, so the order
// within a partition is that of one call.
type Writer struct {
	c   *Client
	opt WriterOptions
}

// NewWriter returns a Writer on c.
func NewWriter(c *Client, opt WriterOptions) *Writer {
	if opt.MaxBatchBytes <= 0 {
		opt.MaxBatchBytes = 900 << 10
	}
	if opt.Concurrency <= 0 {
		opt.Concurrency = 8
	}
	if opt.UnknownTopicAfter <= 0 {
		opt.UnknownTopicAfter = 30 * time.Second
	}
	return &Writer{c: c, opt: opt}
}

// WriteAll returns nil when all in-sync replicas have every message. Messages of
// one partition are appended in their order: a batch is sent only after the one
// before it was acknowledged. Temporary errors are retried until ctx ends; a
// batch whose reply was lost is written again, so copies may occur, also later
// in the log. Any other error is returned at once, and then some messages may
// have been written.
func (w *Writer) WriteAll(ctx context.Context, msgs []Message) error {
	parts, err := w.group(ctx, msgs)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(w.opt.Concurrency)
	for _, p := range parts {
		group.Go(func() error { return w.writePartition(ctx, p.tp, p.msgs) })
	}
	return group.Wait()
}

type partitionMessages struct {
	tp   TopicPartition
	msgs []Message
}

// group splits msgs by partition, in the order of their first messages.
func (w *Writer) group(ctx context.Context, msgs []Message) ([]partitionMessages, error) {
	var parts []partitionMessages
	index := make(map[TopicPartition]int)
	choose := chooser{w: w}
	part, counts := make([]int, len(msgs)), []int(nil) // of message i: its part; of part k: how many
	for i := range msgs {
		m := &msgs[i]
		tp := TopicPartition{Topic: m.Topic, Partition: m.Partition}
		if tp.Partition == AnyPartition {
			var err error
			if tp.Partition, err = choose.partition(ctx, m); err != nil {
				return nil, err
			}
		}
		k, ok := index[tp]
		if !ok {
			k = len(parts)
			index[tp] = k
			parts, counts = append(parts, partitionMessages{tp: tp}), append(counts, 0)
		}
		part[i] = k
		counts[k]++
	}
	for k := range parts {
		parts[k].msgs = make([]Message, 0, counts[k])
	}
	for i, k := range part {
		parts[k].msgs = append(parts[k].msgs, msgs[i])
	}
	return parts, nil
}

// chooser picks partitions for the messages of one WriteAll.
type chooser struct {
	w      *Writer
	counts map[string]int
	keyed  map[string]int // the partition for messages without a key
}

func (c *chooser) partition(ctx context.Context, m *Message) (int, error) {
	n, ok := c.counts[m.Topic]
	if !ok {
		err := c.w.retry(ctx, "count partitions of "+m.Topic, func() (err error) {
			n, err = c.w.c.partitions(ctx, m.Topic)
			return err
		})
		if err != nil {
			return 0, err
		}
		if c.counts == nil {
			c.counts, c.keyed = make(map[string]int), make(map[string]int)
		}
		c.counts[m.Topic] = n
		c.keyed[m.Topic] = rand.IntN(n) //nolint:gosec // spreads load, protects nothing
	}
	if m.Key == nil {
		return c.keyed[m.Topic], nil
	}
	return PartitionForKey(m.Key, n), nil
}

// writePartition writes msgs in order, a batch at a time.
func (w *Writer) writePartition(ctx context.Context, tp TopicPartition, msgs []Message) error {
	limit := w.opt.MaxBatchBytes
	for len(msgs) > 0 {
		n := fit(msgs, limit)
		err := w.retry(ctx, "write to "+tp.String(), func() error {
			_, err := w.c.write(ctx, tp, msgs[:n])
			return err
		})
		if tooLarge(err) && n > 1 {
			// The topic takes less than we thought: halve and go on.
			limit = min(limit, batchBytes(msgs[:n])) / 2
			continue
		}
		if err != nil {
			return fmt.Errorf("write %d messages to %s: %w", n, tp, err)
		}
		msgs = msgs[n:]
	}
	return nil
}

// retry runs attempt until it succeeds, fails for good or ctx ends.
func (w *Writer) retry(ctx context.Context, what string, attempt func() error) error {
	var unknownSince time.Time
	for i := 0; ; i++ {
		err := attempt()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !Temporary(err):
			return err
		}
		if !unknownTopic(err) {
			unknownSince = time.Time{}
		} else if now := w.c.cfg.Now(); unknownSince.IsZero() {
			unknownSince = now
		} else if now.Sub(unknownSince) >= w.opt.UnknownTopicAfter {
			return fmt.Errorf("still so after %s: %w", w.opt.UnknownTopicAfter, err)
		}
		w.c.cfg.Logger.WarnContext(ctx, "kafka write is retried",
			slog.String("action", what), slog.Int("attempt", i+1), slog.Any("error", err))
		if w.opt.OnRetry != nil {
			w.opt.OnRetry(err)
		}
		if waitErr := w.opt.Backoff.Wait(ctx, i); waitErr != nil {
			return errors.Join(waitErr, err)
		}
	}
}

// fit returns how many of msgs, at least one, fit into limit bytes.
func fit(msgs []Message, limit int) int {
	size := batchRecordsAt
	for i := range msgs {
		size += messageBytes(&msgs[i])
		if size > limit {
			return max(i, 1)
		}
	}
	return len(msgs)
}

func batchBytes(msgs []Message) int {
	size := batchRecordsAt
	for i := range msgs {
		size += messageBytes(&msgs[i])
	}
	return size
}

// messageBytes is an upper bound of a record's size in a batch: every length is
// a varint of at most five bytes, the time delta one of ten.
func messageBytes(m *Message) int {
	size := 5 + 1 + 10 + 5 + 5 + len(m.Key) + 5 + len(m.Value) + 5
	for _, h := range m.Headers {
		size += 5 + len(h.Key) + 5 + len(h.Value)
	}
	return size
}
