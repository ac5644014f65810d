package balance

import (
	"context"
	"fmt"
	"strconv"
	"time"

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
	key := ledgerKey(s.ShardOf(account), account)
	// The list begins with the newest entry; entries that come while it is read move
	// the others back, and then it is read again from where they are.
	for skip := int64(0); ; {
		items, err := s.rdb.LRange(ctx, key, skip, skip+int64(limit)-1).Result()
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		out := make([]LedgerEntry, len(items))
		for i, item := range items {
			if out[i], err = parseLedger(item); err != nil {
				return nil, err
			}
		}
		if before == 0 || len(out) == 0 || out[0].Number < before {
			return out, nil
		}
		skip += out[0].Number - before + 1
	}
}

// parseLedger reads an item of the ledger: number, kind, micros, ms and reference.
func parseLedger(item string) (LedgerEntry, error) {
	f := fields{rest: item, more: true}
	e := LedgerEntry{Number: f.number(), Kind: f.text(), Amount: rating.Micros(f.number()), At: time.UnixMilli(f.number()).UTC(), Reference: f.text()}
	if f.err != nil {
		return e, faultf("ledger entry %s: %w", strconv.Quote(item), f.err)
	}
	if e.Kind == "expiry" {
		e.Amount = -e.Amount
	}
	return e, nil
}
