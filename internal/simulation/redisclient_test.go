package simulation_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

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
// a take-over tells it what they are, or they are confirmed. What was asked before that
// does not count, nor does a refusal in a round that was not answered by all. (A call
// that a server lacked the script for is sent again, and then looks younger than a
// take-over that came between.)
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
				switch {
				case failed != nil:
				case ok == int64(1):
					delete(i.refused, m)
				case asked.After(i.tookOver[m]):
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
		h.i.applies(ctx, key)
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
