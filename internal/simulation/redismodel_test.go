package simulation_test

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/balance"
)

// whereIs maps an account to its shard, as balance.Store.ShardOf does (the checks
// compare them).
func whereIs(account string, shards int) int {
	return int(xxhash.Sum64String(account) % uint64(shards))
}

// redisModel is Redis: some nodes, each with the shards of its number, and the
// log of their writes. The world's lock is over it.
type redisModel struct {
	w       *world
	keys    *keyspace
	log     []write
	away    map[int]time.Time // node -> until when
	bare    map[int]bool      // nodes that have lost the scripts
	entries []*entry          // result entries there ever were
	wishes  []wish
	highest map[mark]int64 // offset that a mark ever had
}

// write is one command that changed something, and when.
type write struct {
	at    time.Time
	node  int
	args  []string
	entry *entry // that it appended
}

type mark struct {
	shard  int
	source balance.Source
}

func newRedisModel(w *world) *redisModel {
	return &redisModel{w: w, keys: newKeyspace(), away: map[int]time.Time{}, bare: map[int]bool{}, highest: map[mark]int64{}}
}

// shardOfKey is -1 for keys that belong to none.
func shardOfKey(key string) int {
	_, rest, ok := strings.Cut(key, "{")
	if !ok {
		return -1
	}
	n, _, _ := strings.Cut(rest, "}")
	return int(whole(n))
}

func (m *redisModel) node(key string) int { return max(0, shardOfKey(key)) % m.w.nodes }

// run does one command of a client.
func (m *redisModel) run(args []string) (any, error) {
	if until, ok := m.away[m.node(keyOf(args))]; ok && time.Now().Before(until) {
		return nil, errAway
	}
	if args[0] != "EVALSHA" {
		reply := m.write(args)
		m.w.opt.tape.record(args, reply)
		return reply, nil
	}
	if m.bare[m.node(keyOf(args))] {
		return nil, serverError("NOSCRIPT No matching script")
	}
	n := int(whole(args[2]))
	in, _ := interpreters.Get().(*interpreter)
	defer interpreters.Put(in)
	in.call = m.write
	reply, err := in.run(args[1], args[3:3+n], args[3+n:])
	m.w.opt.tape.record(args, reply)
	return reply, err
}

// write does one command and keeps it in the log if it changes something.
func (m *redisModel) write(args []string) any {
	reply := m.keys.do(args)
	if writes[args[0]] {
		w := write{at: time.Now(), node: m.node(args[1]), args: args}
		switch {
		case args[0] == "RPUSH" && strings.Contains(args[1], ":outbox:"):
			w.entry = m.appended(args[1], args[2])
		case args[0] == "HSET" && strings.HasSuffix(args[1], ":marks"):
			m.moved(args)
		}
		m.log = append(m.log, w)
	}
	return reply
}

func (m *redisModel) moved(args []string) {
	for i := 2; i+1 < len(args); i += 2 {
		if src, ok := sourceOf(args[i]); ok {
			k := mark{shardOfKey(args[1]), src}
			next, _, _ := strings.Cut(args[i+1], " ")
			m.highest[k] = max(m.highest[k], whole(next))
		}
	}
}

func sourceOf(text string) (balance.Source, bool) {
	topic, p, ok := strings.Cut(text, "/")
	if !ok || topic != cdrTopic && topic != commandTopic {
		return balance.Source{}, false
	}
	return balance.Source{Topic: topic, Partition: int(whole(p))}, true
}

// mark is the offset of a mark, and the append time of the last record before it.
func (m *redisModel) mark(shard int, src balance.Source) int64 {
	f := strings.Fields(m.keys.hashes[fmt.Sprintf("cs:{%d}:marks", shard)][src.String()])
	if len(f) == 0 {
		return 0
	}
	return whole(f[0])
}

// back takes nodes back to an instant; what came later never was.
func (m *redisModel) back(nodes []int, to time.Time) {
	kept := m.log[:0]
	for _, w := range m.log {
		switch {
		case !slices.Contains(nodes, w.node) || !w.at.After(to):
			kept = append(kept, w)
		case w.entry != nil:
			w.entry.undone = true
		}
	}
	m.log = kept
	m.w.opt.tape.back(m.log)
	m.keys = newKeyspace()
	for _, w := range m.log {
		m.keys.do(w.args)
	}
}

// An entry is a result entry, read by other means than package balance reads it.
type entry struct {
	shard    int
	source   balance.Source
	first    int64
	end      int64
	outcomes map[int64]string // "parked why", "duplicate"
	unknown  map[string]int64 // accounts that do not exist, and up to when
	events   []event
	requests []request
	wishes   []wish
	at       time.Time
	undone   bool
}

// of is the outcome that the entry has for the record of a call: a line of its own,
// or that of its account.
func (e *entry) of(c *call, offset int64) string {
	if _, absent := e.unknown[c.account]; absent && !c.free && e.outcomes[offset] == "" {
		return "parked unknown_account"
	}
	return e.outcomes[offset]
}

// An event is one of an entry.
type event struct {
	id, account string
	sequence    int64
}

// A wish is what an account asked for, and what it held then.
type wish struct {
	account                          string
	n, funded, forfeited, spent, one int64 // one: the trigger
}

// A request is one payment request.
type request struct {
	account   string
	n, amount int64
	offset    int64 // of the command that it is made from, in the request of an entry
}

// askedAt is the offset of the command that asks for a payment; it is the same in
// every timeline.
func (m *redisModel) askedAt(account string, n int64) int64 {
	for _, e := range m.entries {
		for _, q := range e.requests {
			if q.account == account && q.n == n {
				return q.offset
			}
		}
	}
	return math.MaxInt64
}

func (m *redisModel) appended(key, item string) *entry {
	lines := strings.Split(strings.TrimSuffix(item, "\n"), "\n")
	_, name, _ := strings.Cut(key, ":outbox:")
	src, _ := sourceOf(name)
	e := &entry{shard: shardOfKey(key), source: src, outcomes: map[int64]string{}, unknown: map[string]int64{}, at: time.Now()}
	head := strings.Fields(lines[1])
	e.first, e.end = whole(head[0]), whole(head[1])
	for _, line := range lines[2:] {
		f := strings.Split(line, " ")
		switch f[0] {
		case "o":
			e.outcomes[whole(f[1])] = strings.Join(f[2:], " ")
		case "u":
			e.unknown[f[1]] = whole(f[2])
		case "e":
			sum := sha1.Sum([]byte(line))
			e.events = append(e.events, event{f[1] + "/" + f[2] + "/" + f[3] + "-" + hex.EncodeToString(sum[:6]), f[1], whole(f[3])})
		case "p":
			e.requests = append(e.requests, request{f[1], whole(f[2]), whole(f[3]), whole(f[6])})
		case "w":
			h := m.keys.hashes[fmt.Sprintf("cs:{%d}:acct:%s", e.shard, f[1])]
			e.wishes = append(e.wishes, wish{f[1], whole(f[2]), whole(h["funded"]), whole(h["forfeited"]), whole(h["spent"]), whole(h["trigger"])})
		}
	}
	m.entries, m.wishes = append(m.entries, e), append(m.wishes, e.wishes...)
	m.w.applied(e)
	m.w.say("shard %d applies %s %d-%d %v %v %v %v", e.shard, src, e.first, e.end, e.outcomes, e.unknown, e.events, e.requests)
	return e
}

// client returns what an instance reaches Redis by: go-redis, with requests of the
// simulation instead of connections.
func (i *instance) client() redis.UniversalClient {
	rdb := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", Protocol: 2, MaxRetries: -1, PoolSize: 1,
		Dialer: func(context.Context, string, string) (net.Conn, error) { panic("the simulation has no network") },
	})
	rdb.AddHook(hook{i})
	return rdb
}

type hook struct{ i *instance }

// DialHook is never reached.
func (hook) DialHook(redis.DialHook) redis.DialHook {
	return func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed }
}

func (h hook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.send(ctx, []redis.Cmder{cmd})
		return cmd.Err()
	}
}

func (h hook) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		asked := time.Now()
		byNode := map[int][]redis.Cmder{}
		for _, c := range cmds {
			n := h.i.w.redis.node(keyOf(words(c)))
			byNode[n] = append(byNode[n], c)
		}
		if len(byNode) == 1 {
			h.send(ctx, cmds)
		} else {
			var wg sync.WaitGroup
			for _, n := range slices.Sorted(maps.Keys(byNode)) {
				wg.Go(func() { h.send(ctx, byNode[n]) })
			}
			wg.Wait()
		}
		var failed error
		for _, c := range cmds {
			failed = cmp.Or(failed, c.Err())
		}
		h.i.told(cmds, asked, failed)
		return failed
	}
}

// told keeps which marks the instance was told to be others than it thought, until
// a take-over tells it what they are. What was asked before that does not count, nor
// does a refusal in a round that was not answered by all.
func (i *instance) told(cmds []redis.Cmder, asked time.Time, failed error) {
	i.w.mu.Lock()
	defer i.w.mu.Unlock()
	for _, c := range cmds {
		if c.Err() != nil {
			continue
		}
		args := words(c)
		name := scriptName(args[1])
		argv := args[3+int(whole(args[2])):]
		reply, _ := c.(*redis.Cmd).Val().([]any)
		switch name {
		case "take_over":
			src, _ := sourceOf(argv[0])
			m := mark{shardOfKey(keyOf(args)), src}
			delete(i.refused, m)
			i.tookOver[m] = time.Now()
		case "confirm":
			for k, ok := range reply {
				src, _ := sourceOf(argv[4*k])
				m := mark{shardOfKey(keyOf(args)), src}
				if failed == nil && ok != int64(1) && asked.After(i.tookOver[m]) {
					i.refused[m] = true
				}
			}
		}
	}
}

// send is one round trip to one node.
func (h hook) send(ctx context.Context, cmds []redis.Cmder) {
	all := make([][]string, len(cmds))
	for k, c := range cmds {
		all[k] = words(c)
	}
	switch all[0][0] { // what every start asks; nothing of it can fail here
	case "SCRIPT": // a script or two of many: a node has all of them or none
		h.i.w.mu.Lock()
		clear(h.i.w.redis.bare)
		h.i.w.mu.Unlock()
		set(cmds[0], loadScript(all[0][2]))
		return
	case "CONFIG":
		cmds[0].(*redis.MapStringStringCmd).SetVal(map[string]string{"maxmemory-policy": "noeviction"})
		return
	case "INFO":
		set(cmds[0], "")
		return
	}
	m := h.i.w.redis
	key := nameOf(all[0])
	if strings.HasPrefix(key, "apply_") {
		h.i.applies(key)
	}
	replies, errs := make([]any, len(cmds)), make([]error, len(cmds))
	err := h.i.request(ctx, fmt.Sprintf("redis %d %s", m.node(keyOf(all[0])), key), func() error {
		for k := range all {
			replies[k], errs[k] = m.run(all[k])
			if text := brief(replies[k], errs[k]); strings.Trim(text, "[1 ]") != "" {
				h.i.w.say("%s %s %s -> %s", h.i.name, nameOf(all[k]), keyOf(all[k]), text)
			}
		}
		return nil
	})
	for k, c := range cmds {
		switch {
		case err != nil:
			c.SetErr(err)
		case errs[k] != nil:
			c.SetErr(errs[k])
		case replies[k] == nil:
			c.SetErr(redis.Nil)
		default:
			set(c, replies[k])
		}
	}
}

func brief(reply any, err error) string {
	if err != nil {
		return describe(err)
	}
	if l, ok := reply.([]any); ok && len(l) > 0 {
		if l[0] == "OK" || l[0] == "LAG" { // the source that lags is one of several: which comes first is chance
			return fmt.Sprint(l[0])
		}
	}
	s := strings.ReplaceAll(fmt.Sprint(reply), "\n", "|")
	return s[:min(len(s), 160)]
}

func words(c redis.Cmder) []string {
	args := c.Args()
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = fmt.Sprint(a)
	}
	out[0] = strings.ToUpper(out[0])
	return out
}

// keyOf is the first key of a command.
func keyOf(args []string) string {
	if args[0] == "EVALSHA" {
		return args[3]
	}
	return args[1]
}

// set gives a command its reply.
func set(c redis.Cmder, reply any) {
	list, _ := reply.([]any)
	switch c := c.(type) {
	case *redis.Cmd:
		c.SetVal(reply)
	case *redis.StringCmd:
		c.SetVal(fmt.Sprint(reply))
	case *redis.ZSliceCmd:
		var z []redis.Z
		for i := 0; i+1 < len(list); i += 2 {
			z = append(z, redis.Z{Member: list[i], Score: float64(whole(fmt.Sprint(list[i+1])))})
		}
		c.SetVal(z)
	default:
		panic(fmt.Sprintf("the simulation has no reply for %T", c))
	}
}

// nameOf says what a command is: of a script its name and source.
func nameOf(args []string) string {
	if args[0] != "EVALSHA" {
		return args[0]
	}
	n := 3 + int(whole(args[2]))
	name := scriptName(args[1])
	if n < len(args) {
		if src, ok := sourceOf(args[n]); ok {
			return name + " " + src.String()
		}
	}
	return name
}

var scriptNames sync.Map // sha -> name

// scriptName finds the file that a script ends with.
func scriptName(sha string) string {
	if name, ok := scriptNames.Load(sha); ok {
		return name.(string)
	}
	scripts.Lock()
	defer scripts.Unlock()
	text := ""
	for t, s := range scripts.byText {
		if s == sha {
			text = t
		}
	}
	files, err := filepath.Glob("../../balance/lua/*.lua")
	if err != nil || len(files) == 0 {
		panic("no scripts beside the simulation")
	}
	name, last := "", -1
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			panic(err)
		}
		head, _, _ := strings.Cut(string(b), "\n")
		if at := strings.LastIndex(text, head); at > last {
			name, last = strings.TrimSuffix(filepath.Base(f), ".lua"), at
		}
	}
	scriptNames.Store(sha, name)
	return name
}
