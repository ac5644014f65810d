package balance

import (
	"context"
	"fmt"

	"github.com/creditstream/creditstream/rating"
)

// A Standing is what says whether an account may make a call.
type Standing struct {
	Currency        string
	Balance         rating.Micros
	Overdraft       rating.Micros // how far below zero it may go
	Closed          bool
	BlockedPrefixes []string // digits of international numbers
	BlockHighRisk   bool
}

// Standing reads an account's standing in one round trip. It returns
// ErrUnknownAccount when there is none.
func (s *Store) Standing(ctx context.Context, account string) (*Standing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.CallTimeout)
	defer cancel()
	names := []string{"at", "funded", "spent", "forfeited", "cur", "closed", "overdraft", "blocked", "risk"}
	values, err := s.rdb.HMGet(ctx, accountKey(s.ShardOf(account), account), names...).Result()
	if err != nil {
		return nil, fmt.Errorf("read standing: %w", err)
	}
	r := readerOf(names, values)
	if r.h["at"] == "" {
		return nil, ErrUnknownAccount
	}
	st := &Standing{
		Currency: r.h["cur"], Balance: r.micros("funded") - r.micros("spent") - r.micros("forfeited"),
		Overdraft: r.micros("overdraft"), Closed: r.h["closed"] == "1",
		BlockedPrefixes: split(r.h["blocked"]), BlockHighRisk: r.h["risk"] != "0",
	}
	if r.err != nil {
		return nil, fmt.Errorf("read standing: %w", r.err)
	}
	return st, nil
}
