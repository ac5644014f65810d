package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// Causes of a take-over after the first.
const (
	causeRefused = "refused" // the mark is not the expected one
	causeRedis   = "redis"   // a reply was lost, or Redis is away
	causeKafka   = "kafka"
	causeLog     = "log"     // the log does not have what was asked for
	causeCompare = "compare" // what records mean to other processes is not known
)

// takeOver reads marks and outboxes, checks that the log is the one that they
// speak of, publishes the outboxes, and returns the entries whose payment requests
// are still held and the offset to read from.
func (w *worker) takeOver(ctx, stop context.Context) (held []*balance.Entry, from int64, err error) {
	start, end, err := w.consumer.cfg.Client.Bounds(ctx, w.source.Topic, w.source.Partition)
	if over(ctx) {
		return nil, 0, context.Cause(ctx)
	}
	if err != nil {
		return nil, 0, w.kafkaAway(err)
	}
	shards := make([]int, len(w.lanes))
	for i, l := range w.lanes {
		shards[i] = l.shard
	}
	holdings, err := w.store().TakeOver(ctx, w.source, shards)
	if err != nil {
		return nil, 0, w.redisAway(err)
	}
	if err := w.lost(ctx, holdings); err != nil {
		return nil, 0, err
	}
	r := &replay{worker: w, holdings: holdings, start: start, end: end, from: math.MaxInt64}
	if err := r.plan(); err != nil {
		return nil, 0, err
	}
	w.seeRewind(ctx, holdings)
	for i := range holdings {
		w.lanes[i].reset(&holdings[i])
	}
	w.endAtTakeOver = end
	w.inHand.Store(0)
	if held, err = r.run(ctx, stop); err != nil {
		return nil, 0, err
	}
	low := lowest(holdings)
	w.readTo = low.Last
	w.setFed(fed{low.Next, low.Last})
	w.logger().InfoContext(ctx, "took over", w.partition(), slog.Int64("from", low.Next), slog.Int64("log_end", end),
		slog.Int("published_again", r.entries))
	return held, low.Next, nil
}

// lost asks about shards that have no mark of anything.
func (w *worker) lost(ctx context.Context, holdings []balance.Holding) error {
	unmarked := slices.ContainsFunc(holdings, func(h balance.Holding) bool { return h.Mark.Next == 0 })
	if !unmarked || w.consumer.cfg.Lost == nil {
		return nil
	}
	marks, err := w.store().AllMarks(ctx)
	if err != nil {
		return w.redisAway(err)
	}
	if bare := w.store().Bare(marks, w.source); len(bare) > 0 {
		return w.kafkaAway(w.consumer.cfg.Lost(ctx, w.source, bare))
	}
	return nil
}

// seeRewind says so when marks are lower than this worker was told: Redis has gone
// back, and what lies between is applied again.
func (w *worker) seeRewind(ctx context.Context, holdings []balance.Holding) {
	shards, furthest := 0, int64(0)
	for i := range holdings {
		if back := w.lanes[i].next() - holdings[i].Mark.Next; back > 0 {
			shards++
			furthest = max(furthest, back)
		}
	}
	if shards == 0 {
		return
	}
	w.metrics().rewinds.Inc()
	w.logger().WarnContext(ctx, "redis has gone back: its records are applied again", w.partition(),
		slog.Int("shards", shards), slog.Int64("records", furthest))
}

// kafkaAway makes an error of Kafka a reason to take over again later, if waiting
// helps.
func (w *worker) kafkaAway(err error) error {
	if !kafka.Temporary(err) {
		return err
	}
	w.metrics().waits.WithLabelValues("kafka").Inc()
	w.metrics().errors.WithLabelValues("kafka_fetch").Inc()
	return &takeOverError{causeKafka, err}
}

// redisAway does the same for an error of Redis.
func (w *worker) redisAway(err error) error {
	w.metrics().redisError(err)
	if !balance.Temporary(err) {
		return err
	}
	w.metrics().waits.WithLabelValues("redis").Inc()
	return &takeOverError{causeRedis, err}
}

// current makes it a reason to take over again when it is not known what records
// mean to other processes: what was judged meanwhile is forgotten.
func (w *worker) current() error {
	if w.consumer.cfg.Current == nil {
		return nil
	}
	if err := w.consumer.cfg.Current(); err != nil {
		w.metrics().waits.WithLabelValues(causeCompare).Inc()
		return &takeOverError{causeCompare, err}
	}
	return nil
}

func lowest(holdings []balance.Holding) balance.Mark {
	low := holdings[0].Mark
	for _, h := range holdings[1:] {
		if h.Mark.Next < low.Next {
			low = h.Mark
		}
	}
	return low
}

// A replay reads again what the outboxes speak of, and the last record before
// each mark.
type replay struct {
	worker     *worker
	holdings   []balance.Holding
	start, end int64 // of the log
	from, to   int64 // to read
	entries    int
	unchecked  []bool // of holding i: its last record is to be compared
}

// plan says what to read, or what is missing.
func (r *replay) plan() error {
	r.unchecked = make([]bool, len(r.holdings))
	need := func(from, to int64) { r.from, r.to = min(r.from, from), max(r.to, to) }
	for i, h := range r.holdings {
		m := h.Mark
		switch {
		case m.Next == 0 && r.start > 0:
			return fmt.Errorf("shard %d: this store has never applied the log, and its first %d records are gone (it begins at %d): "+
				"balances would not be those of the whole log; restore a Redis backup whose marks are in it, or use a new topic",
				h.Shard, r.start, r.start)
		case m.Next < r.start:
			return fmt.Errorf("shard %d: the mark is at %d but the log begins at %d: %d records are lost; "+
				"restore a Redis backup whose marks are in the log, or the log itself", h.Shard, m.Next, r.start, r.start-m.Next)
		case m.Next > r.end:
			// a new leader may not know the end of its log for a moment: see patience
			return &takeOverError{causeLog, fmt.Errorf("shard %d: the mark is at %d but the log ends at %d: the topic was recreated or truncated; "+
				"restore the log, or start with an empty Redis on this one", h.Shard, m.Next, r.end)}
		}
		if m.Last.Offset >= r.start {
			r.unchecked[i] = true
			need(m.Last.Offset, m.Last.Offset+1)
		}
		for _, e := range h.Outbox {
			if e.First < r.start {
				return fmt.Errorf("shard %d: a result entry of records %d to %d is not published, but the log begins at %d: "+
					"its retention is too short", h.Shard, e.First, e.End, r.start)
			}
			need(e.First, e.End)
			r.entries++
		}
	}
	return nil
}

// run reads and publishes. It returns the entries with payment requests.
func (r *replay) run(ctx, stop context.Context) (held []*balance.Entry, err error) {
	if err := r.read(ctx, stop); err != nil {
		return nil, err
	}
	for i, unchecked := range r.unchecked {
		if unchecked {
			return nil, r.otherLog(i, "is not in the log")
		}
	}
	var all []*balance.Entry
	for _, h := range r.holdings {
		all = append(all, h.Outbox...)
	}
	if len(all) == 0 {
		return nil, nil
	}
	if err := r.worker.consumer.cfg.Publisher.Publish(ctx, nil, nil, all); err != nil {
		return nil, r.worker.publishError(ctx, err)
	}
	return r.worker.acknowledge(all), nil
}

// read takes what was planned, batch by batch.
func (r *replay) read(ctx, stop context.Context) error {
	w := r.worker
	for failed := 0; r.from < r.to; {
		if over(stop) {
			return &takeOverError{causeLog, stop.Err()}
		}
		f, err := w.consumer.cfg.Client.Fetch(ctx, w.source.Topic, w.source.Partition, r.from,
			kafka.FetchOptions{MaxWait: w.consumer.cfg.FetchWait, MaxBytes: w.consumer.cfg.FetchBytes})
		if over(ctx) {
			return context.Cause(ctx)
		}
		if err != nil {
			if err := w.fate(ctx, err, &failed); err != nil {
				return err
			}
			continue
		}
		b, err := w.prepare(&f, nil)
		if err != nil {
			return err
		}
		if err := r.take(ctx, b); err != nil {
			return err
		}
		r.from = f.Next
	}
	return nil
}

// take compares last records, and publishes what the outboxes say of a batch.
func (r *replay) take(ctx context.Context, b *batch) error {
	w := r.worker
	for i := range r.holdings {
		last := r.holdings[i].Mark.Last
		k := find(b.records, last.Offset)
		if !r.unchecked[i] || k < 0 {
			continue
		}
		if got := balance.RecordDigest(b.records[k].Key, b.records[k].Value); got != last.Digest {
			return r.otherLog(i, "is "+got+" in the log")
		}
		r.unchecked[i] = false
	}
	var entries []*balance.Entry
	for i := range r.holdings {
		for _, e := range r.holdings[i].Outbox {
			if err := b.strayed(i, e); err != nil {
				return err
			}
		}
		entries = append(entries, r.holdings[i].Outbox...)
	}
	var d decisions
	if err := d.read(w, b, entries); err != nil || len(d.records) == 0 {
		return err
	}
	if err := w.consumer.cfg.Publisher.Publish(ctx, d.records, d.verdicts, nil); err != nil {
		return w.publishError(ctx, err)
	}
	return nil
}

// strayed is the error of a batch in which a record that an entry of a lane says
// something of belongs to another lane now.
func (b *batch) strayed(lane int, e *balance.Entry) error {
	for offset, x := range e.Exceptions {
		i := find(b.records, offset)
		if i < 0 {
			continue
		}
		if _, ok := slices.BinarySearch(b.byLane[lane], i); !ok {
			return changedPast(&b.records[i], &b.verdicts[i], x.Outcome)
		}
	}
	return nil
}

func (r *replay) otherLog(i int, what string) error {
	h := &r.holdings[i]
	return fmt.Errorf("shard %d: the record at %d, last before the mark, had digest %s and %s: "+
		"this is not the log that was applied (topic recreated or truncated?)", h.Shard, h.Mark.Last.Offset, h.Mark.Last.Digest, what)
}

// find returns the index of an offset in records, or -1.
func find(records []kafka.Record, offset int64) int {
	lo, hi := 0, len(records)
	for lo < hi {
		mid := (lo + hi) / 2
		if records[mid].Offset < offset {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(records) && records[lo].Offset == offset {
		return lo
	}
	return -1
}
