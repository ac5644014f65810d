package balance_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/balance"
)

func TestAttachFindsTheStoreAsItWasMade(t *testing.T) {
	w := newWorld(t)
	w.command(put("acme"))
	w.command(topUp("acme", "k", 7))
	s, err := balance.Attach(t.Context(), w.rdb, func() time.Time { return w.now })
	if err != nil {
		t.Fatal(err)
	}
	longest, dearest := s.Limits()
	wantLongest, wantDearest := w.store.Limits()
	if s.Shards() != shards || s.CommandPartition(3) != w.store.CommandPartition(3) || s.CommandTopic() != "credit-commands" ||
		s.Window() != w.store.Window() || longest != wantLongest || dearest != wantDearest || s.Slice(w.now) != w.store.Slice(w.now) {
		t.Errorf("%+v", s)
	}
	if a, err := s.Account(t.Context(), "acme"); err != nil || a.Balance() != 7 {
		t.Errorf("%+v %v", a, err)
	}
}

func TestAttachMakesNothing(t *testing.T) {
	w := newWorld(t)
	w.redis.Flush()
	if _, err := balance.Attach(t.Context(), w.rdb, time.Now); !errors.Is(err, balance.ErrNoStore) {
		t.Error(err)
	}
	if keys := w.redis.Keys("*"); len(keys) != 0 {
		t.Errorf("keys %v", keys)
	}
	for field, bad := range map[string]string{"shards": "0", "id_window": "35d", "max_charge": "x", "schema": "1"} {
		w := newWorld(t)
		if err := w.rdb.HSet(t.Context(), "cs:meta", field, bad).Err(); err != nil {
			t.Fatal(err)
		}
		if _, err := balance.Attach(t.Context(), w.rdb, time.Now); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
