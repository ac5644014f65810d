package kafka_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/sandbox/broker"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

func scan(t *testing.T, c *kafka.Client, topic string, from int64, stopAt string) (all []string) {
	t.Helper()
	for r, err := range c.Scan(testContext(t), topic, 0, from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(r.Value))
		if string(r.Value) == stopAt {
			break
		}
	}
	return all
}

func TestScanYieldsAllToTheEnd(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	if got := scan(t, c, topic, 0, ""); len(got) != 0 {
		t.Errorf("of an empty topic: %v", got)
	}
	msgs := numbered(topic, 0, 500)
	for part := range slices.Chunk(msgs, 60) {
		if _, err := c.Write(testContext(t), topic, 0, part); err != nil {
			t.Fatal(err)
		}
	}
	if got := scan(t, c, topic, 0, ""); len(got) != 500 || got[0] != "0000" || got[499] != "0499" {
		t.Errorf("%d records", len(got))
	}
	if got := scan(t, c, topic, 498, ""); !slices.Equal(got, []string{"0498", "0499"}) {
		t.Errorf("from 498: %v", got)
	}
	if got := scan(t, c, topic, 497, "0498"); !slices.Equal(got, []string{"0497", "0498"}) {
		t.Errorf("stopped: %v", got)
	}
	if got := scan(t, c, topic, 500, ""); len(got) != 0 {
		t.Errorf("from the end: %v", got)
	}
}

// What is appended meanwhile is not waited for, and what was deleted is passed.
func TestScanHasBounds(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	if _, err := c.Write(testContext(t), topic, 0, numbered(topic, 0, 3)); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range c.Scan(testContext(t), topic, 0, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if _, err := c.Write(testContext(t), topic, 0, numbered(topic, 0, 1)); err != nil || r.Offset > 2 {
			t.Fatal(r.Offset, err)
		}
	}
	if n != 3 {
		t.Errorf("%d records, want 3", n)
	}
	b.DeleteRecords(topic, 0, 2)
	if got := scan(t, c, topic, 0, ""); len(got) != 4 || got[0] != "0002" {
		t.Errorf("after a deletion: %v", got)
	}
}

// A transaction that is never ended hides what follows it: the scan ends there.
func TestScanEndsAtAnOpenTransaction(t *testing.T) {
	t.Parallel()
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b)
	createTopic(t, c, topic, 1, nil)
	if _, err := c.Write(testContext(t), topic, 0, numbered(topic, 0, 1)); err != nil {
		t.Fatal(err)
	}
	p := foreign(t, b, kgo.TransactionalID(b.Name("x")))
	if err := p.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := p.ProduceSync(testContext(t), &kgo.Record{Topic: topic, Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := scan(t, c, topic, 0, ""); !slices.Equal(got, []string{"0000"}) {
		t.Errorf("%v", got)
	}
}

func TestScanSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := startBroker(t, broker.Options{})
	c := newClient(t, b)
	createTopic(t, c, "t", 1, nil)
	c.Close()
	n := 0
	for r, err := range c.Scan(testContext(t), "t", 0, 0) {
		n++
		if r != nil || !errors.Is(err, kafka.ErrClosed) {
			t.Errorf("%v %v", r, err)
		}
	}
	if n != 1 {
		t.Errorf("yielded %d times", n)
	}
}

func TestOffsetAt(t *testing.T) {
	t.Parallel()
	now := time.Now().Add(-24 * time.Hour) // brokers refuse times in the future
	b := testserver.NewKafka(t)
	topic := b.Name("t")
	c := newClient(t, b, func(cfg *kafka.Config) { cfg.Now = func() time.Time { return now } })
	createTopic(t, c, topic, 1, nil)
	begin := now
	for range 3 {
		if _, err := c.Write(testContext(t), topic, 0, numbered(topic, 0, 2)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	for _, tt := range []struct {
		at   time.Time
		want int64
	}{
		{time.Time{}, 0},
		{begin, 0},
		{begin.Add(time.Millisecond), 2},
		{begin.Add(2 * time.Hour), 4},
		{begin.Add(3 * time.Hour), 6},
	} {
		if got, err := c.OffsetAt(testContext(t), topic, 0, tt.at); err != nil || got != tt.want {
			t.Errorf("%s: %d %v, want %d", tt.at, got, err, tt.want)
		}
	}
}
