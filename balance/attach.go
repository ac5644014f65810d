package balance

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/creditstream/creditstream/rating"
)

// ErrNoStore means that a Redis holds no store: no processor has created one.
var ErrNoStore = errors.New("this Redis holds no balances")

// Attach returns the store that a Redis holds, with the facts that it was created
// with, to read from and to do its arithmetic. It creates and changes nothing; the
// store applies no batch.
func Attach(ctx context.Context, rdb redis.UniversalClient, now func() time.Time) (*Store, error) {
	opt := Options{Logger: slog.New(slog.DiscardHandler), Now: now}
	opt.setDefaults()
	s := &Store{rdb: rdb, opt: opt}
	ctx, cancel := context.WithTimeout(ctx, opt.CallTimeout)
	defer cancel()
	h, err := rdb.HGetAll(ctx, metaKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", metaKey, err)
	}
	if len(h) == 0 {
		return nil, fmt.Errorf("%w: there is no %s: is it the right address and database?", ErrNoStore, metaKey)
	}
	if h["schema"] != strconv.Itoa(schemaVersion) {
		return nil, fmt.Errorf("%w: %s has schema %s, this version knows %d", ErrMismatch, metaKey, h["schema"], schemaVersion)
	}
	whole := func(name string) (n int) {
		n, e := strconv.Atoi(h[name])
		if err == nil && (e != nil || n < 1) {
			err = faultf("%s: %s is %q: a whole number above zero is expected", metaKey, name, h[name])
		}
		return n
	}
	duration := func(name string) (d time.Duration) {
		d, e := time.ParseDuration(h[name])
		if err == nil && e != nil {
			err = faultf("%s: %s is %q: %w", metaKey, name, h[name], e)
		}
		return d
	}
	o := &s.opt
	o.Shards, o.CommandPartitions = whole("shards"), whole("command_partitions")
	o.SliceWidth, o.Window, o.MaxDuration = duration("slice_width"), duration("id_window"), duration("max_duration")
	o.CDRTopic, o.CommandTopic = h["cdr_topic"], h["command_topic"]
	var e error
	if o.MaxCharge, e = rating.ParseMicros(h["max_charge"]); err == nil && e != nil {
		err = faultf("%s: max_charge: %w", metaKey, e)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// CDRTopic is the topic with the CDRs of the store.
func (s *Store) CDRTopic() string { return s.opt.CDRTopic }

// CommandTopic is the topic with the commands of the store.
func (s *Store) CommandTopic() string { return s.opt.CommandTopic }
