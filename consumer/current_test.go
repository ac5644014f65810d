package consumer_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/creditstream/creditstream/rating"
)

// dear charges what it is told for every call.
type dear struct{ micros atomic.Int64 }

func (d *dear) Price(*rating.CDR) (rating.Charge, error) {
	return rating.Charge{Amount: rating.Micros(d.micros.Load()), Currency: "USD"}, nil
}

// While it is not known what records mean to other processes none is applied, and
// after that they are judged anew.
func TestNothingIsAppliedWhileItsMeaningIsNotKnown(t *testing.T) {
	w := newWorld(t)
	prices := &dear{}
	prices.micros.Store(1)
	w.rater = prices
	var unknown atomic.Bool
	w.current = func() error {
		if unknown.Load() {
			return errors.New("not compared lately")
		}
		return nil
	}
	r := w.start()
	w.create("acme")
	w.produce(0, w.call("acme", 1000))
	until(t, "the first call", func() bool { return w.spent("acme") == 1 })

	unknown.Store(true)
	w.produce(0, w.call("acme", 1000))
	waits := func() float64 { return r.figure(t, "creditstream_consumer_waits_total", "for", "compare") }
	until(t, "it waits, again and again", func() bool { return waits() >= 3 })
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "compare") {
		t.Errorf("ready: %v", err)
	}
	if got := w.spent("acme"); got != 1 {
		t.Errorf("%d was spent while it was not known what the call means", got)
	}
	prices.micros.Store(10)
	unknown.Store(false)
	until(t, "the second call", func() bool { return w.spent("acme") != 1 })
	if got := w.spent("acme"); got != 11 {
		t.Errorf("%d was spent, want 11: 1, and 10 by the price that came meanwhile", got)
	}
	until(t, "it is ready", func() bool { return r.Ready() == nil })
}

// What was judged before is not applied when its meaning is no longer known: Redis
// may have been away for long between the two.
func TestWhatWasJudgedIsJudgedAnewAfterAWait(t *testing.T) {
	w := newWorld(t)
	prices := &dear{}
	prices.micros.Store(1)
	w.rater = prices
	var calls, refuseFrom atomic.Int64
	w.current = func() error {
		if from := refuseFrom.Load(); from > 0 && calls.Add(1) == from {
			prices.micros.Store(10) // refused once, after the price was asked for
			return errors.New("not compared lately")
		}
		return nil
	}
	w.create("acme")
	r := w.start()
	until(t, "it is ready", func() bool { return r.Ready() == nil })
	refuseFrom.Store(2) // one is asked when the call is judged, two when it is applied
	w.produce(0, w.call("acme", 1000))
	until(t, "the call", func() bool { return w.spent("acme") > 0 })
	if got := w.spent("acme"); got != 10 {
		t.Errorf("%d was spent, want 10", got)
	}
}
