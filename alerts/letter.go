package alerts

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// A LetterID names a dead letter: the place of the parked record in the log.
type LetterID struct {
	Topic     string
	Partition int
	Offset    int64
}

// String returns topic/partition/offset.
func (id LetterID) String() string {
	return id.Topic + "/" + strconv.Itoa(id.Partition) + "/" + strconv.FormatInt(id.Offset, 10)
}

// Compare orders ids by topic, partition and offset.
func (id LetterID) Compare(other LetterID) int {
	return cmp.Or(cmp.Compare(id.Topic, other.Topic), cmp.Compare(id.Partition, other.Partition), cmp.Compare(id.Offset, other.Offset))
}

// ParseLetterID reads what String writes.
func ParseLetterID(s string) (LetterID, error) {
	f := strings.Split(s, "/")
	if len(f) != 3 || f[0] == "" {
		return LetterID{}, fmt.Errorf("%q is no id of a dead letter: expected topic/partition/offset, such as cdrs/3/81723", s)
	}
	partition, err := strconv.ParseUint(f[1], 10, 31)
	offset, err2 := strconv.ParseUint(f[2], 10, 63)
	if err != nil || err2 != nil {
		return LetterID{}, fmt.Errorf("%q is no id of a dead letter: partition and offset are whole numbers from 0", s)
	}
	return LetterID{Topic: f[0], Partition: int(partition), Offset: int64(offset)}, nil
}

// A Letter is a dead letter, read back.
type Letter struct {
	ID       LetterID
	Reason   rating.Reason
	Message  string    // for people
	Appended time.Time // when the broker appended the parked record
	First    time.Time // when it did so the first time: earlier, if it was sent again; for reports alone
	Cut      string    // how much of the value is missing; empty: nothing
	Key      []byte
	Value    []byte
	Headers  []kafka.Header // of the parked record, without ours
}

// What a marker says of a dead letter.
const (
	Replayed = "replayed"
	Dropped  = "dropped"
)

// A Marker is the record of the dead-letter topic that closes a dead letter: what
// somebody did with it. Nothing is taken out of the topic.
type Marker struct {
	ID   LetterID
	Done string // Replayed or Dropped
	By   string
	At   time.Time
	Text string // why; empty for a replay
}

// OwnHeader reports whether a header of this name is ours: a parked record that has
// one loses it.
func OwnHeader(name string) bool { return strings.HasPrefix(name, headerPrefix) }

// ReadLetter reads a record of the dead-letter topic: one of the two results is
// not nil. An error means that the record is neither, and names what is missing.
func ReadLetter(r *kafka.Record) (*Letter, *Marker, error) {
	own := map[string]string{}
	headers := make([]kafka.Header, 0, len(r.Headers))
	for _, h := range r.Headers {
		if OwnHeader(h.Key) {
			own[h.Key] = string(h.Value)
		} else {
			headers = append(headers, h)
		}
	}
	id, err := ParseLetterID(own[headerTopic] + "/" + own[headerPartition] + "/" + own[headerOffset])
	if err != nil {
		return nil, nil, fmt.Errorf("headers %s, %s and %s: %w", headerTopic, headerPartition, headerOffset, err)
	}
	if done := own[headerMarker]; done != "" {
		at, err := time.Parse(time.RFC3339, own[headerTime])
		if err != nil {
			return nil, nil, fmt.Errorf("header %s: %w", headerTime, err)
		}
		return nil, &Marker{ID: id, Done: done, By: own[headerOperator], At: at, Text: own[headerText]}, nil
	}
	appended, err := time.Parse(time.RFC3339, own[headerTimestamp])
	if err != nil {
		return nil, nil, fmt.Errorf("header %s: %w", headerTimestamp, err)
	}
	first := firstTime([]byte(own[headerFirst]), appended.UnixMilli())
	if first.IsZero() {
		first = appended
	}
	return &Letter{
		ID: id, Reason: rating.Reason(own[headerReason]), Message: own[headerMessage], Appended: appended, First: first, Cut: own[headerCut],
		Key: r.Key, Value: r.Value, Headers: headers,
	}, nil, nil
}

// Again returns the parked record as it came, for the partition that it came from, and
// with a header that says when that was the first time.
func (l *Letter) Again() kafka.Message {
	first := kafka.Header{Key: headerFirst, Value: l.First.UTC().AppendFormat(nil, rfc3339Millis)}
	return kafka.Message{Topic: l.ID.Topic, Partition: l.ID.Partition, Key: l.Key, Value: l.Value, Headers: append(slices.Clone(l.Headers), first)}
}

// Message returns the marker as a record of the dead-letter topic. It has neither
// key nor value.
func (m *Marker) Message(topic string, partition int) kafka.Message {
	headers := make([]kafka.Header, 0, 7)
	for _, h := range [...][2]string{
		{headerMarker, m.Done},
		{headerTopic, m.ID.Topic},
		{headerPartition, strconv.Itoa(m.ID.Partition)},
		{headerOffset, strconv.FormatInt(m.ID.Offset, 10)},
		{headerOperator, m.By},
		{headerTime, m.At.UTC().Format(rfc3339Millis)},
		{headerText, m.Text},
	} {
		if h[1] != "" {
			headers = append(headers, kafka.Header{Key: h[0], Value: []byte(oneLine(h[1]))})
		}
	}
	return kafka.Message{Topic: topic, Partition: partition, Headers: headers}
}
