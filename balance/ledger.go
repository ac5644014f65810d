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

// A LedgerEntry is one change of an account's money that is not a call.
type LedgerEntry struct {
	Number    int64         // from 1, without gaps
	Kind      string        // top_up, promotion, recharge, adjustment, expiry
	Amount    rating.Micros // below zero: it was taken
	At        time.Time     // when the broker appended the command
	Reference string        // the key of the request, the recharge's id, or the lot that expired
}

// Ledger returns at most limit entries whose number is below before (0: the
// newest), newest first. An account keeps its last 1,000; older ones are in the
// log of commands. Of an account that does not exist there are none.
func (s *Store) Ledger(ctx context.Context, account string, before int64, limit int) ([]LedgerEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	sh := s.ShardOf(account)
	newest, err := s.rdb.LIndex(ctx, ledgerKey(sh, account), 0).Result()
	if err != nil && err != redis.Nil { //nolint:errorlint // the client returns it as it is
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	if newest == "" {
		return nil, nil
	}
	head, err := parseLedger(newest)
	if err != nil {
		return nil, err
	}
	skip := int64(0)
	if before > 0 {
		skip = max(0, head.Number-before+1)
	}
	// entries that came since lie before the head that was seen: they are left out below
	items, err := s.rdb.LRange(ctx, ledgerKey(sh, account), skip, skip+int64(limit)-1).Result()
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	out := make([]LedgerEntry, 0, len(items))
	for _, item := range items {
		e, err := parseLedger(item)
		if err != nil {
			return nil, err
		}
		if before == 0 || e.Number < before {
			out = append(out, e)
		}
	}
	return out, nil
}

// parseLedger reads an item of the ledger: number, kind, micros, ms and reference.
func parseLedger(item string) (LedgerEntry, error) {
	f := fields{rest: strings.SplitN(item, " ", 5)}
	e := LedgerEntry{Number: f.number(), Kind: f.text(), Amount: rating.Micros(f.number()), At: time.UnixMilli(f.number()).UTC(), Reference: f.text()}
	if f.err != nil {
		return e, faultf("ledger entry %s: %w", strconv.Quote(item), f.err)
	}
	if e.Kind == "expiry" {
		e.Amount = -e.Amount
	}
	return e, nil
}
