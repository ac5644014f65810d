package balance_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/balance"
)

// incomplete are first settings that are refused: auto-recharge without a trigger.
func incomplete(account, id string) *balance.Command {
	c := keyed(auto(put(account), 0, 50_000_000), id)
	c.Put.AutoRecharge.Value.Trigger = nil
	return c
}

// applied has commands applied, appended a millisecond apart, so many a batch; and
// returns what is stored of accounts.
func applied(t *testing.T, w *world, size int, commands ...*balance.Command) string {
	t.Helper()
	sh := w.store.ShardOf("acme")
	l := lane{sh, balance.Source{Topic: "credit-commands", Partition: w.store.CommandPartition(sh)}}
	for begin := 0; begin < len(commands); begin += size {
		var orders []balance.Order
		for i := begin; i < min(begin+size, len(commands)); i++ {
			orders = append(orders, balance.Order{Offset: int64(i), AppendMillis: w.now.UnixMilli() + int64(i), Command: commands[i]})
		}
		b := &balance.CommandBatch{Position: w.position(l, int64(begin+len(orders))), Orders: orders}
		w.took(l, w.store.ApplyCommands(t.Context(), []*balance.CommandBatch{b})[0])
	}
	if err := w.rdb.HDel(t.Context(), "cs:{"+itoa(sh)+"}:acct:acme", "seq").Err(); err != nil { // it rises with the batches
		t.Fatal(err)
	}
	for _, k := range w.redis.Keys("*") {
		if k == "cs:meta" || strings.HasSuffix(k, "}:marks") || strings.Contains(k, "}:outbox:") {
			if err := w.rdb.Del(t.Context(), k).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return stageOn(w).keys()
}

// Several first settings in one batch are what they are in batches of their own: the
// account begins with those that are accepted, and nothing of it is stored before.
func TestFirstSettingsThatAreRefused(t *testing.T) {
	refused := []*balance.Command{
		topUp("acme", "top-up/1", 10_000_000),
		incomplete("acme", "put/1"),
		incomplete("acme", "put/1"),
		keyed(put("acme"), "put/1"),
		incomplete("acme", ""),
		topUp("acme", "top-up/1", 10_000_000),
		keyed(&balance.Command{Type: balance.PutAccount, Account: "acme", Put: &balance.Settings{}}, "put/2"),
	}
	accepted := append(slices.Clip(refused),
		keyed(put("acme"), "put/3"),
		topUp("acme", "top-up/1", 10_000_000),
		incomplete("acme", "put/1"),
		keyed(put("acme"), "put/1"),
		incomplete("acme", "put/3"),
	)
	for name, tc := range map[string]struct {
		commands []*balance.Command
		check    func(t *testing.T, w *world, keys string)
	}{
		"refused": {refused, func(t *testing.T, w *world, keys string) {
			t.Helper()
			if a, err := w.store.Account(t.Context(), "acme"); !errors.Is(err, balance.ErrUnknownAccount) {
				t.Errorf("%+v, %v", a, err)
			}
			if list, err := w.store.Accounts(t.Context(), "", 10); len(list) > 0 || err != nil {
				t.Errorf("listed: %+v, %v", list, err)
			}
			for line := range strings.Lines(keys) {
				if !strings.Contains(line, "}:cmds:acme ") {
					t.Errorf("stored: %s", line)
				}
			}
		}},
		"accepted": {accepted, func(t *testing.T, w *world, _ string) {
			t.Helper()
			if a := w.account("acme"); a.CreatedMillis != w.now.UnixMilli()+int64(len(refused)) || a.Currency != "USD" || a.Funded != 10_000_000 || a.AutoRecharge != nil {
				t.Errorf("%+v", a)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			together := applied(t, w, len(tc.commands), tc.commands...)
			tc.check(t, w, together)
			for id, want := range map[string]string{"put/1": "auto_recharge_incomplete", "put/2": ""} {
				if r, found, err := w.store.CommandResult(t.Context(), "acme", id); err != nil || r.Refused != want || found != (want != "") {
					t.Errorf("%s: %+v, %t, %v", id, r, found, err)
				}
			}
			for size := range len(tc.commands) - 1 {
				if alone := applied(t, newWorld(t), size+1, tc.commands...); alone != together {
					t.Errorf("in batches of %d:\n%s", size+1, difference(together, alone))
				}
			}
		})
	}
}
