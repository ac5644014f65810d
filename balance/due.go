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

// Due returns the timer commands of a shard that are due now, oldest first, at most
// maxDue of them. To append one twice is harmless; it stays due until it is applied.
// ends must hold every cdrs partition and the shard's commands partition, read
// before the call: a lot whose late calls may still be on their way is left for
// later, and holds up no other timer. ends must be read after now. A timer that
// cannot be read is an error beside the others.
func (s *Store) Due(ctx context.Context, shard int, now time.Time, ends Ends) ([]*Command, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	commands := s.commandSource(s.CommandPartition(shard))
	next, err := s.nextOf(ctx, shard, commands)
	if err != nil {
		return nil, err
	}
	if next < ends[commands] {
		return nil, nil // the past is applied again: its own timers are in the log
	}
	var out []*Command
	var errs []error
	look := dueLook{store: s, shard: shard, ends: ends}
	for at := int64(0); len(out) < maxDue; at += maxDue {
		items, err := s.rdb.ZRangeByScoreWithScores(ctx, dueKey(shard), &redis.ZRangeBy{
			Min: "-inf", Max: strconv.FormatInt(now.UnixMilli(), 10), Offset: at, Count: maxDue,
		}).Result()
		if err != nil {
			return nil, fmt.Errorf("read timers of shard %d: %w", shard, err)
		}
		for _, z := range items {
			member, _ := z.Member.(string)
			c, err := look.timer(ctx, member, int64(z.Score))
			if err != nil {
				errs = append(errs, err)
			} else if c != nil && len(out) < maxDue {
				out = append(out, c)
			}
		}
		if len(items) < maxDue {
			break
		}
	}
	return out, oneOf(errs)
}

// A dueLook is one look at the timers of a shard.
type dueLook struct {
	store *Store
	shard int
	ends  Ends
	lags  bool // a lot waits for calls on their way: those that expire later do, too
}

func (l *dueLook) timer(ctx context.Context, member string, at int64) (*Command, error) {
	f := strings.SplitN(member, "/", 3)
	if len(f) != 3 {
		return nil, faultf("timer %q of shard %d: want kind/account/key", member, l.shard)
	}
	c := &Command{Account: f[1]}
	switch f[0] {
	case "unanswered":
		c.Type = Unanswered
	case "retry":
		c.Type = Retry
	case "warn":
		return l.store.warningOf(ctx, l.shard, f[1], f[2])
	case "expire":
		return l.expiryOf(ctx, f[1], f[2], at)
	default:
		return nil, faultf("timer %q of shard %d: unknown kind: was it set by a newer version?", member, l.shard)
	}
	n, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil {
		return nil, faultf("timer %q of shard %d: %w", member, l.shard, err)
	}
	c.N = n
	return c, nil
}

func (l *dueLook) expiryOf(ctx context.Context, account, lot string, at int64) (*Command, error) {
	if l.lags {
		return nil, nil //nolint:nilnil // not now: it stays due
	}
	args := []any{lot, at}
	for src, end := range l.ends {
		byTime := 0
		if src.Topic == l.store.opt.CDRTopic {
			byTime = 1
		}
		args = append(args, src.String(), end, byTime)
	}
	replies, errs := l.store.run(ctx, []call{{
		expiry, []string{marksKey(l.shard), accountKey(l.shard, account), lotsKey(l.shard, account)}, args,
	}})
	if errs[0] != nil {
		return nil, errs[0]
	}
	words, err := texts(replies[0])
	if err != nil || len(words) == 0 {
		return nil, faultf("expiry of shard %d: reply %v: %w", l.shard, replies[0], err)
	}
	amount := rating.Micros(0)
	switch words[0] {
	case "LAG", "WAIT":
		l.lags = words[0] == "LAG"
		return nil, nil //nolint:nilnil // not now: it stays due
	case "GONE": // the command clears the timer
	case "OK":
		n, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return nil, faultf("expiry of shard %d: %w", l.shard, err)
		}
		amount = rating.Micros(n)
	default:
		return nil, faultf("expiry of shard %d: status %q", l.shard, words[0])
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
