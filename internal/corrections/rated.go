package corrections

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// An ExpiredError says that no rated record of a call is left, and that one may have
// been: what the call has cost cannot be told.
type ExpiredError struct {
	Topic    string
	Whole    time.Time // nothing that was written since has been deleted
	Answered time.Time // zero: it was not
}

// Error implements error.
func (e *ExpiredError) Error() string {
	answered := "it has no answer time"
	if !e.Answered.IsZero() {
		answered = "it was answered at " + e.Answered.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("no rated record of the call is left, and one may have expired: %s, and topic %s is whole only from %s on, "+
		"so what the call has cost is not known; look it up in a copy of the topic, and settle it otherwise",
		answered, e.Topic, e.Whole.UTC().Format(time.RFC3339))
}

// known returns why it is not known what a call has cost, or that it was not rated.
func (r *run) known(x *call) error {
	if x.paid {
		return nil
	}
	if err := x.chargedElsewhere(); err != nil && !x.free {
		return err
	}
	switch since := x.of.AnsweredAt; {
	case !since.IsZero() && r.whole.After(since.Add(-margin)), since.IsZero() && !r.whole.IsZero():
		return &ExpiredError{Topic: r.RatedTopic, Whole: r.whole, Answered: since}
	case !x.free:
		return x.neverRated()
	}
	return nil
}

// eachRated tells take of the rated records that may be of the calls.
func (r *run) eachRated(ctx context.Context, partitions int, take func(*kafka.Record)) error {
	for p := range partitions { // all of them: their number may have changed since
		from, err := r.Client.OffsetAt(ctx, r.RatedTopic, p, r.from)
		if err != nil {
			return err
		}
		for rec, err := range r.Client.Scan(ctx, r.RatedTopic, p, from) {
			if err != nil {
				return err
			}
			take(rec)
		}
	}
	return nil
}

// readRated finds what the calls were charged, and since when the topic is whole.
func (r *run) readRated(ctx context.Context) error {
	infos, err := r.Client.Topics(ctx, r.RatedTopic)
	if err != nil {
		return fmt.Errorf("look for topic %s: %w", r.RatedTopic, err)
	}
	info, ok := infos[r.RatedTopic]
	if !ok {
		return fmt.Errorf("topic %s does not exist: check the name and the brokers", r.RatedTopic)
	}
	if len(r.calls) == 0 {
		return nil
	}
	if err := r.eachRated(ctx, info.Partitions, r.takeRated); err != nil {
		return err
	}
	if err := r.readElsewhere(ctx, info.Partitions); err != nil {
		return err
	}
	for p := range info.Partitions {
		whole, err := r.wholeSince(ctx, p, info.Configs)
		if err != nil {
			return err
		}
		if whole.After(r.whole) {
			r.whole = whole
		}
	}
	return nil
}

// wholeSince returns since when nothing that was written to a partition has been
// deleted: zero when all of it is there. That is the time of the oldest record which
// is left; or, as a partition may have been idle, when retention began that goes by time alone,
// if that is earlier.
func (r *run) wholeSince(ctx context.Context, partition int, topic map[string]string) (time.Time, error) {
	start, _, err := r.Client.Bounds(ctx, r.RatedTopic, partition)
	if err != nil || start == 0 {
		return time.Time{}, err
	}
	since := r.Now()
	for rec, err := range r.Client.Scan(ctx, r.RatedTopic, partition, start) {
		if err != nil {
			return time.Time{}, err
		}
		since = time.UnixMilli(rec.AppendMillis)
		break
	}
	// What is configured helps only if it says since when nothing is deleted.
	kept, err := strconv.ParseInt(topic["retention.ms"], 10, 64)
	if err != nil || kept < 0 || topic["retention.bytes"] != "-1" {
		return since, nil
	}
	if began := r.Now().Add(-time.Duration(kept) * time.Millisecond); began.Before(since) {
		since = began
	}
	return since, nil
}

// rated is what is read of a rated record.
type rated struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Kind       rating.Kind     `json:"kind"`
	AnsweredAt time.Time       `json:"answered_at"`
	Millis     int64           `json:"duration_ms"`
	Charge     rating.Micros   `json:"charge"`
	Currency   string          `json:"currency"`
	Outcome    balance.Outcome `json:"outcome"`
}

// Strange is what of the topic was looked at and is no rated record: somebody else
// wrote it, and it says nothing of any call.
type Strange struct {
	Records int
	First   error // where the first of them lies, and what is wrong with it; nil: there is none
}

func (s *Strange) take(rec *kafka.Record, err error) {
	if s.Records++; s.First == nil {
		s.First = fmt.Errorf("%s/%d/%d: %w", rec.Topic, rec.Partition, rec.Offset, err)
	}
}

func (r *run) takeRated(rec *kafka.Record) {
	if !r.accounts[string(rec.Key)] {
		return
	}
	var v rated
	if err := json.Unmarshal(rec.Value, &v); err != nil {
		r.strange.take(rec, err)
		return
	}
	if c := r.calls[nameOf(v.Source, v.ID, v.Account, v.AnsweredAt)]; c != nil {
		c.takeRated(&v)
	}
}
