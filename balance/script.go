package balance

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by sha1
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A script is one Lua file, or several that make one.
type script struct{ name, text, sha string }

func newScript(name string, parts ...string) *script {
	text := strings.Join(parts, "\n")
	sum := sha1.Sum([]byte(text)) //nolint:gosec // Redis names scripts by sha1
	return &script{name: name, text: text, sha: hex.EncodeToString(sum[:])}
}

var (
	//go:embed lua/trim.lua
	trimLua string
	//go:embed lua/account.lua
	accountLua string
	//go:embed lua/apply_cdrs.lua
	applyCDRsLua string
	//go:embed lua/calendar.lua
	calendarLua string
	//go:embed lua/commands.lua
	commandsLua string
	//go:embed lua/apply_commands.lua
	applyCommandsLua string
	//go:embed lua/take_over.lua
	takeOverLua string
	//go:embed lua/confirm.lua
	confirmLua string
	//go:embed lua/still_open.lua
	stillOpenLua string
	//go:embed lua/expiry.lua
	expiryLua string
	//go:embed lua/holds.lua
	holdsLua string
	//go:embed lua/forget.lua
	forgetLua string
	//go:embed lua/create.lua
	createLua string
	//go:embed lua/note_decks.lua
	noteDecksLua string
)

//nolint:gochecknoglobals // immutable: the embedded scripts and their names
var (
	applyCDRs     = newScript("apply_cdrs", trimLua, accountLua, applyCDRsLua)
	applyCommands = newScript("apply_commands", trimLua, accountLua, calendarLua, commandsLua, applyCommandsLua)
	takeOver      = newScript("take_over", takeOverLua)
	confirm       = newScript("confirm", trimLua, confirmLua)
	stillOpen     = newScript("still_open", stillOpenLua)
	expiry        = newScript("expiry", expiryLua)
	holds         = newScript("holds", holdsLua)
	forget        = newScript("forget", forgetLua)
	create        = newScript("create", createLua)
	noteDecks     = newScript("note_decks", noteDecksLua)
)

// A call is one script with its keys and arguments.
type call struct {
	script *script
	keys   []string
	args   []any
}

// run sends calls in one pipeline. replies[i] and errs[i] belong to calls[i]. A
// server that does not know a script gets it, and those calls run once more:
// NOSCRIPT means that nothing of them was done.
func (s *Store) run(ctx context.Context, calls []call) (replies []any, errs []error) {
	replies, errs = make([]any, len(calls)), make([]error, len(calls))
	todo := make([]int, len(calls))
	for i := range calls {
		todo[i] = i
	}
	const attempts = 3
	for range attempts {
		todo = s.send(ctx, calls, todo, replies, errs)
		if len(todo) == 0 {
			break
		}
		if err := s.loadScripts(ctx); err != nil {
			for _, i := range todo {
				errs[i] = err
			}
			break
		}
	}
	for i, c := range calls {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("run %s on %s: %w", c.script.name, c.keys[0], errs[i])
		}
	}
	return replies, errs
}

// send runs the calls of todo and returns those whose script was not there.
func (s *Store) send(ctx context.Context, calls []call, todo []int, replies []any, errs []error) (again []int) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.Cmd, len(todo))
	for k, i := range todo {
		cmds[k] = pipe.EvalSha(ctx, calls[i].script.sha, calls[i].keys, calls[i].args...)
	}
	_, _ = pipe.Exec(ctx) // each command carries its own error
	for k, i := range todo {
		replies[i], errs[i] = cmds[k].Result()
		if redis.HasErrorPrefix(errs[i], "NOSCRIPT") {
			again = append(again, i)
		}
	}
	return again
}

// loadScripts puts every script on every master.
func (s *Store) loadScripts(ctx context.Context) error {
	load := func(ctx context.Context, rdb redis.Cmdable) error {
		for _, sc := range []*script{applyCDRs, applyCommands, takeOver, confirm, stillOpen, expiry, holds, forget, create, noteDecks} {
			sha, err := rdb.ScriptLoad(ctx, sc.text).Result()
			if err != nil {
				return fmt.Errorf("load script %s: %w", sc.name, err)
			}
			if sha != sc.sha {
				return faultf("load script %s: server names it %s, we %s", sc.name, sha, sc.sha)
			}
		}
		return nil
	}
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return load(ctx, c) })
	}
	return load(ctx, s.rdb)
}
