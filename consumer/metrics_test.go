package consumer_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
)

const lagSeconds = "creditstream_consumer_lag_seconds"

// A worker that cannot apply grows older from second to second, though it fetches
// nothing, and is at the end again as soon as it is through.
func TestLagGrowsWhileNothingIsApplied(t *testing.T) {
	w := newWorld(t)
	var stuck atomic.Bool
	var judged atomic.Int64
	w.current = func() error {
		if stuck.Load() && judged.Add(1) > 1 { // the batch is judged, and then cannot be applied
			return errors.New("not compared lately")
		}
		return nil
	}
	r := w.start()
	w.create("acme")
	until(t, "ready", func() bool { return w.spent("acme") == 0 && r.Ready() == nil })
	stuck.Store(true)
	w.produce(0, w.call("acme", 7))
	age := func() float64 { return r.figure(t, lagSeconds, "partition", "0") }
	until(t, "it is late", func() bool { return age() > 0 })
	first := age()
	until(t, "it is later", func() bool { return age() > first+0.2 })
	stuck.Store(false)
	until(t, "the end", func() bool { return w.spent("acme") == 7 && age() == 0 })
}

// What a process says of partitions ends with its hold on them: another one counts
// them from then on.
func TestPartitionsThatAreNotHeldAreNotCounted(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 7))
	names := []string{"creditstream_consumer_lag_records", lagSeconds, "creditstream_consumer_outbox_entries"}
	series := func() (n int) {
		families, err := r.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if slices.Contains(names, f.GetName()) {
				n += len(f.GetMetric())
			}
		}
		return n
	}
	until(t, "series", func() bool { return series() == len(names)*2*partitions })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := series(); n != 0 {
		t.Errorf("%d series of partitions that it does not hold", n)
	}
}

func TestRewindsAreCounted(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1))
	until(t, "debited", func() bool { return w.spent("acme") == 1 })
	rounds(t, r)
	old := w.redis.Dump()
	w.produce(0, w.call("acme", 1))
	until(t, "debited", func() bool { return w.spent("acme") == 2 })
	rounds(t, r)
	if n := r.figure(t, "creditstream_consumer_rewinds_total"); n != 0 {
		t.Errorf("%v rewinds before there was one", n)
	}
	w.redis.Restore(old)
	until(t, "debited again", func() bool { return w.spent("acme") == 2 })
	until(t, "a rewind", func() bool { return r.figure(t, "creditstream_consumer_rewinds_total") > 0 })
}
