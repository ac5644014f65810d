package verify

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// ErrUnreadable is wrapped by errors that say that the logs are not those that Redis
// speaks of, or no longer: nothing can be said of any balance.
var ErrUnreadable = errors.New("balances cannot be recomputed")

// Config is what a run needs. All but Progress and the limits is required.
type Config struct {
	Client     *kafka.Client
	Store      *balance.Store // attached
	RatedTopic string
	Decoder    *cdr.Decoder
	Mappings   []balance.MappingVersion // what Decoder reads by
	Decks      *rating.Decks
	Now        func() time.Time

	// Progress is told how many of how many records are read, about every
	// thousand of them, from several goroutines; may be nil.
	Progress func(done, total int64)

	PageSize int // accounts read at once; default 500
	Explain  int // differences whose records are looked for; default 100
}

// A run is one comparison.
type run struct {
	Config

	limits   consumer.Limits
	slack    int64 // ms
	seed     maphash.Seed
	shards   []*shard
	cdrs     []log // by partition
	commands []log
	rated    []log // of the rated topic; nil: it is not needed

	done, total atomic.Int64
	counts      counts
}

// A log is one partition as this run reads it.
type log struct {
	source     balance.Source
	start, end int64 // of the log
	limit      int64 // the highest mark: nothing at or above it is read
}

// Run compares. Its error is one of Redis or Kafka, or wraps ErrUnreadable: then
// there is no report.
func Run(ctx context.Context, cfg *Config) (*Report, error) {
	r := &run{Config: *cfg, seed: maphash.MakeSeed(), slack: cfg.Store.Slack().Milliseconds()}
	if r.PageSize == 0 {
		r.PageSize = 500
	}
	if r.Explain == 0 {
		r.Explain = 100
	}
	longest, dearest := r.Store.Limits()
	r.limits = consumer.Limits{Window: r.Store.Window(), MaxDuration: longest, MaxCharge: dearest}
	began := r.Now()
	if err := r.snapshot(ctx); err != nil {
		return nil, err
	}
	if err := r.survey(ctx); err != nil {
		return nil, err
	}
	if err := r.checkConfiguration(ctx); err != nil {
		return nil, err
	}
	if err := r.readCommands(ctx); err != nil {
		return nil, err
	}
	if err := r.readCalls(ctx); err != nil {
		return nil, err
	}
	if err := r.stillThere(ctx); err != nil {
		return nil, err
	}
	rep := r.compare()
	if err := r.explain(ctx, rep); err != nil {
		return nil, err
	}
	rep.Took = r.Now().Sub(began)
	return rep, nil
}

// survey looks how far the logs reach, and whether that is where the marks point.
func (r *run) survey(ctx context.Context) error {
	var err error
	if r.commands, err = r.logsOf(ctx, r.Store.CommandTopic()); err != nil {
		return err
	}
	if r.cdrs, err = r.logsOf(ctx, r.Store.CDRTopic()); err != nil {
		return err
	}
	for _, s := range r.shards {
		if err := r.limit(s); err != nil {
			return err
		}
	}
	gone := false
	for i := range r.commands {
		if l := &r.commands[i]; l.start > 0 && l.limit > 0 {
			return fmt.Errorf("%w: %s begins at %d, and commands must be kept for ever", ErrUnreadable, l.source, l.start)
		}
	}
	for i := range r.cdrs {
		l := &r.cdrs[i]
		gone = gone || l.start > 0 && l.limit > 0
		r.total.Add(max(0, l.limit-l.start))
	}
	for i := range r.commands {
		r.total.Add(r.commands[i].limit)
	}
	if gone {
		if r.rated, err = r.logsOf(ctx, r.RatedTopic); err != nil {
			return err
		}
		for i := range r.rated {
			r.rated[i].limit = r.rated[i].end
			r.total.Add(r.rated[i].end - r.rated[i].start)
		}
	}
	return nil
}

func (r *run) logsOf(ctx context.Context, topic string) ([]log, error) {
	infos, err := r.Client.Topics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("look for topic %s: %w", topic, err)
	}
	info, ok := infos[topic]
	if !ok {
		return nil, fmt.Errorf("%w: topic %s does not exist: is it the right cluster?", ErrUnreadable, topic)
	}
	logs := make([]log, info.Partitions)
	for p := range logs {
		start, end, err := r.Client.Bounds(ctx, topic, p)
		if err != nil {
			return nil, err
		}
		logs[p] = log{source: balance.Source{Topic: topic, Partition: p}, start: start, end: end}
	}
	return logs, nil
}

// limit raises the limits of logs to the marks of a shard.
func (r *run) limit(s *shard) error {
	for _, m := range s.pages {
		for src, next := range m.next {
			logs := r.cdrs
			if src.Topic == r.Store.CommandTopic() {
				logs = r.commands
			} else if src.Topic != r.Store.CDRTopic() {
				continue
			}
			if src.Partition >= len(logs) {
				return fmt.Errorf("%w: shard %d has a mark of %s, and the topic has %d partitions", ErrUnreadable, s.number, src, len(logs))
			}
			l := &logs[src.Partition]
			if next > l.end {
				return fmt.Errorf("%w: shard %d: the mark of %s is at %d, and the log ends at %d: the topic was recreated or truncated",
					ErrUnreadable, s.number, src, next, l.end)
			}
			l.limit = max(l.limit, next)
		}
	}
	return nil
}

// checkConfiguration compares decks and mapping with those that the store was made by,
// as far back as the records that are read.
func (r *run) checkConfiguration(ctx context.Context) error {
	oldest := r.Now()
	for i := range r.cdrs {
		l := &r.cdrs[i]
		for rec, err := range r.Client.Scan(ctx, l.source.Topic, l.source.Partition, l.start) {
			if err != nil {
				return err
			}
			if at := time.UnixMilli(rec.AppendMillis); at.Before(oldest) {
				oldest = at
			}
			break
		}
	}
	reach := r.Now().Sub(oldest) + r.Store.Window()
	if err := r.Store.CheckDecks(ctx, r.Decks.Versions(), reach); err != nil {
		return fmt.Errorf("these are not the decks of the processors: %w", err)
	}
	if err := r.Store.CheckMappings(ctx, r.Mappings, reach); err != nil {
		return fmt.Errorf("records are not read as the processors do: %w", err)
	}
	return nil
}

// stillThere reports whether retention took records while they were read.
func (r *run) stillThere(ctx context.Context) error {
	for i := range r.cdrs {
		l := &r.cdrs[i]
		start, _, err := r.Client.Bounds(ctx, l.source.Topic, l.source.Partition)
		if err != nil {
			return err
		}
		if start > l.start && l.limit > l.start {
			return fmt.Errorf("%w: retention has deleted records %d to %d of %s while they were read: run it again",
				ErrUnreadable, l.start, start, l.source)
		}
	}
	return nil
}

// scan tells take of every record of a log below its limit.
func (r *run) scan(ctx context.Context, l *log, take func(*kafka.Record) error) error {
	if l.start >= l.limit {
		return nil
	}
	at := l.start
	for rec, err := range r.Client.Scan(ctx, l.source.Topic, l.source.Partition, l.start) {
		if err != nil {
			return err
		}
		if rec.Offset >= l.limit {
			break
		}
		if err := take(rec); err != nil {
			return err
		}
		if rec.Offset-at >= 1000 {
			r.progress(rec.Offset - at)
			at = rec.Offset
		}
	}
	r.progress(l.limit - at)
	return ctx.Err()
}

func (r *run) progress(n int64) {
	if done := r.done.Add(n); r.Progress != nil {
		r.Progress(done, r.total.Load())
	}
}
