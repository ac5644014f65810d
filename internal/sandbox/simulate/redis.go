package simulate

import (
	"crypto/sha1" //nolint:gosec // Redis names scripts by sha1
	_ "embed"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// structLua defines what miniredis lacks of Redis' Lua.
//
//go:embed struct.lua
var structLua string

const maxScripts = 100

// MemoryRedis is a Redis that keeps everything in memory and computes with other
// code than Redis: for a demo, never for money.
type MemoryRedis struct {
	mini *miniredis.Miniredis

	mu      sync.Mutex
	scripts map[string]string // by sha1, with what miniredis lacks put before
}

// NewMemoryRedis starts one on a free port of the loopback.
func NewMemoryRedis() (*MemoryRedis, error) {
	r := &MemoryRedis{mini: miniredis.NewMiniRedis(), scripts: map[string]string{}}
	if err := r.mini.Start(); err != nil {
		return nil, fmt.Errorf("start a Redis in memory: %w", err)
	}
	r.mini.Server().SetPreHook(r.hook)
	return r, nil
}

// Addr is where it listens.
func (r *MemoryRedis) Addr() string { return r.mini.Addr() }

// Close ends it; everything in it is lost.
func (r *MemoryRedis) Close() { r.mini.Close() }

// hook runs scripts that need struct with structLua before them; the rest is left
// to miniredis.
func (r *MemoryRedis) hook(peer *server.Peer, cmd string, args ...string) bool {
	switch {
	case cmd == "SCRIPT" && len(args) == 2 && strings.EqualFold(args[0], "LOAD"):
		r.learn(args[1])
	case cmd == "EVALSHA" && len(args) > 1:
		r.mu.Lock()
		text := r.scripts[strings.ToLower(args[0])]
		r.mu.Unlock()
		if text != "" {
			r.mini.Server().Dispatch(peer, append([]string{"EVAL", text}, args[1:]...))
			return true
		}
	}
	return false
}

func (r *MemoryRedis) learn(text string) {
	if !strings.Contains(text, "struct.") {
		return
	}
	sum := sha1.Sum([]byte(text)) //nolint:gosec // Redis names scripts by sha1
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.scripts) < maxScripts {
		r.scripts[hex.EncodeToString(sum[:])] = structLua + text
	}
}
