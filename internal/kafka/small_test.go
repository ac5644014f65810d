package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/creditstream/creditstream/internal/kafka"
)

// The vectors of org.apache.kafka.common.utils.UtilsTest.
func TestMurmur2(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(kafka.Murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
		if got := kafka.PartitionForKey([]byte(key), 10); got != int(uint32(want)&0x7fffffff)%10 {
			t.Errorf("%q: partition %d", key, got)
		}
	}
}

func TestTemporary(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, true},
		{io.ErrUnexpectedEOF, true},
		{net.ErrClosed, true},
		{&net.OpError{Op: "dial", Err: errors.New("x")}, true},
		{&net.DNSError{}, true},
		{kafkago.NotLeaderForPartition, true},
		{kafkago.NotEnoughReplicas, true},
		{kafkago.GroupCoordinatorNotAvailable, true},
		{kafkago.BrokerNotAvailable, true},
		{kafkago.Unknown, true},
		{protocol.NewErrNoTopic("t"), true},
		{protocol.NewErrNoLeader("t", 1), true},
		{kafkago.MessageSizeTooLarge, false},
		{kafkago.TopicAuthorizationFailed, false},
		{kafkago.InvalidMessage, false},
		{kafkago.IllegalGeneration, false},
		{context.Canceled, false},
		{context.DeadlineExceeded, false},
		{kafka.ErrClosed, false},
		{&kafka.BatchError{Err: io.ErrUnexpectedEOF}, false},
		{errors.New("anything"), false},
	} {
		if got := kafka.Temporary(tc.err); got != tc.want {
			t.Errorf("%v: %v", tc.err, got)
		}
		if tc.err != nil && kafka.Temporary(fmt.Errorf("wrapped: %w", tc.err)) != tc.want {
			t.Errorf("wrapped %v: not %v", tc.err, tc.want)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := kafka.Backoff{Base: 10 * time.Millisecond, Max: time.Second}
	full := 10 * time.Millisecond
	for attempt := range 100 {
		if d := b.Delay(attempt); d < full/2 || d > full {
			t.Errorf("attempt %d: %s, want %s to %s", attempt, d, full/2, full)
		}
		full = min(2*full, time.Second)
	}
	if d := (kafka.Backoff{}).Delay(1 << 40); d > 5*time.Second || d < 2500*time.Millisecond {
		t.Errorf("default bound: %s", d)
	}
	b.Rand = func(n int64) int64 { return n - 1 }
	if d := b.Delay(2); d != 40*time.Millisecond {
		t.Errorf("with the most that chance gives: %s, want 40ms", d)
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := b.Wait(t.Context(), 3); err != nil || time.Since(start) < 40*time.Millisecond {
			t.Errorf("waited %s: %v", time.Since(start), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := b.Wait(ctx, 50); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, brokers := range [][]string{nil, {""}, {"host"}, {"host:1", "host:2:3"}} {
		if _, err := kafka.New(kafka.Config{Brokers: brokers}); err == nil {
			t.Errorf("%q was taken", brokers)
		}
	}
}
