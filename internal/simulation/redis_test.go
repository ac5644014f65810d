package simulation_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// keyspace is what a Redis holds, with the commands that we use. Scores are whole
// numbers. Nothing here checks types: a key has one by its name.
type keyspace struct {
	hashes map[string]map[string]string
	lists  map[string][]string
	sets   map[string]map[string]struct{}
	zsets  map[string]map[string]int64
}

func newKeyspace() *keyspace {
	return &keyspace{
		hashes: map[string]map[string]string{}, lists: map[string][]string{},
		sets: map[string]map[string]struct{}{}, zsets: map[string]map[string]int64{},
	}
}

// writes are the commands that change something.
var writes = map[string]bool{
	"HSET": true, "HDEL": true, "HINCRBY": true, "RPUSH": true, "LPUSH": true, "LTRIM": true,
	"SADD": true, "ZADD": true, "ZREM": true, "UNLINK": true,
}

// do runs one command. Its reply is nil, a string, an int64 or a list of them, as
// go-redis has it.
func (k *keyspace) do(args []string) any {
	switch args[0] {
	case "HGET", "HMGET", "HGETALL", "HSET", "HDEL", "HINCRBY":
		return k.hash(args)
	case "LINDEX", "LRANGE", "RPUSH", "LPUSH", "LTRIM":
		return k.list(args)
	case "SADD", "SMISMEMBER":
		return k.set(args)
	case "ZADD", "ZREM", "ZSCORE", "ZRANGE", "ZRANGEBYSCORE":
		return k.zset(args)
	case "EXISTS":
		if k.has(args[1]) {
			return int64(1)
		}
		return int64(0)
	case "UNLINK":
		delete(k.hashes, args[1])
		delete(k.lists, args[1])
		delete(k.sets, args[1])
		delete(k.zsets, args[1])
		return int64(1)
	}
	panic(fmt.Sprintf("the simulation has no Redis command %q", args))
}

func (k *keyspace) has(key string) bool {
	return len(k.hashes[key])+len(k.lists[key])+len(k.sets[key])+len(k.zsets[key]) > 0
}

func (k *keyspace) hash(args []string) any {
	h := k.hashes[args[1]]
	field := func(name string) any {
		if v, ok := h[name]; ok {
			return v
		}
		return nil
	}
	switch args[0] {
	case "HGET":
		return field(args[2])
	case "HMGET":
		out := make([]any, len(args)-2)
		for i, name := range args[2:] {
			out[i] = field(name)
		}
		return out
	case "HGETALL":
		out := make([]any, 0, 2*len(h))
		for _, name := range slices.Sorted(maps.Keys(h)) {
			out = append(out, name, h[name])
		}
		return out
	case "HDEL":
		delete(h, args[2])
		return int64(1)
	}
	if h == nil {
		h = map[string]string{}
		k.hashes[args[1]] = h
	}
	if args[0] == "HINCRBY" {
		n := whole(h[args[2]]) + whole(args[3])
		h[args[2]] = strconv.FormatInt(n, 10)
		return n
	}
	for i := 2; i+1 < len(args); i += 2 {
		h[args[i]] = args[i+1]
	}
	return int64(len(args)/2 - 1)
}

func (k *keyspace) list(args []string) any {
	l := k.lists[args[1]]
	span := func(from, to string) []string {
		a, b := int(whole(from)), int(whole(to))
		if b < 0 {
			b += len(l)
		}
		a, b = min(a, len(l)), min(b+1, len(l))
		return l[a:max(a, b)]
	}
	switch args[0] {
	case "LINDEX":
		if i := int(whole(args[2])); i < len(l) {
			return l[i]
		}
		return nil
	case "LRANGE":
		return texts(span(args[2], args[3]))
	case "LTRIM":
		k.lists[args[1]] = slices.Clone(span(args[2], args[3]))
		return "OK"
	case "LPUSH":
		k.lists[args[1]] = slices.Insert(slices.Clone(l), 0, args[2])
	default:
		k.lists[args[1]] = append(l, args[2])
	}
	return int64(len(l) + 1)
}

func (k *keyspace) set(args []string) any {
	s := k.sets[args[1]]
	if args[0] == "SMISMEMBER" {
		out := make([]any, len(args)-2)
		for i, m := range args[2:] {
			out[i] = int64(0)
			if _, ok := s[m]; ok {
				out[i] = int64(1)
			}
		}
		return out
	}
	if s == nil {
		s = map[string]struct{}{}
		k.sets[args[1]] = s
	}
	for _, m := range args[2:] {
		s[m] = struct{}{}
	}
	return int64(len(args) - 2)
}

func (k *keyspace) zset(args []string) any {
	z := k.zsets[args[1]]
	switch args[0] {
	case "ZADD":
		if z == nil {
			z = map[string]int64{}
			k.zsets[args[1]] = z
		}
		for i := 2; i+1 < len(args); i += 2 {
			z[args[i+1]] = whole(args[i])
		}
		return int64(1)
	case "ZREM":
		for _, m := range args[2:] {
			delete(z, m)
		}
		return int64(1)
	case "ZSCORE":
		if s, ok := z[args[2]]; ok {
			return strconv.FormatInt(s, 10)
		}
		return nil
	}
	members := make([]string, 0, len(z))
	for m := range z {
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b string) int { return cmp.Or(cmp.Compare(z[a], z[b]), cmp.Compare(a, b)) })
	most := int64(math.MaxInt64)
	switch {
	case args[0] == "ZRANGEBYSCORE":
		most = whole(args[3])
	case args[3] != "-1":
		members = members[:min(len(members), int(whole(args[3]))+1)]
	}
	var out []any
	scores := slices.ContainsFunc(args, func(a string) bool { return strings.EqualFold(a, "withscores") })
	for _, m := range members {
		if z[m] > most {
			break
		}
		out = append(out, m)
		if scores {
			out = append(out, strconv.FormatInt(z[m], 10))
		}
	}
	return out
}

func texts(l []string) []any {
	out := make([]any, len(l))
	for i, s := range l {
		out[i] = s
	}
	return out
}

// whole reads a number that Lua or go-redis has written.
func whole(s string) int64 {
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("not a whole number: " + s)
	}
	return n
}

// dump is all that is held, in words that a real Redis can be asked for too.
func (k *keyspace) dump() []string {
	var out []string
	for key, h := range k.hashes {
		for f, v := range h {
			out = append(out, "hash "+key+" "+f+" "+v)
		}
	}
	for key, l := range k.lists {
		for i, v := range l {
			out = append(out, fmt.Sprintf("list %s %d %s", key, i, v))
		}
	}
	for key, s := range k.sets {
		for m := range s {
			out = append(out, "set "+key+" "+m)
		}
	}
	for key, z := range k.zsets {
		for m, score := range z {
			out = append(out, fmt.Sprintf("zset %s %d %s", key, score, m))
		}
	}
	slices.Sort(out)
	return out
}
