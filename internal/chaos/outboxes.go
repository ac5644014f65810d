package chaos

import (
	"context"
	"crypto/sha1" //nolint:gosec // event ids are made of it; names, not secrets
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// What an outbox holds must leave: of every event that was seen in one there must
// be a record with its id, and of every wish a command, unless Redis has gone back
// meanwhile. Most entries are seen, as they stay for about a second.

// lookAtOutboxes notes what the outboxes hold.
func (w *watch) lookAtOutboxes(ctx context.Context, p *position) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var replies []*redis.StringSliceCmd
	_, err := w.rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for s := range w.shards {
			for tp := range p.ends {
				replies = append(replies, pipe.LRange(ctx, fmt.Sprintf("cs:{%d}:outbox:%s/%d", s, tp.Topic, tp.Partition), 0, -1))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range replies {
		for _, item := range r.Val() {
			w.hold(item)
		}
	}
	return nil
}

// hold notes the events (e) and wishes (w) of a result entry: its name, a header
// and a line for each.
func (w *watch) hold(item string) {
	if w.held == nil {
		w.held = map[string]time.Time{}
	}
	for line := range strings.Lines(item) {
		line = strings.TrimSuffix(line, "\n")
		switch f := strings.Fields(line); {
		case len(f) > 4 && f[0] == "e":
			sum := sha1.Sum([]byte(line)) //nolint:gosec // a name, not a secret
			w.held["event "+f[1]+"/"+f[2]+"/"+f[3]+"-"+hex.EncodeToString(sum[:6])] = w.now()
		case len(f) == 6 && f[0] == "w":
			w.held[strings.Join([]string{"wish", f[1], f[2], f[3], f[5]}, " ")] = w.now()
		}
	}
}

// forgotten reports whether Redis went back soon after a time, or was about to: what
// was in an outbox then may belong to an abandoned timeline.
func (w *watch) forgotten(at time.Time) bool {
	const before, after = 2 * time.Second, 30 * time.Second // publishing waits for Kafka at times
	return slices.ContainsFunc(w.backs, func(back time.Time) bool { return back.After(at.Add(-before)) && back.Before(at.Add(after)) })
}

// unpublished compares what was held with what has left.
func (w *watch) unpublished(l *Logs) (out []Finding) {
	left := map[string]bool{}
	for i := range l.Alerts {
		left["event "+l.Alerts[i].Headers["ce_id"]] = true
	}
	for i := range l.Commands {
		if wish, err := wishOf(l.Commands[i].Value); err == nil {
			left[wish] = true
		}
	}
	for _, what := range slices.Sorted(maps.Keys(w.held)) {
		if !left[what] && !w.forgotten(w.held[what]) {
			out = append(out, Finding{CheckEvents, "an outbox held and nobody published: " + what})
		}
	}
	return out
}

var errNoWish = errors.New("not a wish")

// wishOf is the wish that a command was, as hold writes it.
func wishOf(command []byte) (string, error) {
	var c struct {
		Type, Account, Amount string
		N, Seen               int64
	}
	if err := json.Unmarshal(command, &c); err != nil {
		return "", err
	}
	if c.Type != "recharge.request" {
		return "", errNoWish
	}
	amount, err := moneyOf(c.Amount)
	return fmt.Sprintf("wish %s %d %s %d", c.Account, c.N, amount, c.Seen), err
}
