package simulation_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/internal/sandbox/redisserver"
)

var conformFlag = flag.Int("conform", 80, "seeds whose calls are compared with those of a redis-server")

// A tape is all that was done to a redisModel.
type tape struct{ acts []act }

// An act is a command and its reply, or what a failover left.
type act struct {
	args  []string
	reply any
	left  []write // not nil: of a failover
}

func (t *tape) record(args []string, reply any) {
	if t != nil {
		t.acts = append(t.acts, act{args: args, reply: reply})
	}
}

func (t *tape) back(left []write) {
	if t != nil {
		t.acts = append(t.acts, act{left: append([]write{}, left...)})
	}
}

// TestRedisServerAnswersTheSame: every call of whole runs, failovers included, is
// done to a redis-server too. Its replies are the same, and what it holds at the end.
// Every script that package balance loads is among them.
func TestRedisServerAnswersTheSame(t *testing.T) {
	if *childFlag != "" || *seedFlag >= 0 {
		return
	}
	server, err := redisserver.Start(t.Context(), redisserver.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), Protocol: 2})
	t.Cleanup(func() { _ = rdb.Close() })
	calls := map[string]int{}
	for seed := range uint64(*conformFlag) {
		tape := &tape{}
		r := simulate(t, options{seed: seed, tape: tape})
		compare(t, rdb, fmt.Sprintf("seed %d", seed), tape, r.dump, calls)
		notes, dump := noteAtRandom(t, seed)
		compare(t, rdb, fmt.Sprintf("notes of seed %d", seed), notes, dump, calls)
	}
	for _, text := range scriptTexts() {
		if name := scriptName(loadScript(text)); calls[name] < 5 {
			t.Errorf("%d calls of %s prove little", calls[name], name)
		}
	}
	t.Logf("%v", calls)
}

// compare does what is on a tape to a server, and counts the calls of scripts.
func compare(t *testing.T, rdb *redis.Client, what string, tape *tape, holds []string, calls map[string]int) {
	t.Helper()
	if err := rdb.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for _, text := range scriptTexts() {
		if err := rdb.ScriptLoad(t.Context(), text).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range tape.acts {
		if a.left != nil {
			rebuild(t, rdb, a.left)
			continue
		}
		if a.args[0] == "EVALSHA" {
			calls[scriptName(a.args[1])]++
		}
		reply, err := rdb.Do(t.Context(), anys(a.args)...).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // the client returns it as it is
			t.Fatalf("%s, call %d: %s %q: %v", what, i, nameOf(a.args), a.args, err)
		}
		if got, want := canonical(a.args, reply), canonical(a.args, a.reply); got != want {
			t.Fatalf("%s, call %d: %s %q: the server answers %s, the simulation %s", what, i, nameOf(a.args), a.args, got, want)
		}
	}
	if got := dumpOf(t.Context(), t, rdb); !slices.Equal(got, holds) {
		t.Fatalf("%s: the server holds\n%q\nthe simulation\n%q", what, got, holds)
	}
}

// noteAtRandom has processes note versions of decks, which the stream does not do by
// itself: some lack what others have noted, some come too late.
func noteAtRandom(t *testing.T, seed uint64) (*tape, []string) {
	t.Helper()
	tape := &tape{}
	w := newWorld(t.Context(), options{seed: seed, tape: tape})
	r, _ := w.draw("notes")
	sha := ""
	for _, text := range scriptTexts() {
		if scriptName(loadScript(text)) == "note" {
			sha = loadScript(text)
		}
	}
	for range 20 {
		args := []string{"EVALSHA", sha, "1", "cs:decks", strconv.Itoa(r.IntN(8)), strconv.Itoa(r.IntN(6))}
		for v := range 4 {
			if from := strconv.Itoa(2 * v); r.IntN(3) > 0 {
				args = append(args, fmt.Sprintf("v%d of%d", v, v%2), from, from+" deck")
			}
		}
		if _, err := w.redis.run(args); err != nil {
			t.Fatal(err)
		}
	}
	return tape, w.redis.keys.dump()
}

// canonical is a reply as text; of `create`, whose order is that of a hash, sorted.
func canonical(args []string, reply any) string {
	if list, ok := reply.([]any); ok && args[0] == "EVALSHA" && scriptName(args[1]) == "create" {
		var pairs []string
		for i := 0; i+1 < len(list); i += 2 {
			pairs = append(pairs, fmt.Sprint(list[i], " ", list[i+1]))
		}
		slices.Sort(pairs)
		return fmt.Sprint(pairs)
	}
	return fmt.Sprint(reply)
}

func scriptTexts() []string {
	scripts.Lock()
	defer scripts.Unlock()
	var out []string
	for text := range scripts.byText {
		out = append(out, text)
	}
	return out
}

func anys(words []string) []any {
	out := make([]any, len(words))
	for i, w := range words {
		out[i] = w
	}
	return out
}

func rebuild(t *testing.T, rdb *redis.Client, left []write) {
	t.Helper()
	pipe := rdb.Pipeline()
	pipe.FlushDB(t.Context())
	for _, w := range left {
		pipe.Do(t.Context(), anys(w.args)...)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// dumpOf is keyspace.dump of a server.
func dumpOf(ctx context.Context, t *testing.T, rdb *redis.Client) []string {
	t.Helper()
	k := newKeyspace()
	keys, err := rdb.Keys(ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		switch kind := rdb.Type(ctx, key).Val(); kind {
		case "hash":
			k.hashes[key] = rdb.HGetAll(ctx, key).Val()
		case "list":
			k.lists[key] = rdb.LRange(ctx, key, 0, -1).Val()
		case "set":
			k.sets[key] = map[string]struct{}{}
			for _, m := range rdb.SMembers(ctx, key).Val() {
				k.sets[key][m] = struct{}{}
			}
		case "zset":
			k.zsets[key] = map[string]int64{}
			for _, z := range rdb.ZRangeWithScores(ctx, key, 0, -1).Val() {
				k.zsets[key][z.Member.(string)] = whole(strconv.FormatFloat(z.Score, 'f', -1, 64))
			}
		default:
			t.Fatalf("%s is a %s", key, kind)
		}
	}
	return k.dump()
}
