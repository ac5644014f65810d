package httpapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/httpapi"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

func TestMain(m *testing.M) { testserver.Run(m) }

const shards = 8

// A reality is a store on a real Redis, behind a log that applies what is appended
// at once. Its clock stands still unless it is moved.
type reality struct {
	*client

	store *balance.Store
	mu    sync.Mutex
	now   time.Time
	ends  map[int]int64 // of each partition of the log
	marks map[int]balance.Mark
	cdrs  map[int]balance.Mark
	kinds []string // of all events
}

func startReal(t *testing.T, options ...func(*httpapi.Options)) *reality {
	t.Helper()
	r := &reality{now: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC), ends: map[int]int64{}, marks: map[int]balance.Mark{}, cdrs: map[int]balance.Mark{}}
	rdb := balance.Client(testserver.NewRedis(t).Options())
	t.Cleanup(func() { _ = rdb.Close() })
	var err error
	r.store, err = balance.Open(t.Context(), rdb, balance.Options{
		Shards: shards, CommandPartitions: shards, CDRTopic: "cdrs", CommandTopic: "credit-commands",
		Logger: slog.New(slog.DiscardHandler), Now: r.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.client = start(t, newWorld(), append([]func(*httpapi.Options){func(o *httpapi.Options) {
		o.Accounts, o.Lists, o.Commands, o.Authorize.Standings = r.store, r.store, r, r.store
	}}, options...)...)
	return r
}

func (r *reality) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *reality) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func position(sh int, topic string, marks map[int]balance.Mark, end int64, at time.Time) balance.Position {
	mark, found := marks[sh]
	if !found {
		mark = balance.Mark{Name: "-", Last: balance.Last{Offset: -1}}
	}
	return balance.Position{
		Shard: sh, Source: balance.Source{Topic: topic, Partition: sh}, Expect: mark, Next: end,
		Last: balance.Last{Offset: end - 1, Digest: "d", AppendMillis: at.UnixMilli()},
	}
}

// Append applies too, so what is in the log is applied when the API looks.
func (r *reality) Append(ctx context.Context, c *balance.Command) (partition int, offset int64, err error) {
	b, err := c.Encode() // what is not in the bytes is not in the log
	if err != nil {
		return 0, 0, err
	}
	if c, err = balance.DecodeCommand(b); err != nil {
		return 0, 0, err
	}
	at := r.clock() // the store asks too, so it is not asked below
	r.mu.Lock()
	defer r.mu.Unlock()
	sh := r.store.ShardOf(c.Account)
	offset = r.ends[sh]
	r.ends[sh]++
	batch := &balance.CommandBatch{
		Position: position(sh, "credit-commands", r.marks, r.ends[sh], at),
		Orders:   []balance.Order{{Offset: offset, AppendMillis: at.UnixMilli(), Command: c}},
	}
	r.mu.Unlock()
	reply := r.store.ApplyCommands(ctx, []*balance.CommandBatch{batch})[0]
	r.mu.Lock()
	return sh, offset, r.took(r.marks, sh, reply)
}

func (r *reality) took(marks map[int]balance.Mark, sh int, reply balance.Reply) error {
	if reply.Status != balance.Applied {
		return fmt.Errorf("status %d: %w", reply.Status, reply.Err)
	}
	marks[sh] = reply.Mark
	for _, e := range reply.Entry.Events {
		r.kinds = append(r.kinds, e.Kind)
	}
	return nil
}

// command applies a command that the API does not make.
func (r *reality) command(c *balance.Command) {
	r.Helper()
	if _, _, err := r.Append(r.Context(), c); err != nil {
		r.Fatal(err)
	}
}

// call charges an account.
func (r *reality) call(account, charge string) {
	r.Helper()
	sh, at := r.store.ShardOf(account), r.clock()
	next := r.cdrs[sh].Next + 1
	batch := &balance.CDRBatch{
		Position: position(sh, "cdrs", r.cdrs, next, at), CommandsEnd: r.ends[sh],
		Debits: []balance.Debit{{
			Offset: next - 1, AppendMillis: at.UnixMilli(), Account: account, Amount: *micros(r.T, charge), Currency: "USD",
			Claims: true, Digest: int64(sh)*1_000 + next, Slice: r.store.Slice(at),
		}},
	}
	if err := r.took(r.cdrs, sh, r.store.ApplyCDRs(r.Context(), []*balance.CDRBatch{batch})[0]); err != nil {
		r.Fatal(err)
	}
}

// ask wishes for the recharge n of acme, with every number of changes that the
// account may have seen: one of them is right.
func (r *reality) ask(n int64) {
	r.Helper()
	for seen := range int64(30) {
		r.command(&balance.Command{Type: balance.Request, Account: "acme", N: n, Seen: seen, Amount: micros(r.T, "50")})
	}
}

// asked makes the recharge n of acme be asked for, and accepted.
func (r *reality) asked(n int64) {
	r.Helper()
	r.ask(n)
	if a, err := r.store.Account(r.Context(), "acme"); err != nil || a.AutoRecharge.N != n || a.AutoRecharge.State != "pending" {
		r.Fatalf("recharge %d is not pending: %+v, %v", n, a.AutoRecharge, err)
	}
}

// unanswered makes the recharge n of acme unresolved.
func (r *reality) unanswered(n int64) {
	r.Helper()
	r.pass(16 * time.Minute)
	r.command(&balance.Command{Type: balance.Unanswered, Account: "acme", N: n})
}

// told returns how often an event was told, and forgets all.
func (r *reality) told(kind string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.kinds {
		if k == kind {
			n++
		}
	}
	r.kinds = nil
	return n
}
