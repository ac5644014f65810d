package simulation_test

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// scripts are compiled once for all runs: by text and by sha1.
var scripts struct {
	sync.Mutex

	byText map[string]string
	bySHA  map[string]*lua.FunctionProto
}

// loadScript is SCRIPT LOAD.
func loadScript(text string) string {
	scripts.Lock()
	defer scripts.Unlock()
	if sha, ok := scripts.byText[text]; ok {
		return sha
	}
	if scripts.byText == nil {
		scripts.byText, scripts.bySHA = map[string]string{}, map[string]*lua.FunctionProto{}
	}
	sum := sha1.Sum([]byte(text))
	sha := hex.EncodeToString(sum[:])
	chunk, err := parse.Parse(strings.NewReader(text), "script")
	if err != nil {
		panic(err)
	}
	proto, err := lua.Compile(chunk, sha)
	if err != nil {
		panic(err)
	}
	scripts.byText[text], scripts.bySHA[sha] = sha, proto
	return sha
}

// An interpreter runs scripts. It is not safe for concurrent use.
type interpreter struct {
	l    *lua.LState
	call func(args []string) any // redis.call
	keys []string                // of the script that runs
}

var interpreters = sync.Pool{New: func() any { return newInterpreter() }}

func newInterpreter() *interpreter {
	in := &interpreter{l: lua.NewState(lua.Options{RegistrySize: 1 << 14, RegistryMaxSize: 1 << 18})}
	in.l.SetGlobal("redis", in.l.SetFuncs(in.l.NewTable(), map[string]lua.LGFunction{"call": in.redisCall, "sha1hex": sha1hex}))
	in.l.SetGlobal("struct", in.l.SetFuncs(in.l.NewTable(), map[string]lua.LGFunction{"unpack": structUnpack}))
	return in
}

// run is EVALSHA.
func (in *interpreter) run(sha string, keys, args []string) (any, error) {
	scripts.Lock()
	proto := scripts.bySHA[sha]
	scripts.Unlock()
	if proto == nil {
		return nil, serverError("NOSCRIPT No matching script")
	}
	in.keys = keys
	in.l.SetGlobal("KEYS", in.table(keys))
	in.l.SetGlobal("ARGV", in.table(args))
	in.l.Push(in.l.NewFunctionFromProto(proto))
	if err := in.l.PCall(0, 1, nil); err != nil {
		return nil, serverError("ERR " + err.Error())
	}
	reply := fromLua(in.l.Get(-1))
	in.l.Pop(1)
	return reply, nil
}

func (in *interpreter) table(words []string) *lua.LTable {
	t := in.l.CreateTable(len(words), 0)
	for i, w := range words {
		t.RawSetInt(i+1, lua.LString(w))
	}
	return t
}

func (in *interpreter) redisCall(l *lua.LState) int {
	args := make([]string, l.GetTop())
	for i := range args {
		switch v := l.Get(i + 1).(type) {
		case lua.LString:
			args[i] = string(v)
		case lua.LNumber:
			args[i] = strconv.FormatFloat(float64(v), 'g', 17, 64) // as Redis does
		default:
			l.RaiseError("redis.call: argument %d is %s", i+1, v.Type())
		}
	}
	if !slices.Contains(in.keys, args[1]) { // while its slot moves, a cluster would not have it
		l.RaiseError("redis.call: %s of a key that is not declared: %s", args[0], args[1])
	}
	l.Push(in.toLua(in.call(args)))
	return 1
}

func (in *interpreter) toLua(v any) lua.LValue {
	switch v := v.(type) {
	case nil:
		return lua.LFalse
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case []any:
		t := in.l.CreateTable(len(v), 0)
		for i, x := range v {
			t.RawSetInt(i+1, in.toLua(x))
		}
		return t
	}
	panic(fmt.Sprintf("reply %T", v))
}

func fromLua(v lua.LValue) any {
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return int64(v)
	case *lua.LTable:
		out := []any{}
		for i := 1; v.RawGetInt(i) != lua.LNil; i++ {
			out = append(out, fromLua(v.RawGetInt(i)))
		}
		return out
	}
	return nil
}

func sha1hex(l *lua.LState) int {
	sum := sha1.Sum([]byte(l.CheckString(1)))
	l.Push(lua.LString(hex.EncodeToString(sum[:])))
	return 1
}

// structUnpack knows little-endian doubles and uint16.
func structUnpack(l *lua.LState) int {
	format, data, at := l.CheckString(1), l.CheckString(2), l.CheckInt(3)-1
	n := 0
	for _, c := range format[1:] {
		if c == 'd' {
			l.Push(lua.LNumber(math.Float64frombits(binary.LittleEndian.Uint64([]byte(data[at : at+8])))))
			at += 8
		} else {
			l.Push(lua.LNumber(binary.LittleEndian.Uint16([]byte(data[at : at+2]))))
			at += 2
		}
		n++
	}
	l.Push(lua.LNumber(at + 1))
	return n + 1
}

// serverError is what Redis itself says.
type serverError string

func (e serverError) Error() string { return string(e) }

// RedisError makes it one for go-redis.
func (serverError) RedisError() {}
