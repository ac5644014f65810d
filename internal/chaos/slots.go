package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// slotMove moves the slot of a shard to another master, key by key, under load.
func (s *servers) slotMove(ctx context.Context, f *Fault, shards int) (string, error) {
	to, _, err := s.pair(ctx, f.of(0, 3))
	if err != nil {
		return "", err
	}
	c := s.redisClient()
	defer func() { _ = c.Close() }()
	for i := range shards {
		shard := (f.of(1, shards) + i) % shards
		key := fmt.Sprintf("cs:{%d}:marks", shard)
		slot, err := c.ClusterKeySlot(ctx, key).Result()
		if err != nil {
			return "", err
		}
		owner, err := c.MasterForKey(ctx, key)
		if err != nil {
			return "", err
		}
		from := slices.IndexFunc(s.nodes, func(n node) bool {
			return n.proxy.ln.Addr().String() == owner.Options().Addr || n.addr() == owner.Options().Addr
		})
		if from < 0 || s.nodes[from].port == to.port {
			continue
		}
		keys, err := s.moveSlot(ctx, &s.nodes[from], to, slot)
		return fmt.Sprintf("shard %d, slot %d: %d keys from %d to %d", shard, slot, keys, s.nodes[from].port, to.port), err
	}
	return "", errors.New("no shard lies on another master")
}

func (s *servers) moveSlot(ctx context.Context, from *node, to member, slot int64) (keys int, err error) {
	self, err := from.on(ctx, "cluster", "myid")
	if err == nil {
		_, err = to.on(ctx, "cluster", "setslot", slot, "importing", self)
	}
	if err == nil {
		_, err = from.on(ctx, "cluster", "setslot", slot, "migrating", to.id)
	}
	if err != nil {
		return 0, err
	}
	c := redis.NewClient(&redis.Options{Addr: from.addr()})
	defer func() { _ = c.Close() }()
	for {
		batch, err := c.ClusterGetKeysInSlot(ctx, int(slot), 2).Result()
		if err != nil {
			return keys, err
		}
		if len(batch) == 0 {
			break
		}
		args := []any{"migrate", "127.0.0.1", to.port, "", 0, 5000, "keys"}
		for _, k := range batch {
			args = append(args, k)
		}
		if err := c.Do(ctx, args...).Err(); err != nil {
			return keys, fmt.Errorf("migrate slot %d: %w", slot, err)
		}
		keys += len(batch)
		if err := sleep(ctx, 50*time.Millisecond); err != nil { // half of a shard is here, half is there
			return keys, err
		}
	}
	all, err := s.members(ctx)
	if err != nil {
		return keys, err
	}
	// the new owner first: else, should it die in between, nobody had the slot
	slices.SortFunc(all, func(a, b member) int {
		switch to.id {
		case a.id:
			return -1
		case b.id:
			return 1
		}
		return 0
	})
	for _, m := range all {
		if m.master == "" {
			_, err2 := m.on(ctx, "cluster", "setslot", slot, "node", to.id)
			err = errors.Join(err, err2)
		}
	}
	return keys, err
}
