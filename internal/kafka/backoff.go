package kafka

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait between attempts: Base after the first failure,
// doubled each time, never above Max, and of that between half and all, at
// random. Zero fields mean 100 ms, 5 s and math/rand/v2.
type Backoff struct {
	Base time.Duration
	Max  time.Duration
	Rand func(n int64) int64 // from 0 to n-1; for a run that is to be repeated
}

// Delay returns the wait after failure number attempt, counted from zero.
func (b Backoff) Delay(attempt int) time.Duration {
	base, most := b.Base, b.Max
	if base <= 0 {
		base = 100 * time.Millisecond
	}
	if most <= 0 {
		most = 5 * time.Second
	}
	d := min(base, most)
	for range min(max(attempt, 0), 62) {
		if d >= most/2 {
			d = most
			break
		}
		d *= 2
	}
	random := b.Rand
	if random == nil {
		random = rand.Int64N
	}
	half := d / 2
	return half + time.Duration(random(int64(d-half+1)))
}

// Wait waits for Delay(attempt) or until ctx ends, and then returns its error.
func (b Backoff) Wait(ctx context.Context, attempt int) error {
	timer := time.NewTimer(b.Delay(attempt))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
