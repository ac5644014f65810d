package balance

import (
	"context"
	"strings"
)

// An Order is one command at its place in the log.
type Order struct {
	Offset       int64
	AppendMillis int64
	Command      *Command
}

// A CommandBatch is a run of the commands of one partition that belong to one
// shard, in the order of the log.
type CommandBatch struct {
	Position
	Orders []Order
}

// ApplyCommands applies batches, each to its shard, in one round trip; as
// ApplyCDRs. Commands never wait for anything.
func (s *Store) ApplyCommands(ctx context.Context, batches []*CommandBatch) []Reply {
	replies := make([]Reply, len(batches))
	var positions []*Position
	var calls []call
	var at []int
	for i, b := range batches {
		c, err := s.commandCall(b)
		if err != nil {
			replies[i] = Reply{Status: Unavailable, Err: err}
			continue
		}
		positions, calls, at = append(positions, &b.Position), append(calls, c), append(at, i)
	}
	for k, r := range s.apply(ctx, positions, calls) {
		replies[at[k]] = r
	}
	return replies
}

func (s *Store) commandCall(b *CommandBatch) (call, error) {
	keys := []string{marksKey(b.Shard), outboxKey(b.Shard, b.Source), dueKey(b.Shard), indexKey(b.Shard)}
	number := map[string]int{}
	var accounts, orders []any
	n := 0
	for _, o := range b.Orders {
		c := o.Command
		if c.Type == Tick {
			continue // it moves the mark, nothing else
		}
		if number[c.Account] == 0 {
			accounts = append(accounts, c.Account)
			number[c.Account] = len(accounts)
			keys = append(keys, accountKey(b.Shard, c.Account), lotsKey(b.Shard, c.Account),
				ledgerKey(b.Shard, c.Account), commandsKey(b.Shard, c.Account))
		}
		digest, err := c.Digest()
		if err != nil {
			return call{}, err
		}
		words := c.words()
		orders = append(orders, o.Offset, o.AppendMillis, c.ID, digest, number[c.Account], len(words))
		orders = append(orders, words...)
		n++
	}
	args := []any{
		b.Source.String(), b.Expect.expected(), b.Next, b.Last.String(), s.clock(),
		strings.Join(b.Trim, " "), b.parkedLines(), s.opt.ExpiryGrace.Milliseconds(), len(accounts),
	}
	args = append(append(append(args, accounts...), n), orders...)
	return call{applyCommands, keys, args}, nil
}
