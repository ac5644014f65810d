package simulation_test

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

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
