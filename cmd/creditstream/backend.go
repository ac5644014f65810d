package main

import (
	"context"

	"github.com/creditstream/creditstream/balance"
)

// backend is the processor as the API sees it: it listens before Kafka and Redis
// have answered, and until then says what start-up waits for.
type backend processor

func (b *backend) started() error {
	p := (*processor)(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startup
}

func (b *backend) Account(ctx context.Context, id string) (*balance.Account, error) {
	if err := b.started(); err != nil {
		return nil, err
	}
	return b.store.Account(ctx, id)
}

// Standing is asked while somebody waits for a call: it says at once that the
// store is not open yet.
func (b *backend) Standing(ctx context.Context, account string) (*balance.Standing, error) {
	if err := b.started(); err != nil {
		return nil, err
	}
	return b.store.Standing(ctx, account)
}

func (b *backend) Accounts(ctx context.Context, after string, limit int) ([]balance.AccountSummary, error) {
	if err := b.started(); err != nil {
		return nil, err
	}
	return b.store.Accounts(ctx, after, limit)
}

func (b *backend) Ledger(ctx context.Context, account string, before int64, limit int) ([]balance.LedgerEntry, error) {
	if err := b.started(); err != nil {
		return nil, err
	}
	return b.store.Ledger(ctx, account, before, limit)
}

func (b *backend) CommandResult(ctx context.Context, account, id string) (balance.CommandResult, bool, error) {
	if err := b.started(); err != nil {
		return balance.CommandResult{}, false, err
	}
	return b.store.CommandResult(ctx, account, id)
}

func (b *backend) AppliedTo(ctx context.Context, account string) (int64, error) {
	if err := b.started(); err != nil {
		return 0, err
	}
	return b.store.AppliedTo(ctx, account)
}

func (b *backend) Append(ctx context.Context, c *balance.Command) (partition int, offset int64, err error) {
	if err := b.started(); err != nil {
		return 0, 0, err
	}
	return b.commands.Append(ctx, c)
}
