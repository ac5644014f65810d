package balance_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// While a slot of a Redis Cluster moves, a key that is not there may be on the other
// node, so commands on it are refused, also within a script, after others of the
// script have written. Redis looks at the keys that a script declares before it runs,
// not at those that the script itself removes: one that is emptied and written again
// leaves half a call behind. So every call of every scenario is made on a slot that
// moves: it must be applied as a whole, or leave no trace.

func TestScenariosWhileSlotsMove(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenario files", err)
	}
	m := newMoving(t)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("plays %s", file)
		blocks, _ := parseScenario(t, string(text))
		m.cluster.Flush()
		s := stageOn(newWorldOn(t, m.cluster.Redis))
		s.moving = m
		play(t, s, blocks)
	}
	if m.applied[noKey] == 0 || m.refused[someKeys] == 0 || m.applied[allKeys] == 0 { // what was never met proves nothing
		t.Errorf("of %d calls %v were applied, by how many keys had moved, and %v refused", m.calls, m.applied, m.refused)
	}
}

// One batch takes the last lot, the last timer and the last entry of an outbox, and
// writes others.
func TestEmptiedKeysAreWrittenAgainWhileTheirSlotMoves(t *testing.T) {
	t.Parallel()
	m := newMoving(t)
	w := newWorldOn(t, m.cluster.Redis)
	grant := func(id string) *balance.Command {
		return &balance.Command{
			Type: balance.Grant, Account: "acme", ID: id, Amount: micros(7), Reason: "welcome", Operator: "ann",
			Expires: w.now.Add(time.Hour).Truncate(time.Second),
		}
	}
	w.command(put("acme"))
	before := w.command(grant("first"))
	w.now = w.now.Add(8 * time.Hour)
	l := lane{w.store.ShardOf("acme"), before.Source}
	commands := append(w.due(), grant("second"))
	if len(commands) != 2 || commands[0].Type != balance.ExpireLot {
		t.Fatalf("due is %+v, want one expiry", commands)
	}
	b := &balance.CommandBatch{}
	for i, c := range commands {
		b.Orders = append(b.Orders, balance.Order{Offset: w.log[l.source] + int64(i), AppendMillis: w.now.UnixMilli(), Command: c})
	}
	b.Position = w.position(l, w.log[l.source]+2)
	for _, e := range w.outs[l] {
		b.Trim = append(b.Trim, e.Name)
	}
	w.took(l, m.call(w, l.shard, func() balance.Reply { return w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0] }))
	if m.applied[noKey] != 1 {
		t.Errorf("applied %v, refused %v: want the call to be applied before any key has moved", m.applied, m.refused)
	}
	a := w.account("acme")
	if a.Funded != 14 || a.Forfeited != 7 || len(a.Lots) != 1 || len(w.holding(l).Outbox) != 1 {
		t.Errorf("%+v, outbox %+v", a, w.holding(l).Outbox)
	}
	if n := w.rdb.ZCard(t.Context(), "cs:{"+itoa(l.shard)+"}:due").Val(); n != 1 {
		t.Errorf("%d timers, want that of the second grant", n)
	}
}

// progress says how far a move has come.
type progress string

const (
	noKey    progress = "no key"
	someKeys progress = "some keys"
	allKeys  progress = "all keys"
)

// moving begins to move the slot of a shard to the other of two nodes, and ends by
// taking it back, so that the nodes need not agree anew on who has it.
type moving struct {
	cluster *testserver.Cluster
	calls   int
	applied map[progress]int
	refused map[progress]int
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	return &moving{cluster: testserver.NewCluster(t, 2, 0), applied: map[progress]int{}, refused: map[progress]int{}}
}

// call makes a call while the slot moves, again whenever more keys have moved, until
// it is applied. Two calls of three are first made later than at the begin.
func (m *moving) call(w *world, shard int, call func() balance.Reply) balance.Reply {
	w.tb.Helper()
	slot, err := w.rdb.ClusterKeySlot(w.tb.Context(), fmt.Sprintf("cs:{%d}:marks", shard)).Result()
	if err != nil {
		w.tb.Fatal(err)
	}
	from, to := m.owner(slot)
	do(w, to, "cluster", "setslot", slot, "importing", from.ID)
	do(w, from, "cluster", "setslot", slot, "migrating", to.ID)
	keys := inSlot(w, from, slot)
	rng := rand.New(rand.NewPCG(1, uint64(m.calls)))
	rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	first := m.calls % 3
	m.calls++
	var r balance.Reply
	for i, p := range []progress{noKey, someKeys, allKeys} {
		n := len(keys) * i / 2
		migrate(w, from, to, keys[:n])
		keys = keys[n:]
		if i < first {
			continue
		}
		if r = m.attempt(w, p, shard, call); r.Status == balance.Applied {
			break
		}
	}
	do(w, from, "cluster", "setslot", slot, "stable")
	migrate(w, to, from, inSlot(w, to, slot))
	do(w, to, "cluster", "setslot", slot, "stable")
	if r.Status != balance.Applied {
		r = call()
	}
	return r
}

// owner returns the node that has a slot, and the other one.
func (m *moving) owner(slot int64) (from, to *testserver.Node) {
	if slot < 8192 {
		return m.cluster.Nodes[0], m.cluster.Nodes[1]
	}
	return m.cluster.Nodes[1], m.cluster.Nodes[0]
}

// attempt makes a call, and compares what is stored with what was when it is not
// applied.
func (m *moving) attempt(w *world, p progress, shard int, call func() balance.Reply) balance.Reply {
	w.tb.Helper()
	before := m.dump(w, shard)
	r := call()
	if r.Status == balance.Applied {
		m.applied[p]++
		return r
	}
	m.refused[p]++
	if r.Status != balance.Unavailable || !balance.Temporary(r.Err) {
		w.tb.Fatalf("a call when %s of its shard had moved says %d, %v: want an error that is worth waiting for", p, r.Status, r.Err)
	}
	after := m.dump(w, shard)
	for _, k := range slices.Sorted(maps.Keys(after)) {
		if after[k] != before[k] {
			w.tb.Fatalf("a call when %s of its shard had moved was refused (%v) and has changed %s", p, r.Err, k)
		}
	}
	if len(after) != len(before) {
		w.tb.Fatalf("a call when %s of its shard had moved was refused (%v) and has removed keys", p, r.Err)
	}
	return r
}

// dump copies what a shard holds, on whichever node.
func (m *moving) dump(w *world, shard int) map[string]string {
	w.tb.Helper()
	keys := m.cluster.Keys(fmt.Sprintf("cs:{%d}:*", shard))
	replies := make([]*redis.StringCmd, len(keys))
	_, err := w.rdb.Pipelined(w.tb.Context(), func(p redis.Pipeliner) error {
		for i, k := range keys {
			replies[i] = p.Dump(w.tb.Context(), k)
		}
		return nil
	})
	if err != nil {
		w.tb.Fatal(err)
	}
	out := map[string]string{}
	for i, k := range keys {
		out[k] = replies[i].Val()
	}
	return out
}

func inSlot(w *world, n *testserver.Node, slot int64) []string {
	w.tb.Helper()
	keys, err := n.ClusterGetKeysInSlot(w.tb.Context(), int(slot), 1000).Result()
	if err != nil {
		w.tb.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func migrate(w *world, from, to *testserver.Node, keys []string) {
	w.tb.Helper()
	if len(keys) == 0 {
		return
	}
	host, port, err := net.SplitHostPort(to.Addr())
	if err != nil {
		w.tb.Fatal(err)
	}
	args := []any{"migrate", host, port, "", 0, 5000, "keys"}
	for _, k := range keys {
		args = append(args, k)
	}
	do(w, from, args...)
}

func do(w *world, n *testserver.Node, args ...any) {
	w.tb.Helper()
	if err := n.Do(w.tb.Context(), args...).Err(); err != nil {
		w.tb.Fatalf("%v on %s: %v", args, n.Addr(), err)
	}
}
