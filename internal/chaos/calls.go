package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A Mix says what part of the CDRs is not as it should be, in records of a
// million.
type Mix struct{ Twice, Late, Garbage, Aborted int }

// A switchboard writes CDRs, at an even pace, until all are written. How a call
// looks follows from the seed; when it is written does not.
type switchboard struct {
	brokers    []string
	topic      string
	partitions int
	total      int
	span       time.Duration
	mix        Mix
	people     *people
	now        func() time.Time
	rng        *rand.Rand

	id     int
	later  []laterCall
	failed atomic.Int64 // writes of which nobody knows whether they are in the log
	sent   int
}

type laterCall struct {
	at    time.Time
	value []byte
}

const stepEvery = 20 * time.Millisecond

func (s *switchboard) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(5 * time.Millisecond),
		kgo.MetadataMinAge(250 * time.Millisecond),
	}, opts...)...)
}

// run writes all calls and returns when they are acknowledged.
func (s *switchboard) run(ctx context.Context) error {
	plain, err := s.client()
	if err != nil {
		return err
	}
	defer plain.Close()
	careful, err := s.client(kgo.TransactionalID("switch"), kgo.TransactionTimeout(10*time.Second))
	if err != nil {
		return err
	}
	defer careful.Close()
	tick := time.NewTicker(stepEvery)
	defer tick.Stop()
	for began := s.now(); s.sent < s.total; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		due := min(s.total, int(int64(s.total)*int64(s.now().Sub(began))/int64(s.span)))
		s.write(ctx, plain, s.ripe(s.now()))
		var batch [][]byte
		for ; s.sent < due; s.sent++ {
			batch = s.add(batch, s.call())
		}
		if len(batch) > 0 && s.rng.IntN(1_000_000) < s.mix.Aborted {
			s.transaction(ctx, careful, batch)
			continue
		}
		s.write(ctx, plain, batch)
	}
	s.write(ctx, plain, s.ripe(s.now().Add(time.Hour)))
	return plain.Flush(ctx)
}

// add puts a call into a batch, or away for later, or both.
func (s *switchboard) add(batch [][]byte, value []byte) [][]byte {
	wait := func(most time.Duration) laterCall {
		return laterCall{s.now().Add(time.Duration(s.rng.Int64N(int64(most)))), value}
	}
	switch x := s.rng.IntN(1_000_000); {
	case x < s.mix.Twice:
		s.later = append(s.later, wait(8*time.Second))
		if s.rng.IntN(2) == 0 {
			batch = append(batch, value)
		}
		return append(batch, value)
	case x < s.mix.Twice+s.mix.Late:
		s.later = append(s.later, wait(5*time.Second))
		return batch
	}
	return append(batch, value)
}

// ripe takes what was put away until a time.
func (s *switchboard) ripe(now time.Time) (out [][]byte) {
	var left []laterCall
	for _, l := range s.later {
		if l.at.After(now) {
			left = append(left, l)
		} else {
			out = append(out, l.value)
		}
	}
	s.later = left
	return out
}

func (s *switchboard) write(ctx context.Context, c *kgo.Client, values [][]byte) {
	for _, v := range values {
		c.Produce(ctx, s.record(v), func(_ *kgo.Record, err error) {
			if err != nil {
				s.failed.Add(1)
			}
		})
	}
}

func (s *switchboard) record(value []byte) *kgo.Record {
	return &kgo.Record{Topic: s.topic, Partition: int32(s.rng.IntN(s.partitions)), Value: value} //nolint:gosec // few partitions
}

// transaction writes a batch in a transaction, two times in three an aborted one;
// of what is aborted, half is written again, as a switch would.
func (s *switchboard) transaction(ctx context.Context, c *kgo.Client, batch [][]byte) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	how := kgo.TransactionEndTry(s.rng.IntN(3) == 0)
	if err := c.BeginTransaction(); err != nil {
		s.failed.Add(int64(len(batch)))
		return
	}
	s.write(ctx, c, batch)
	if c.Flush(ctx) != nil || c.EndTransaction(ctx, how) != nil {
		_ = c.EndTransaction(ctx, kgo.TryAbort) // else the coordinator aborts it after 10 s
		how = kgo.TryAbort
	}
	if how == kgo.TryAbort && s.rng.IntN(2) == 0 {
		for _, v := range batch {
			s.later = append(s.later, laterCall{s.now(), v})
		}
	}
}

// call makes up a call.
func (s *switchboard) call() []byte {
	s.id++
	r := s.rng
	if r.IntN(1_000_000) < s.mix.Garbage {
		return fmt.Appendf(nil, `{"id":"c%d", broken`, s.id)
	}
	account := s.people.anybody(r)
	if r.IntN(400) == 0 {
		account = "nobody-" + strconv.Itoa(r.IntN(5))
	}
	callee := "+3314268" + strconv.Itoa(1000+r.IntN(9000))
	switch x := r.IntN(200); {
	case x == 0:
		callee = "+999123" // no rate
	case x < 100:
		callee = "+44207" + strconv.Itoa(10_000+r.IntN(90_000))
	}
	kind, duration := "user_out", r.IntN(400_000)
	ago := time.Duration(r.IntN(3600)) * time.Second
	switch r.IntN(40) {
	case 0:
		kind = "user_in" // free in the deck
	case 1:
		kind = "internal" // free whatever the account
	case 2:
		duration = 0
	case 3:
		ago = 40 * 24 * time.Hour * time.Duration(r.IntN(2)) // half of them too old
	}
	answered := `,"answered_at":"` + s.now().Add(-ago).UTC().Format(time.RFC3339Nano) + `"`
	if r.IntN(20) == 0 {
		answered = ""
	}
	return fmt.Appendf(nil, `{"id":"c%d","source":"s%d","account":%q,"kind":%q,"callee":%q%s,"duration_ms":%d}`,
		s.id, s.id%3, account, kind, callee, answered, duration)
}
