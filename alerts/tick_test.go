package alerts_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
)

// ticking returns a broker whose answers take 2 ms, and Commands on it.
func ticking() (*broker, *alerts.Commands) {
	b := newBroker(2 * time.Millisecond)
	return b, alerts.NewCommands(b, "credit-commands", partitionOf)
}

// tick calls Tick and checks what it promises.
func tick(t *testing.T, b *broker, c *alerts.Commands, partition int, until int64) {
	t.Helper()
	if err := c.Tick(t.Context(), partition, until); err != nil {
		t.Error(err)
	}
	if last := b.last(partition); last <= until {
		t.Errorf("partition %d: the last record is of %d, asked for later than %d", partition, last, until)
	}
}

func TestTickOfThePast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		now := b.clock()
		tick(t, b, c, 4, now-1000)
		if m := b.logs[4][0]; m.Key != nil || string(m.Value) != `{"type":"tick"}` {
			t.Errorf("key %q, value %s", m.Key, m.Value)
		}
		conforms(t, "command.schema.json", b.logs[4][0].Value)
		tick(t, b, c, 4, now-500)
		tick(t, b, c, 4, now+1)
		if n := b.len(4); n != 1 {
			t.Errorf("%d ticks where one was late enough for all", n)
		}
		tick(t, b, c, 5, now-1000) // of another partition nothing is known
	})
}

func TestTickAfterAppend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		began := b.clock()
		if _, _, err := c.Append(t.Context(), topUp()); err != nil {
			t.Fatal(err)
		}
		tick(t, b, c, 4, began)
		if n := b.len(4); n != 1 {
			t.Errorf("%d records: the command was late enough", n)
		}
	})
}

// The broker's clock is not there yet: one tick to learn it, one when it is.
func TestTickWaitsForTheClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		b.skew = -time.Hour // its clock counts, not ours
		began := time.Now()
		tick(t, b, c, 4, b.clock()+250)
		if n, took := b.len(4), time.Since(began); n != 2 || took < 250*time.Millisecond || took > 260*time.Millisecond {
			t.Errorf("%d ticks in %s", n, took)
		}
	})
}

// Calls of one partition share the ticks, whenever they come.
func TestTickIsShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		until := b.clock() + 250
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				tick(t, b, c, 4, until)
			})
		}
		wg.Wait()
		if n := b.len(4); n != 2 || b.crowded {
			t.Errorf("%d ticks for 200 calls, two at a time: %t", n, b.crowded)
		}
	})
}

// Many calls for many times and partitions, with commands in between.
func TestTickAtRandom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		const calls = 2000
		began := b.clock()
		rng := rand.New(rand.NewPCG(1, 2))
		var wg sync.WaitGroup
		for range calls {
			come, ahead, partition := rng.IntN(5000), rng.IntN(800)-400, 5+rng.IntN(3)
			wg.Go(func() {
				<-time.After(time.Duration(come) * time.Millisecond)
				now := b.clock()
				tick(t, b, c, partition, now+int64(ahead))
				if late := b.clock() - max(now, now+int64(ahead)); late > 420 {
					t.Errorf("returned %d ms after its time", late)
				}
			})
		}
		wg.Wait()
		if b.crowded {
			t.Error("two ticks in flight in one partition")
		}
		written := 0
		for p := range b.logs {
			written += b.len(p)
		}
		if took := b.clock() - began; written > calls/2 {
			t.Errorf("%d ticks for %d calls in %d ms", written, calls, took)
		}
	})
}

// A time that is far away costs one tick a second, and a call for a near one does
// not wait for it.
func TestTickFarAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.Tick(ctx, 4, b.clock()+time.Hour.Milliseconds()); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		<-time.After(30_500 * time.Millisecond)
		began := time.Now()
		tick(t, b, c, 4, b.clock()+100)
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("the near one took %s", took)
		}
		wg.Wait()
		if n := b.len(4); n < 55 || n > 65 {
			t.Errorf("%d ticks in a minute", n)
		}
	})
}

// A call whose context ends while its tick is in flight leaves the turn to others.
func TestTickLeavesItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		b.latency = 100 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.Tick(ctx, 4, 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v", err)
			}
		})
		<-time.After(10 * time.Millisecond)
		for range 10 {
			wg.Go(func() { tick(t, b, c, 4, 0) })
		}
		wg.Wait()
		if n := b.len(4); n != 1 || b.crowded {
			t.Errorf("%d ticks, two at a time: %t", n, b.crowded)
		}
	})
}

func TestTickFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		wrong := errors.New("not authorized")
		b.fail = []error{wrong}
		if err := c.Tick(t.Context(), 4, 0); !errors.Is(err, wrong) {
			t.Errorf("error %v", err)
		}
		tick(t, b, c, 4, 0)
	})
}

// A new leader's clock is behind, and another process has appended since: the
// last record is early although we know of a late one. Asking again and again
// must lead to a tick.
func TestTickDoesNotTrustForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, c := ticking()
		until := b.clock()
		tick(t, b, c, 4, until)
		b.skew = -10 * time.Second
		other := alerts.NewCommands(b, "credit-commands", partitionOf)
		if _, _, err := other.Append(t.Context(), &balance.Command{Type: balance.Resume, Account: "acme"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range alerts.MaxAnswers + 1 {
			if err := c.Tick(t.Context(), 4, until); err != nil {
				t.Fatal(err)
			}
		}
		if b.last(4) <= until {
			t.Error("the last record is still early")
		}
		if took := time.Since(began); took < 9*time.Second || took > 12*time.Second {
			t.Errorf("waited %s for a clock that is 10 s behind", took)
		}
	})
}
