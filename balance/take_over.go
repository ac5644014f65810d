package balance

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Holding is what a new owner finds of one shard and source.
type Holding struct {
	Shard  int
	Mark   Mark
	Outbox []*Entry // oldest first, not known to be published
}

// TakeOver reads mark and outbox of shards for one source, each in one step. What
// the caller knew of them before is void.
func (s *Store) TakeOver(ctx context.Context, source Source, shards []int) ([]Holding, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	calls := make([]call, len(shards))
	for i, sh := range shards {
		calls[i] = call{takeOver, []string{marksKey(sh), outboxKey(sh, source)}, []any{source.String()}}
	}
	replies, errs := s.run(ctx, calls)
	if err := oneOf(errs); err != nil {
		return nil, err
	}
	out := make([]Holding, len(shards))
	for i, sh := range shards {
		words, err := texts(replies[i])
		if err != nil {
			return nil, fmt.Errorf("take over shard %d, %s: %w", sh, source, err)
		}
		out[i].Shard = sh
		if out[i].Mark, err = parseMark(words[0]); err != nil {
			return nil, fmt.Errorf("take over shard %d, %s: %w", sh, source, err)
		}
		for _, item := range words[1:] {
			e, err := parseEntry(sh, source, item)
			if err != nil {
				return nil, err
			}
			out[i].Outbox = append(out[i].Outbox, e)
		}
	}
	return out, nil
}

// A Confirmation asks a shard whether a mark is still the expected one; when it is,
// its offset moves to Next (never below Expect.Next) and the outbox is trimmed.
type Confirmation struct {
	Shard  int
	Source Source
	Expect Mark
	Next   int64
	Last   Last
	Trim   []string // names of published entries, oldest first
	OK     bool     // the answer
}

// New returns the mark after the confirmation.
func (c *Confirmation) New() Mark { return Mark{Next: c.Next, Name: c.Expect.Name, Last: c.Last} }

// Confirm asks one question per shard for all its confirmations, in one round
// trip. An error says nothing about any of them.
func (s *Store) Confirm(ctx context.Context, all []*Confirmation) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	byShard := map[int][]*Confirmation{}
	var order []int
	for _, c := range all {
		if byShard[c.Shard] == nil {
			order = append(order, c.Shard)
		}
		byShard[c.Shard] = append(byShard[c.Shard], c)
	}
	calls := make([]call, len(order))
	for i, sh := range order {
		calls[i] = call{script: confirm, keys: []string{marksKey(sh)}}
		for _, c := range byShard[sh] {
			m := c.New()
			calls[i].keys = append(calls[i].keys, outboxKey(sh, c.Source))
			calls[i].args = append(calls[i].args, c.Source.String(), c.Expect.expected(), m.expected()+m.Last.String(), strings.Join(c.Trim, " "))
		}
	}
	replies, errs := s.run(ctx, calls)
	if err := oneOf(errs); err != nil {
		return err
	}
	for i, sh := range order {
		words, err := texts(replies[i])
		if err != nil || len(words) != len(byShard[sh]) {
			return faultf("confirm shard %d: %d answers to %d questions: %w", sh, len(words), len(byShard[sh]), err)
		}
		for k, c := range byShard[sh] {
			c.OK = words[k] == "1"
		}
	}
	return nil
}

// StillOpen reports whether a payment request still wants an answer, once the
// commands source has been applied up to an offset; ready is false before that.
func (s *Store) StillOpen(ctx context.Context, source Source, end int64, p *PaymentRequest) (open, ready bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	sh := s.ShardOf(p.Account)
	replies, errs := s.run(ctx, []call{{
		stillOpen,
		[]string{marksKey(sh), accountKey(sh, p.Account)},
		[]any{source.String(), end, strconv.FormatInt(p.N, 10)},
	}})
	if errs[0] != nil {
		return false, false, errs[0]
	}
	n, ok := replies[0].(int64)
	if !ok {
		return false, false, faultf("run %s: reply is %T", stillOpen.name, replies[0])
	}
	return n == 1, n >= 0, nil
}

// Ends are the log ends of sources, read just before they are used.
type Ends map[Source]int64

// Forget drops slices of ids that no CDR can need any more, and returns how many.
// Ends must hold every cdrs partition, read after now.
func (s *Store) Forget(ctx context.Context, shard int, now time.Time, ends Ends) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	now = now.Add(-time.Minute - s.opt.Slack) // a broker's clock may be behind ours
	width, window := s.opt.SliceWidth.Milliseconds(), s.opt.Window.Milliseconds()
	past := floorDiv(now.UnixMilli()-window, width) - 1 // the newest slice that may go
	var from int64
	if v, err := s.rdb.HGet(ctx, marksKey(shard), "forgotten").Int64(); err == nil {
		from = v + 1
	} else if oldest, err := s.oldestSlice(ctx, shard); err != nil {
		return 0, err
	} else {
		from = oldest
	}
	dropped := 0
	for n := from; n <= past && dropped < 100; n++ {
		args := []any{(n+1)*width + window, n}
		for src, end := range ends {
			args = append(args, src.String(), end)
		}
		replies, errs := s.run(ctx, []call{{forget, []string{marksKey(shard), seenKey(shard, n)}, args}})
		if errs[0] != nil {
			return dropped, errs[0]
		}
		if replies[0] != int64(1) {
			return dropped, nil
		}
		dropped++
	}
	return dropped, nil
}

// oldestSlice returns the first slice that can hold an id in a store that has
// never forgotten one: that of the store's creation less the window.
func (s *Store) oldestSlice(ctx context.Context, shard int) (int64, error) {
	created, err := s.rdb.HGet(ctx, metaKey, "created").Result()
	if errors.Is(err, redis.Nil) { // emptied while we run: the marks notice, the logs fill it again
		if err := s.checkMeta(ctx); err != nil {
			return 0, err
		}
		created, err = s.rdb.HGet(ctx, metaKey, "created").Result()
	}
	if err != nil {
		return 0, fmt.Errorf("read %s for shard %d: %w", metaKey, shard, err)
	}
	t, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", metaKey, err)
	}
	return s.Slice(t.Add(-s.opt.Window)), nil
}
