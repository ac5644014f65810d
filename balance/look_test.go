package balance_test

import (
	"slices"
	"testing"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

// A store that has lost the key with its facts is no Redis of somebody else, and one
// where nothing is left but what a processor notes is empty.
func TestLook(t *testing.T) {
	for name, server := range map[string]*testserver.Redis{"one": testserver.NewRedis(t), "cluster": testserver.NewCluster(t, 3, 0).Redis} {
		w := newWorldOn(t, server)
		look := func(when string, want balance.Contents, keys int64) {
			t.Helper()
			if c, n, err := balance.Look(t.Context(), w.rdb); err != nil || c != want || n != keys {
				t.Errorf("%s, %s: %s with %d keys (%v), want %s with %d", name, when, c, n, err, want, keys)
			}
		}
		set := func(key string) {
			t.Helper()
			if err := w.rdb.HSet(t.Context(), key, "a", "b").Err(); err != nil {
				t.Fatal(err)
			}
		}
		w.command(put("acme"))
		look("a store", balance.Held, int64(len(w.redis.Keys("*"))))
		if err := w.rdb.Del(t.Context(), "cs:meta").Err(); err != nil {
			t.Fatal(err)
		}
		look("without its facts", balance.Broken, int64(len(w.redis.Keys("*"))))
		w.redis.Flush()
		look("flushed", balance.Empty, 0)
		set("cs:decks")
		set("cs:mappings")
		look("with what is noted", balance.Empty, 0)
		set("other")
		look("of somebody else", balance.Foreign, 3)
		set("cs:{7}:marks")
		look("with one shard", balance.Broken, 4)
	}
}

func TestBare(t *testing.T) {
	w := newWorld(t)
	cdrs, commands := balance.Source{Topic: w.store.CDRTopic()}, balance.Source{Topic: w.store.CommandTopic()}
	all := make([]balance.Marks, shards)
	var ofCDRs, ofCommands []int
	for sh := range all {
		all[sh] = balance.Marks{}
		if sh%3 == 0 {
			all[sh] = balance.Marks{{Topic: w.store.CDRTopic(), Partition: 1}: {Next: 1}} // of another source
			continue
		}
		ofCDRs = append(ofCDRs, sh)
		if w.store.CommandPartition(sh) == commands.Partition {
			ofCommands = append(ofCommands, sh)
		}
	}
	if got := w.store.Bare(all, cdrs); !slices.Equal(got, ofCDRs) {
		t.Errorf("%v have no mark and take from cdrs/0, want %v", got, ofCDRs)
	}
	if got := w.store.Bare(all, commands); !slices.Equal(got, ofCommands) || len(got) == len(ofCDRs) {
		t.Errorf("%v have no mark and take from credit-commands/0, want %v", got, ofCommands)
	}
}
