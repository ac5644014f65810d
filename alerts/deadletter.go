package alerts

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// Headers of dead letters: every name with the prefix is ours, and a record that
// is parked again carries each once.
const (
	headerPrefix    = "cs-"
	headerReason    = headerPrefix + "reason"
	headerMessage   = headerPrefix + "message"
	headerTopic     = headerPrefix + "topic"
	headerPartition = headerPrefix + "partition"
	headerOffset    = headerPrefix + "offset"
	headerTimestamp = headerPrefix + "timestamp"
	headerCut       = headerPrefix + "cut"
)

// Headers that a marker has beside the place of its dead letter.
const (
	headerMarker   = headerPrefix + "marker"
	headerOperator = headerPrefix + "operator"
	headerTime     = headerPrefix + "time"
	headerText     = headerPrefix + "text"
)

// maxHeaderBytes bounds the value of a header of ours.
const maxHeaderBytes = 1 << 10

// headerOverhead is more than what a header takes beyond its name and value.
const headerOverhead = 10

// deadLetter returns the record as it came, with the reason why it was parked and
// its place in the log.
//
// A record that came compressed may be larger than what the topic takes, and must
// not stop the stream: its value is cut to what fits, its headers are dropped, and
// cs-cut says so. The whole record is in the log at its place.
func deadLetter(topics *Topics, r *kafka.Record, v *balance.Verdict) kafka.Message {
	headers := make([]kafka.Header, 0, len(r.Headers)+7)
	size := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		if !OwnHeader(h.Key) {
			headers = append(headers, h)
			size += len(h.Key) + len(h.Value) + headerOverhead
		}
	}
	key, value := r.Key, r.Value
	cut := topics.DeadLetterBytes > 0 && size > topics.DeadLetterBytes
	if cut {
		headers = headers[:0]
		key = key[:min(len(key), topics.DeadLetterBytes/2)]
		value = value[:min(len(value), topics.DeadLetterBytes-len(key))]
	}
	add := func(name, value string) {
		headers = append(headers, kafka.Header{Key: name, Value: []byte(oneLine(value))})
	}
	add(headerReason, string(v.Reason))
	add(headerMessage, v.Message)
	add(headerTopic, r.Topic)
	add(headerPartition, strconv.Itoa(r.Partition))
	add(headerOffset, strconv.FormatInt(r.Offset, 10))
	if cut {
		add(headerCut, "the value had "+strconv.Itoa(len(r.Value))+" bytes, "+strconv.Itoa(len(value))+" of them are here")
	}
	add(headerTimestamp, formatMillis(r.AppendMillis))

	partition := kafka.AnyPartition
	if r.Key == nil && topics.DeadLetterPartitions > 0 {
		place := r.Topic + "/" + strconv.Itoa(r.Partition) + "/" + strconv.FormatInt(r.Offset, 10)
		partition = kafka.PartitionForKey([]byte(place), topics.DeadLetterPartitions)
	}
	return kafka.Message{Topic: topics.DeadLetters, Partition: partition, Key: key, Value: value, Headers: headers}
}

// oneLine returns s as one line of valid UTF-8 of at most maxHeaderBytes: white
// space becomes a space, other control characters go.
func oneLine(s string) string {
	if len(s) > 4*maxHeaderBytes {
		s = s[:4*maxHeaderBytes] // enough; a message may quote a whole record
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r // of invalid UTF-8: U+FFFD
	}, s)
	if len(s) <= maxHeaderBytes {
		return s
	}
	end := maxHeaderBytes
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
