package balance

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/rating"
)

// maxDue is how many timers of a shard one look returns.
const maxDue = 1000

// Due returns the timer commands of a shard that are due now, oldest first. To
// append one twice is harmless; it stays due until it is applied. ends must hold
// every cdrs partition and the shard's commands partition, read before the call:
// a lot whose late calls may still be on their way is left for later. ends must be
// read after now. A timer that cannot be read is an error beside the others.
func (s *Store) Due(ctx context.Context, shard int, now time.Time, ends Ends) ([]*Command, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	items, err := s.rdb.ZRangeByScoreWithScores(ctx, dueKey(shard), &redis.ZRangeBy{
		Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Count: maxDue,
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read timers of shard %d: %w", shard, err)
	}
	var out []*Command
	var errs []error
	for _, z := range items {
		member, _ := z.Member.(string)
		c, err := s.timer(ctx, shard, member, int64(z.Score), ends)
		if err != nil {
			errs = append(errs, err)
		} else if c != nil {
			out = append(out, c)
		}
	}
	return out, oneOf(errs)
}

func (s *Store) timer(ctx context.Context, shard int, member string, at int64, ends Ends) (*Command, error) {
	f := strings.SplitN(member, "/", 3)
	if len(f) != 3 {
		return nil, faultf("timer %q of shard %d: want kind/account/key", member, shard)
	}
	c := &Command{Account: f[1]}
	switch f[0] {
	case "unanswered":
		c.Type = Unanswered
	case "retry":
		c.Type = Retry
	case "warn":
		return s.warningOf(ctx, shard, f[1], f[2])
	case "expire":
		return s.expiryOf(ctx, shard, f[1], f[2], at, ends)
	default:
		return nil, faultf("timer %q of shard %d: unknown kind: was it set by a newer version?", member, shard)
	}
	n, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return nil, faultf("timer %q of shard %d: %w", member, shard, err)
	}
	c.N = n
	return c, nil
}

func (s *Store) expiryOf(ctx context.Context, shard int, account, lot string, at int64, ends Ends) (*Command, error) {
	args := []any{lot, at}
	for src, end := range ends {
		byTime := 0
		if src.Topic == s.opt.CDRTopic {
			byTime = 1
		}
		args = append(args, src.String(), end, byTime)
	}
	replies, errs := s.run(ctx, []call{{
		expiry, []string{marksKey(shard), accountKey(shard, account), lotsKey(shard, account)}, args,
	}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	words, err := texts(replies[0])
	if err != nil || len(words) == 0 {
		return nil, faultf("expiry of shard %d: reply %v: %w", shard, replies[0], err)
	}
	amount := rating.Micros(0)
	switch words[0] {
	case "LAG", "WAIT":
		return nil, nil //nolint:nilnil // not now: it stays due
	case "GONE": // the command clears the timer
	case "OK":
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return nil, faultf("expiry of shard %d: %w", shard, err)
		}
		amount = rating.Micros(n)
	default:
		return nil, faultf("expiry of shard %d: status %q", shard, words[0])
	}
	return &Command{Type: ExpireLot, Account: account, Lot: lot, Amount: &amount}, nil
}

// warningOf returns the command that says what a lot holds. key is <days>:<lot>.
func (s *Store) warningOf(ctx context.Context, shard int, account, key string) (*Command, error) {
	days, lot, _ := strings.Cut(key, ":")
	n, err := strconv.ParseInt(days, 10, 64)
	if err != nil {
		return nil, faultf("warning %q of shard %d: %w", key, shard, err)
	}
	replies, errs := s.run(ctx, []call{{holds, []string{accountKey(shard, account), lotsKey(shard, account)}, []any{lot}}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	text, _ := replies[0].(string)
	amount, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, faultf("what a lot of shard %d holds: reply %v: %w", shard, replies[0], err)
	}
	m := rating.Micros(amount)
	return &Command{Type: WarnLot, Account: account, Lot: lot, Days: n, Amount: &m}, nil
}
