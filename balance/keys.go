package balance

import (
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/creditstream/creditstream/rating"
)

// metaKey holds what is fixed when a store is created.
const metaKey = "cs:meta"

// decksKey holds the decks that the store is priced by: version -> valid_from, id.
const decksKey = "cs:decks"

// mappingsKey holds what the meaning of the store's records depends on: version and
// source -> active_from.
const mappingsKey = "cs:mappings"

// Every key of a shard carries the hash tag {<shard>}, so that Redis Cluster
// keeps a shard together and one script can reach all of it.
func shardKey(shard int, rest string) string {
	return "cs:{" + strconv.Itoa(shard) + "}:" + rest
}

// shardKeys is the pattern of every key of every shard.
const shardKeys = "cs:{*}:*"

func marksKey(shard int) string { return shardKey(shard, "marks") }
func dueKey(shard int) string   { return shardKey(shard, "due") }

// indexKey holds the ids of the shard's accounts, for listing them.
func indexKey(shard int) string { return shardKey(shard, "accounts") }

func outboxKey(shard int, source Source) string {
	return shardKey(shard, "outbox:"+source.String())
}

func accountKey(shard int, account string) string  { return shardKey(shard, "acct:"+account) }
func lotsKey(shard int, account string) string     { return shardKey(shard, "lots:"+account) }
func ledgerKey(shard int, account string) string   { return shardKey(shard, "ledger:"+account) }
func commandsKey(shard int, account string) string { return shardKey(shard, "cmds:"+account) }

func seenKey(shard int, slice int64) string {
	return shardKey(shard, "seen:"+strconv.FormatInt(slice, 10))
}

// shardOf maps an account to its shard: xxhash64 of the id modulo the number of
// shards, fixed for the life of a store.
func shardOf(account string, shards int) int {
	return int(xxhash.Sum64String(account) % uint64(shards)) //nolint:gosec // shards is small and positive
}

// ValidAccount reports whether id is an account id: [A-Za-z0-9._@-]{1,64}, and not
// "." or "..", which a path of the API cannot name.
func ValidAccount(id string) bool {
	if id == "" || len(id) > 64 || id == "." || id == ".." {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

// CDRDigest names a CDR among all that a store remembers: 64 bits of source, id,
// account and answer time. Two CDRs of one digest are one call.
//
// A call that is free whatever its account is another call than one of the same
// id that is not: else which of the two counts would depend on their order.
func CDRDigest(c *rating.CDR) int64 {
	var d xxhash.Digest
	d.Reset()
	if c.Kind.AlwaysFree() {
		_, _ = d.Write([]byte{1})
	}
	for _, s := range [...]string{c.Source, c.ID, c.Account} {
		_, _ = d.WriteString(s)
		_, _ = d.Write([]byte{0})
	}
	_, _ = d.WriteString(strconv.FormatInt(c.AnsweredAt.UnixNano(), 10))
	return int64(d.Sum64()) //nolint:gosec // the bits matter, not the sign
}

// RecordDigest names the bytes of a log record: the mark keeps that of the last
// record before it, so that a recreated or truncated topic is noticed.
func RecordDigest(key, value []byte) string {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.Write(key)
	_, _ = d.Write([]byte{0})
	_, _ = d.Write(value)
	return strconv.FormatUint(d.Sum64(), 16) + "." + strconv.Itoa(len(value))
}
