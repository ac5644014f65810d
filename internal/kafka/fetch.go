package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

// Header is a header of a record; Value may be nil.
type Header struct {
	Key   string
	Value []byte
}

// Record is one committed record. A nil Key or Value is null in Kafka, an empty
// one is empty.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	// AppendMillis is the broker's append time where Fetched.LogAppendTime,
	// else what the producer said, in milliseconds since 1970.
	AppendMillis int64
	Key, Value   []byte
	Headers      []Header
	// Unreadable, if set, says why this stands for all records of a batch that a
	// producer made so that nobody can read it; it has no key and no value.
	Unreadable error
}

// Fetched is the answer to one Fetch.
type Fetched struct {
	// Records are in the order of their offsets; none is below the asked one.
	Records []Record
	// Next is the offset to fetch next: past the records, and past control
	// batches, aborted records and offsets that compaction left empty.
	Next int64
	// LogStart is the first offset that the partition still has.
	LogStart int64
	// End is the last stable offset: the offset after the last one that can be
	// fetched now.
	End int64
	// LogAppendTime is false if any of Records carries a producer's time.
	LogAppendTime bool
}

// FetchOptions bound one Fetch.
type FetchOptions struct {
	// MaxWait is how long the broker waits for MinBytes; 0 answers at once.
	MaxWait time.Duration
	// MinBytes is what ends the wait. Default: 1.
	MinBytes int
	// MaxBytes bounds the answer before decompression; a single batch may be
	// larger. Default: 4 MiB.
	MaxBytes int
}

// ErrOffsetOutOfRange is what an *OffsetOutOfRangeError is.
var ErrOffsetOutOfRange = errors.New("offset out of range")

// OffsetOutOfRangeError says that a partition does not have the asked offset:
// it was deleted by retention, or the log is not the one it was.
type OffsetOutOfRangeError struct {
	TopicPartition

	Asked int64
	// Start and End are the bounds of the log as Bounds returns them, read just
	// after the refusal.
	Start, End int64
}

// Error implements error.
func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("%s: offset %d is out of range: the log has %d to %d", e.TopicPartition, e.Asked, e.Start, e.End)
}

// Is reports whether target is ErrOffsetOutOfRange.
func (*OffsetOutOfRangeError) Is(target error) bool { return target == ErrOffsetOutOfRange }

// Fetch reads committed records of one partition from offset on. Keys, values
// and header values alias buffers that belong to the result alone. It makes one
// attempt. Errors: *OffsetOutOfRangeError; *BatchError for bytes that are not
// what the producer sent (for what he sent and nobody can read see
// Record.Unreadable); others as Temporary says. An offset between the last stable offset
// and the end of the log is in range and has nothing yet.
func (c *Client) Fetch(ctx context.Context, topic string, partition int, offset int64, opt FetchOptions) (Fetched, error) {
	tp := TopicPartition{Topic: topic, Partition: partition}
	body, err := c.fetchRaw(ctx, tp, offset, opt)
	if err != nil {
		return Fetched{}, fmt.Errorf("fetch %s from %d: %w", tp, offset, err)
	}
	if kafka.Error(body.partitionCode) == kafka.OffsetOutOfRange {
		return Fetched{}, c.outOfRange(ctx, tp, offset)
	}
	if body.partitionCode != 0 {
		return Fetched{}, fmt.Errorf("fetch %s from %d: %w", tp, offset, kafka.Error(body.partitionCode))
	}
	d := &batchDecoder{
		at:            tp,
		from:          offset,
		next:          offset,
		codecs:        c.codecs,
		aborted:       body.abortedByStart,
		logAppendTime: true,
	}
	if err := d.decode(body.records); err != nil {
		return Fetched{}, fmt.Errorf("fetch %s from %d: %w", tp, offset, err)
	}
	return Fetched{
		Records:       d.records,
		Next:          d.next,
		LogStart:      body.logStart,
		End:           body.lastStable,
		LogAppendTime: d.logAppendTime,
	}, nil
}

func (c *Client) fetchRaw(ctx context.Context, tp TopicPartition, offset int64, opt FetchOptions) (*fetchBody, error) {
	if opt.MinBytes <= 0 {
		opt.MinBytes = 1
	}
	if opt.MaxBytes <= 0 {
		opt.MaxBytes = 4 << 20
	}
	maxBytes := wireSize(opt.MaxBytes)
	m, err := c.roundTrip(ctx, opt.MaxWait+requestTimeout, &fetchRequest{
		ReplicaID:      -1, // a consumer
		MaxWaitMillis:  wireMillis(opt.MaxWait),
		MinBytes:       wireSize(opt.MinBytes),
		MaxBytes:       maxBytes,
		IsolationLevel: int8(kafka.ReadCommitted), // with the zero value brokers name no aborted transactions
		SessionEpoch:   -1,                        // no fetch session; 0 would open one for every request
		Topics: []fetchTopic{{
			Topic: tp.Topic,
			Partitions: []fetchPartition{{
				Partition:          wirePartition(tp.Partition),
				CurrentLeaderEpoch: -1, // unknown: kafka-go's layout has no epochs
				FetchOffset:        offset,
				LogStartOffset:     -1, // for followers
				PartitionMaxBytes:  maxBytes,
			}},
		}},
	})
	if err != nil {
		return nil, err
	}
	res, ok := m.(*fetchResponse)
	switch {
	case !ok:
		return nil, fmt.Errorf("unexpected answer %T", m)
	case res.Body.errorCode != 0:
		return nil, kafka.Error(res.Body.errorCode)
	case !res.Body.answered || res.Body.topic != tp.Topic || res.Body.partition != wirePartition(tp.Partition):
		return nil, fmt.Errorf("answer is for %q/%d", res.Body.topic, res.Body.partition)
	}
	return &res.Body, nil
}

// outOfRange makes the typed error; if the bounds cannot be read it returns
// that error, so that the caller asks again and gets the numbers.
func (c *Client) outOfRange(ctx context.Context, tp TopicPartition, asked int64) error {
	start, end, err := c.Bounds(ctx, tp.Topic, tp.Partition)
	if err != nil {
		return err
	}
	return &OffsetOutOfRangeError{TopicPartition: tp, Asked: asked, Start: start, End: end}
}
