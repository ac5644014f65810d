package balance_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/rating"
)

func TestMain(m *testing.M) { testserver.Run(m) }

// world is one store with few shards, and a log position per source, kept as a
// worker keeps it.
type world struct {
	tb    testing.TB
	redis *testserver.Redis
	rdb   redis.UniversalClient
	store *balance.Store
	now   time.Time
	log   map[balance.Source]int64 // end of each source
	marks map[lane]balance.Mark
	outs  map[lane][]*balance.Entry // what is in the outbox
}

type lane struct {
	shard  int
	source balance.Source
}

const shards, commandPartitions = 4, 2

var quiet = slog.New(slog.DiscardHandler)

func options(w *world) balance.Options {
	return balance.Options{
		Shards: shards, CommandPartitions: commandPartitions, CDRTopic: "cdrs", CommandTopic: "credit-commands",
		Logger: quiet, Now: func() time.Time { return w.now },
	}
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return newWorldOn(tb, testserver.NewRedis(tb))
}

func newWorldOn(tb testing.TB, r *testserver.Redis) *world {
	tb.Helper()
	w := &world{
		tb: tb, redis: r, now: time.UnixMilli(1_800_000_000_000),
		log: map[balance.Source]int64{}, marks: map[lane]balance.Mark{}, outs: map[lane][]*balance.Entry{},
	}
	w.rdb = balance.Client(w.redis.Options())
	tb.Cleanup(func() { _ = w.rdb.Close() })
	var err error
	if w.store, err = balance.Open(tb.Context(), w.rdb, options(w)); err != nil {
		tb.Fatal(err)
	}
	return w
}

func (w *world) mark(l lane) balance.Mark {
	if m, ok := w.marks[l]; ok {
		return m
	}
	return balance.Mark{Name: "-", Last: balance.Last{Offset: -1}}
}

func (w *world) position(l lane, next int64) balance.Position {
	return balance.Position{
		Shard: l.shard, Source: l.source, Expect: w.mark(l), Next: next,
		Last: balance.Last{Offset: next - 1, Digest: "d", AppendMillis: w.now.UnixMilli()},
	}
}

func (w *world) took(l lane, r balance.Reply) *balance.Entry {
	w.tb.Helper()
	if r.Status != balance.Applied {
		w.tb.Fatalf("status %d, %v", r.Status, r.Err)
	}
	w.marks[l] = r.Mark
	w.outs[l] = append(w.outs[l], r.Entry)
	return r.Entry
}

// command applies one command at the end of its partition: to its shard; the
// other shards of the partition get a confirmation.
func (w *world) command(c *balance.Command) *balance.Entry {
	w.tb.Helper()
	w.now = w.now.Add(time.Millisecond)
	sh := w.store.ShardOf(c.Account)
	src := balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(sh)}
	offset := w.log[src]
	w.log[src]++
	var e *balance.Entry
	for s := src.Partition; s < shards; s += commandPartitions {
		l := lane{s, src}
		if s == sh && c.Type != balance.Tick {
			b := &balance.CommandBatch{Position: w.position(l, offset+1), Orders: []balance.Order{{offset, w.now.UnixMilli(), c}}}
			e = w.took(l, w.store.ApplyCommands(w.tb.Context(), []*balance.CommandBatch{b})[0])
			continue
		}
		p := w.position(l, offset+1)
		k := &balance.Confirmation{Shard: s, Source: src, Expect: p.Expect, Next: p.Next, Last: p.Last}
		if err := w.store.Confirm(w.tb.Context(), []*balance.Confirmation{k}); err != nil || !k.OK {
			w.tb.Fatal(err, k.OK)
		}
		w.marks[l] = k.New()
	}
	return e
}

func (w *world) cdrBatch(partition int, account string, charges ...int64) (lane, *balance.CDRBatch) {
	l := lane{w.store.ShardOf(account), balance.Source{Topic: "cdrs", Partition: partition}}
	first := w.log[l.source]
	b := &balance.CDRBatch{CommandsEnd: w.log[balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(l.shard)}]}
	for i, c := range charges {
		b.Debits = append(b.Debits, balance.Debit{
			Offset: first + int64(i), AppendMillis: w.now.UnixMilli(), Account: account, Amount: rating.Micros(c), Currency: "USD",
			Claims: true, Digest: int64(partition+1)*1_000_000 + first + int64(i), Slice: w.store.Slice(w.now),
		})
	}
	w.log[l.source] += int64(len(charges))
	b.Position = w.position(l, w.log[l.source])
	return l, b
}

// calls charges acme.
func (w *world) calls(charges ...int64) *balance.Entry {
	w.tb.Helper()
	w.now = w.now.Add(time.Millisecond)
	l, b := w.cdrBatch(0, "acme", charges...)
	return w.took(l, w.store.ApplyCDRs(w.tb.Context(), []*balance.CDRBatch{b})[0])
}

func (w *world) account(id string) *balance.Account {
	w.tb.Helper()
	a, err := w.store.Account(w.tb.Context(), id)
	if err != nil {
		w.tb.Fatal(err)
	}
	return a
}

func micros(m int64) *rating.Micros { x := rating.Micros(m); return &x }

func put(account string, levels ...int64) *balance.Command {
	s := &balance.Settings{Currency: "USD"}
	if len(levels) > 0 {
		s.LowBalance = &balance.Nullable[[]balance.Level]{}
		for _, l := range levels {
			s.LowBalance.Value = append(s.LowBalance.Value, balance.Level{Amount: rating.Micros(l)})
		}
	}
	return &balance.Command{Type: balance.PutAccount, Account: account, Put: s}
}

func auto(c *balance.Command, trigger, amount int64) *balance.Command {
	on, pm := true, "pm_1"
	c.Put.AutoRecharge = &balance.Nullable[balance.AutoRecharge]{Value: balance.AutoRecharge{
		Enabled: &on, Trigger: micros(trigger), Amount: micros(amount), PaymentMethod: &pm,
	}}
	return c
}

func topUp(account, id string, amount int64) *balance.Command {
	return &balance.Command{Type: balance.TopUp, Account: account, ID: id, Amount: micros(amount)}
}

func kinds(e *balance.Entry) []string {
	var out []string
	for _, ev := range e.Events {
		out = append(out, ev.Kind)
	}
	return out
}
