package alerts_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// A broker keeps a commands topic. In a synctest bubble its clock is the
// bubble's, plus skew, and an answer takes latency.
type broker struct {
	latency time.Duration

	mu      sync.Mutex
	skew    time.Duration
	fail    []error // of the next attempts
	logs    map[int][]logged
	flying  map[int]int // writes in flight, by partition
	crowded bool        // there were two in flight in one partition
}

type logged struct {
	kafka.Message
	millis int64
}

func newBroker(latency time.Duration, fail ...error) *broker {
	return &broker{latency: latency, fail: fail, logs: map[int][]logged{}, flying: map[int]int{}}
}

func (b *broker) clock() int64 { return time.Now().Add(b.skew).UnixMilli() }

func (b *broker) Write(ctx context.Context, topic string, partition int, msgs []kafka.Message) (kafka.Written, error) {
	b.mu.Lock()
	b.flying[partition]++
	b.crowded = b.crowded || b.flying[partition] > 1
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.flying[partition]--
	}()
	select {
	case <-ctx.Done():
		return kafka.Written{}, ctx.Err()
	case <-time.After(b.latency):
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.fail) > 0 {
		err := b.fail[0]
		b.fail = b.fail[1:]
		return kafka.Written{}, err
	}
	if topic != "credit-commands" || len(msgs) != 1 || msgs[0].Topic != topic || msgs[0].Partition != partition {
		return kafka.Written{}, errors.New("not one message for its partition")
	}
	w := kafka.Written{BaseOffset: int64(len(b.logs[partition])), AppendMillis: b.clock()}
	b.logs[partition] = append(b.logs[partition], logged{msgs[0], w.AppendMillis})
	return w, nil
}

// last returns the append time of the last record of a partition.
func (b *broker) last(partition int) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.logs[partition]; len(l) > 0 {
		return l[len(l)-1].millis
	}
	return -1
}

func (b *broker) len(partition int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.logs[partition])
}

func topUp() *balance.Command {
	amount := rating.Micros(1)
	return &balance.Command{Type: balance.TopUp, Account: "acme", ID: "a", Amount: &amount}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(time.Millisecond)
		c := alerts.NewCommands(b, "credit-commands", partitionOf)
		for want := range int64(3) {
			partition, offset, err := c.Append(t.Context(), topUp())
			if err != nil || partition != 4 || offset != want {
				t.Fatalf("at %d/%d, %v; want 4/%d", partition, offset, err, want)
			}
		}
		m := b.logs[4][2]
		if got, err := balance.DecodeCommand(m.Value); err != nil || got.ID != "a" || string(m.Key) != "acme" {
			t.Errorf("key %s, command %+v, %v", m.Key, got, err)
		}
	})
}

func TestAppendRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker(0, io.EOF, io.ErrUnexpectedEOF, io.EOF)
		began := time.Now()
		if _, offset, err := alerts.NewCommands(b, "credit-commands", partitionOf).Append(t.Context(), topUp()); err != nil || offset != 0 {
			t.Fatalf("at %d, %v", offset, err)
		}
		if waited := time.Since(began); waited < 100*time.Millisecond || waited > time.Second {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestAppendGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		wrong := errors.New("not authorized")
		c := alerts.NewCommands(newBroker(0, wrong), "credit-commands", partitionOf)
		if _, _, err := c.Append(t.Context(), topUp()); !errors.Is(err, wrong) {
			t.Errorf("an error for good: %v", err)
		}

		down := make([]error, 1000)
		for i := range down {
			down[i] = io.EOF
		}
		b := newBroker(0, down...)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, _, err := alerts.NewCommands(b, "credit-commands", partitionOf).Append(ctx, topUp())
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, io.EOF) {
			t.Errorf("the end of the context does not say what it waited for: %v", err)
		}
		if tries := len(down) - len(b.fail); tries < 10 || tries > 40 {
			t.Errorf("%d attempts in 20 s", tries)
		}
	})
}

func TestAppendRefuses(t *testing.T) {
	t.Parallel()
	c := alerts.NewCommands(newBroker(0), "credit-commands", partitionOf)
	for want, cmd := range map[string]*balance.Command{
		"use Tick":          {Type: balance.Tick},
		"amount is missing": {Type: balance.TopUp, Account: "acme", ID: "a"},
		"account \"a b\"":   {Type: balance.Resume, Account: "a b"},
	} {
		if _, _, err := c.Append(t.Context(), cmd); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q in it", cmd.Type, err, want)
		}
	}
}
