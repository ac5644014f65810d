package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// AnyPartition lets Writer choose: by the key as the Java client does, at random
// per WriteAll for messages without a key.
const AnyPartition = -1

// Message is a record to write. A nil Key or Value is null in Kafka.
type Message struct {
	Topic     string
	Partition int // or AnyPartition
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Written says where and when a batch was appended.
type Written struct {
	// BaseOffset is the offset of the first message; the others follow it.
	BaseOffset int64
	// AppendMillis is the broker's append time, or the client's own if the
	// topic does not have message.timestamp.type=LogAppendTime.
	AppendMillis int64
}

// Write appends msgs to one partition as one batch and returns when all in-sync
// replicas have it. Topic and Partition of the messages are not looked at. It
// makes one attempt: after an error the batch may have been appended or not.
func (c *Client) Write(ctx context.Context, topic string, partition int, msgs []Message) (Written, error) {
	tp := TopicPartition{Topic: topic, Partition: partition}
	w, err := c.write(ctx, tp, msgs)
	if err != nil {
		return Written{}, fmt.Errorf("write %d messages to %s: %w", len(msgs), tp, err)
	}
	return w, nil
}

func (c *Client) write(ctx context.Context, tp TopicPartition, msgs []Message) (Written, error) {
	if len(msgs) == 0 {
		return Written{}, errors.New("no messages")
	}
	now := c.cfg.Now()
	records := make([]kafka.Record, len(msgs))
	headers := wireHeaders(msgs)
	for i := range msgs {
		n := len(msgs[i].Headers)
		records[i] = kafka.Record{
			Time:    now,
			Key:     kafka.NewBytes(msgs[i].Key),
			Value:   kafka.NewBytes(msgs[i].Value),
			Headers: headers[:n:n],
		}
		headers = headers[n:]
	}
	m, err := c.roundTrip(ctx, 2*requestTimeout, &produce.Request{
		Acks: int16(kafka.RequireAll), // the zero value does not wait at all
		// How long the leader waits for its followers; kafka-go's default is
		// half a second. The client waits longer than the leader, so that the
		// outcome is known in most cases.
		Timeout: wireMillis(requestTimeout),
		Topics: []produce.RequestTopic{{
			Topic: tp.Topic,
			Partitions: []produce.RequestPartition{{
				Partition: wirePartition(tp.Partition),
				RecordSet: protocol.RecordSet{Records: kafka.NewRecordReader(records...)},
			}},
		}},
	})
	if err != nil {
		return Written{}, err
	}
	res, ok := m.(*produce.Response)
	if !ok || len(res.Topics) != 1 || len(res.Topics[0].Partitions) != 1 {
		return Written{}, fmt.Errorf("unexpected answer %T", m)
	}
	p := &res.Topics[0].Partitions[0]
	if err := codeError(p.ErrorCode, p.ErrorMessage); err != nil {
		return Written{}, err
	}
	w := Written{BaseOffset: p.BaseOffset, AppendMillis: p.LogAppendTime}
	if w.AppendMillis < 0 {
		w.AppendMillis = now.UnixMilli()
	} else if c.cfg.OnAppend != nil {
		c.cfg.OnAppend(ahead(time.UnixMilli(w.AppendMillis), now, c.cfg.Now()))
	}
	return w, nil
}

// ahead returns how far a clock that showed appended, to the millisecond, at some
// time between sent and answered must be ahead of ours, at least; 0 if it may be right.
func ahead(appended, sent, answered time.Time) time.Duration {
	switch latest := appended.Add(time.Millisecond); {
	case appended.After(answered):
		return appended.Sub(answered)
	case latest.Before(sent):
		return latest.Sub(sent)
	}
	return 0
}

// wireHeaders returns the headers of all messages, one after the other.
func wireHeaders(msgs []Message) []kafka.Header {
	n := 0
	for i := range msgs {
		n += len(msgs[i].Headers)
	}
	out := make([]kafka.Header, 0, n)
	for i := range msgs {
		for _, h := range msgs[i].Headers {
			out = append(out, kafka.Header{Key: h.Key, Value: h.Value})
		}
	}
	return out
}
