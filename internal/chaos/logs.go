package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Topics are those of the product.
const (
	topicCDRs     = "cdrs"
	topicCommands = "credit-commands"
	topicRated    = "rated-cdrs"
	topicRequests = "recharge-requests"
	topicAlerts   = "credit-alerts"
	topicLetters  = "cdrs.dlq"
)

// A Record is one record of a log, as a reader of committed records gets it.
type Record struct {
	Partition    int
	Offset       int64
	AppendMillis int64
	Key, Value   []byte
	Headers      map[string]string
}

// Logs are all that the product read and wrote, and what Redis holds in the end.
type Logs struct {
	CDRs, Commands                   []Record
	Rated, Letters, Alerts, Requests []Record
	Accounts                         map[string]Stored
	Backs                            []int64  // when Redis began to forget what it had acknowledged, in milliseconds
	Acknowledged                     []string // what the API said was done or would be, see acknowledged.go
}

// delayed is how long what was decided may take to be published: it waits for Kafka
// at times, or its processor stands still; and how long a fault of Redis takes.
const delayed = 45_000 // ms

// excused reports whether Redis may have gone back between two instants at which
// something was told.
func (l *Logs) excused(from, to int64) bool {
	return slices.ContainsFunc(l.Backs, func(back int64) bool { return back > min(from, to)-delayed && back <= max(from, to) })
}

// Stored is what Redis holds of an account.
type Stored struct {
	Hash   map[string]string
	Lots   []StoredLot // earliest expiry first
	Ledger []string    // newest first
}

// A StoredLot is a member of the sorted set of lots.
type StoredLot struct {
	Member  string // id:amount:bought
	Expires int64  // Unix milliseconds
}

// readTopic returns the committed records of a topic up to ends, by partition and
// offset. It is a reader that shares no code with the product's.
func readTopic(ctx context.Context, brokers []string, topic string, ends []int64) ([]Record, error) {
	at := map[int32]kgo.Offset{}
	left := 0
	for p, end := range ends {
		if end > 0 {
			at[int32(p)] = kgo.NewOffset().AtStart()
			left++
		}
	}
	if left == 0 {
		return nil, nil
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(200*time.Millisecond), kgo.FetchMaxBytes(8<<20))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var out []Record
	over := make([]bool, len(ends))
	for left > 0 {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read %s: %d partitions are not read to their ends %v: %w", topic, left, ends, ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset >= ends[r.Partition]-1 && !over[r.Partition] {
				over[r.Partition] = true
				left--
			}
			if !r.Attrs.IsControl() && r.Offset < ends[r.Partition] {
				out = append(out, recordOf(r))
			}
		})
	}
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return out, nil
}

func recordOf(r *kgo.Record) Record {
	out := Record{Partition: int(r.Partition), Offset: r.Offset, AppendMillis: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	if len(r.Headers) > 0 {
		out.Headers = make(map[string]string, len(r.Headers))
	}
	for _, h := range r.Headers {
		out.Headers[h.Key] = string(h.Value)
	}
	return out
}
