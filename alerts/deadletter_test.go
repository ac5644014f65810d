package alerts_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

func park(t *testing.T, topics alerts.Topics, r kafka.Record, message string) kafka.Message {
	t.Helper()
	w := new(recorder)
	err := alerts.New(w, topics, partitionOf, nil).Publish(t.Context(), []kafka.Record{r},
		[]balance.Verdict{{Outcome: balance.Parked, Reason: rating.NotJSON, Message: message}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.only(t)[0]
}

// A dead letter that is sent again and parked again has its bytes, its own
// headers and one set of ours.
func TestDeadLetterRoundTrip(t *testing.T) {
	t.Parallel()
	r, _ := call()
	r.Value = []byte("\x00 not JSON \xff")
	first := park(t, topics(), r, "line 1:\r\n\tinvalid\x00 character '\x1b'\u2028\u0085 \xff")
	golden(t, "dead_letter", dump([]kafka.Message{first}))

	again := kafka.Record{
		Topic: "cdrs", Partition: 5, Offset: 1, AppendMillis: at + 60_000, Key: first.Key, Value: first.Value, Headers: first.Headers,
	}
	second := park(t, topics(), again, "still not")
	if string(second.Key) != string(r.Key) || string(second.Value) != string(r.Value) {
		t.Errorf("key %q, value %q", second.Key, second.Value)
	}
	names := make([]string, 0, len(second.Headers))
	for _, h := range second.Headers {
		names = append(names, h.Key)
	}
	if want := []string{"traceparent", "cs-reason", "cs-message", "cs-topic", "cs-partition", "cs-offset", "cs-timestamp"}; !slices.Equal(names, want) {
		t.Errorf("headers %v, want %v", names, want)
	}
	if header(second, "cs-message") != "still not" || header(second, "cs-offset") != "1" || header(second, "cs-timestamp") != "2026-11-22T07:01:00.250Z" {
		t.Errorf("headers %s", second.Headers)
	}
	if len(r.Headers) != 1 || header(first, "cs-offset") != "81723" {
		t.Error("the headers of the record were changed")
	}
}

func TestDeadLetterKeepsNull(t *testing.T) {
	t.Parallel()
	r, _ := call()
	r.Key, r.Value, r.Headers = nil, nil, nil
	m := park(t, topics(), r, "")
	if m.Key != nil || m.Value != nil || m.Partition != kafka.AnyPartition {
		t.Errorf("key %v, value %v, partition %d", m.Key, m.Value, m.Partition)
	}
}

// Without a key, the place in the log chooses the partition: a repeat lies beside
// it, and a batch spreads.
func TestDeadLetterPartition(t *testing.T) {
	t.Parallel()
	to := topics()
	to.DeadLetterPartitions = 8
	r, _ := call()
	if m := park(t, to, r, ""); m.Partition != kafka.AnyPartition {
		t.Errorf("with a key: partition %d", m.Partition)
	}
	r.Key = nil
	used := map[int]bool{}
	for r.Offset = range int64(100) {
		m := park(t, to, r, "")
		if again := park(t, to, r, "another message"); m.Key != nil || m.Partition != again.Partition || m.Partition < 0 || m.Partition > 7 {
			t.Fatalf("key %v, partitions %d and %d", m.Key, m.Partition, again.Partition)
		}
		used[m.Partition] = true
	}
	if len(used) != 8 {
		t.Errorf("uses %d of 8 partitions", len(used))
	}
}

func TestDeadLetterMessageIsShort(t *testing.T) {
	t.Parallel()
	r, _ := call()
	for _, char := range []string{"x", "é", "€", "😀", "\xff", "\x01€"} {
		for pad := range 4 {
			message := strings.Repeat("a", pad) + strings.Repeat(char, 1<<20)
			got := header(park(t, topics(), r, message), "cs-message")
			if len(got) > alerts.MaxHeaderBytes || len(got) < alerts.MaxHeaderBytes-3 || !utf8.ValidString(got) {
				t.Errorf("%d bytes of %q, valid %t", len(got), char, utf8.ValidString(got))
			}
		}
	}
}
