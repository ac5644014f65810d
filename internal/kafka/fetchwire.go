package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/segmentio/kafka-go/protocol"
)

const (
	// maxAnswerBytes bounds the record set of one fetch answer. Brokers exceed
	// what was asked for only by a first batch that is larger.
	maxAnswerBytes = 256 << 20
	// maxAborted bounds the aborted transactions that one answer may list.
	maxAborted = 1 << 20
)

// init replaces the Fetch messages of kafka-go for the whole process: its
// decoder drops what Fetched promises (see the package comment), and
// protocol.RegisterOverride does not reach responses. kafka-go itself uses the
// registered types only in Client.Fetch, which nothing in creditstream calls;
// Reader and Conn have their own.
func init() { //nolint:gochecknoinits // the registry is process-wide and is read without a lock: it must be complete before the first request
	protocol.Register(new(fetchRequest), new(fetchResponse))
}

// fetchRequest is Fetch version 11, the first that names everything we need and
// the last that is not flexible.
type fetchRequest struct {
	ReplicaID       int32            `kafka:"min=v11,max=v11"`
	MaxWaitMillis   int32            `kafka:"min=v11,max=v11"`
	MinBytes        int32            `kafka:"min=v11,max=v11"`
	MaxBytes        int32            `kafka:"min=v11,max=v11"`
	IsolationLevel  int8             `kafka:"min=v11,max=v11"`
	SessionID       int32            `kafka:"min=v11,max=v11"`
	SessionEpoch    int32            `kafka:"min=v11,max=v11"`
	Topics          []fetchTopic     `kafka:"min=v11,max=v11"`
	ForgottenTopics []fetchForgotten `kafka:"min=v11,max=v11"`
	RackID          string           `kafka:"min=v11,max=v11"`
}

type fetchTopic struct {
	Topic      string           `kafka:"min=v11,max=v11"`
	Partitions []fetchPartition `kafka:"min=v11,max=v11"`
}

type fetchPartition struct {
	Partition          int32 `kafka:"min=v11,max=v11"`
	CurrentLeaderEpoch int32 `kafka:"min=v11,max=v11"`
	FetchOffset        int64 `kafka:"min=v11,max=v11"`
	LogStartOffset     int64 `kafka:"min=v11,max=v11"`
	PartitionMaxBytes  int32 `kafka:"min=v11,max=v11"`
}

type fetchForgotten struct {
	Topic      string  `kafka:"min=v11,max=v11"`
	Partitions []int32 `kafka:"min=v11,max=v11"`
}

// ApiKey implements protocol.Message.
func (*fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // the name is kafka-go's

// Broker implements protocol.BrokerMessage: the leader of the one partition.
func (r *fetchRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leaderOf(cluster, r.Topics[0].Topic, r.Topics[0].Partitions[0].Partition)
}

// leaderOf returns the broker that leads a partition.
func leaderOf(cluster protocol.Cluster, topic string, partition int32) (protocol.Broker, error) {
	none := protocol.Broker{ID: -1}
	t, ok := cluster.Topics[topic]
	if !ok {
		return none, protocol.NewErrNoTopic(topic)
	}
	p, ok := t.Partitions[partition]
	if !ok {
		return none, protocol.NewErrNoPartition(topic, partition)
	}
	b, ok := cluster.Brokers[p.Leader]
	if !ok {
		return none, protocol.NewErrNoLeader(topic, partition)
	}
	return b, nil
}

// fetchResponse is one opaque field for kafka-go: its decoder allocates arrays
// by the length that it reads, whatever follows.
type fetchResponse struct {
	Body fetchBody `kafka:"min=v11,max=v11"`
}

// ApiKey implements protocol.Message.
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // the name is kafka-go's

// abortedTxn says that the records of a producer are void from an offset on,
// until its next abort marker.
type abortedTxn struct {
	producer    int64
	firstOffset int64
}

// fetchBody is the answer for at most one partition, its records undecoded.
type fetchBody struct {
	errorCode      int16
	answered       bool // false if the answer has no partition, only a code
	topic          string
	partition      int32
	partitionCode  int16
	highWatermark  int64
	lastStable     int64
	logStart       int64
	abortedByStart []abortedTxn
	records        []byte
}

// ReadFrom implements io.ReaderFrom for kafka-go's decoder, which ends r where
// the answer ends.
func (b *fetchBody) ReadFrom(r io.Reader) (int64, error) {
	w := &wireReader{r: r}
	w.int32() // throttle time: the broker has waited already
	b.errorCode = w.int16()
	w.int32() // session id: we ask without one
	if n := w.int32(); w.err == nil && n != 0 {
		if n != 1 {
			w.fail("answer has %d topics", n)
		}
		b.topic = string(w.bytes(int(w.int16())))
		if n := w.int32(); n != 1 {
			w.fail("answer has %d partitions", n)
		}
		b.readPartition(w)
	}
	if w.err != nil {
		return w.n, fmt.Errorf("read fetch answer: %w", w.err)
	}
	return w.n, nil
}

func (b *fetchBody) readPartition(w *wireReader) {
	b.answered = true
	b.partition = w.int32()
	b.partitionCode = w.int16()
	b.highWatermark = w.int64()
	b.lastStable = w.int64()
	b.logStart = w.int64()
	aborted := w.int32()
	if aborted > maxAborted {
		w.fail("answer has %d aborted transactions", aborted)
	}
	for i := int32(0); i < aborted && w.err == nil; i++ {
		b.abortedByStart = append(b.abortedByStart, abortedTxn{producer: w.int64(), firstOffset: w.int64()})
	}
	w.int32() // preferred read replica: we name no rack
	if size := w.int32(); size > maxAnswerBytes {
		w.fail("answer has %d bytes of records, more than %d", size, maxAnswerBytes)
	} else if size > 0 {
		b.records = w.bytes(int(size))
	}
}

// wireReader reads big-endian fields and keeps the first error.
type wireReader struct {
	r   io.Reader
	n   int64
	err error
	buf [8]byte
}

func (w *wireReader) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *wireReader) full(b []byte) {
	if w.err != nil {
		return
	}
	n, err := io.ReadFull(w.r, b)
	w.n += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	w.err = err
}

// bytes reads n bytes. The buffer grows as they come, so that a length without
// its bytes costs little.
func (w *wireReader) bytes(n int) []byte {
	const step = 4 << 20
	if n < 0 {
		w.fail("negative length %d", n)
		return nil
	}
	b := make([]byte, 0, min(n, step))
	for len(b) < n && w.err == nil {
		from := len(b)
		to := from + min(n-from, max(step, from))
		b = slices.Grow(b, to-from)[:to]
		w.full(b[from:])
	}
	return b
}

func (w *wireReader) int16() int16 {
	w.full(w.buf[:2])
	return wireInt16(w.buf[:])
}

func (w *wireReader) int32() int32 {
	w.full(w.buf[:4])
	return wireInt32(w.buf[:])
}

func (w *wireReader) int64() int64 {
	w.full(w.buf[:8])
	return wireInt64(w.buf[:])
}

func wireInt16(b []byte) int16 {
	return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // two's complement on the wire
}

func wireInt32(b []byte) int32 {
	return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // two's complement on the wire
}

func wireInt64(b []byte) int64 {
	return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // two's complement on the wire
}
