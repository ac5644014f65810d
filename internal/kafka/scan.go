package kafka

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// patience is how long Scan and OffsetAt wait out temporary errors: somebody sits
// before the answer, and should be told that the cluster is away.
const patience = 15 * time.Second

// Scan yields the committed records of a partition from an offset, or from the
// first that is left, up to the end that the log had when it was called. Keys,
// values and headers may be kept. Temporary errors are waited out for a while; the
// error that ends a scan is the last thing yielded, with a nil record.
func (c *Client) Scan(ctx context.Context, topic string, partition int, from int64) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		start, end, err := c.patientBounds(ctx, topic, partition)
		for at := max(from, start); err == nil && at < end; {
			var f Fetched
			if f, err = c.fetchLeft(ctx, topic, partition, at); err != nil {
				break
			}
			for i := range f.Records {
				if f.Records[i].Offset >= end || !yield(&f.Records[i], nil) {
					return
				}
			}
			if f.Next == at && f.End <= at {
				return // the rest belongs to a transaction that is still open
			}
			at = f.Next
		}
		if err != nil {
			yield(nil, fmt.Errorf("read %s/%d: %w", topic, partition, err))
		}
	}
}

// fetchLeft fetches from an offset, or from the first that retention has left.
func (c *Client) fetchLeft(ctx context.Context, topic string, partition int, at int64) (f Fetched, err error) {
	err = c.patiently(ctx, func() (err error) {
		f, err = c.Fetch(ctx, topic, partition, at, FetchOptions{MaxWait: time.Second})
		return err
	})
	var gone *OffsetOutOfRangeError
	if errors.As(err, &gone) && gone.Asked < gone.Start {
		return Fetched{Next: gone.Start}, nil
	}
	return f, err
}

// OffsetAt returns the first offset of a partition whose timestamp is at or after
// a time, or the end of the log when there is none.
func (c *Client) OffsetAt(ctx context.Context, topic string, partition int, at time.Time) (int64, error) {
	ask := []int32{wirePartition(partition)}
	var found map[int32]int64
	err := c.patiently(ctx, func() (err error) {
		found, err = c.listOffsets(ctx, topic, ask, max(at.UnixMilli(), 0)) // below zero are the codes of the ends
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find %s in %s/%d: %w", at.UTC().Format(time.RFC3339), topic, partition, err)
	}
	if offset := found[ask[0]]; offset >= 0 {
		return offset, nil
	}
	_, end, err := c.patientBounds(ctx, topic, partition)
	return end, err
}

func (c *Client) patientBounds(ctx context.Context, topic string, partition int) (start, end int64, err error) {
	err = c.patiently(ctx, func() (err error) {
		start, end, err = c.Bounds(ctx, topic, partition)
		return err
	})
	return start, end, err
}

// patiently runs attempt until it succeeds, fails for good, patience or ctx ends.
func (c *Client) patiently(ctx context.Context, attempt func() error) error {
	began := c.cfg.Now()
	for i := 0; ; i++ {
		err := attempt()
		if err == nil || !Temporary(err) || c.cfg.Now().Sub(began) >= patience {
			return err
		}
		if waitErr := (Backoff{Max: 2 * time.Second}).Wait(ctx, i); waitErr != nil {
			return errors.Join(waitErr, err)
		}
	}
}
