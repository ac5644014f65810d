package alerts

import (
	"strconv"
	"strings"
	"time"
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
)

// maxHeaderBytes bounds the value of a header of ours.
const maxHeaderBytes = 1 << 10

// deadLetter returns the record as it came, with the reason why it was parked and
// its place in the log.
func deadLetter(topics *Topics, r *kafka.Record, v *balance.Verdict) kafka.Message {
	headers := make([]kafka.Header, 0, len(r.Headers)+6)
	for _, h := range r.Headers {
		if !strings.HasPrefix(h.Key, headerPrefix) {
			headers = append(headers, h)
		}
	}
	add := func(name, value string) {
		headers = append(headers, kafka.Header{Key: name, Value: []byte(oneLine(value))})
	}
	add(headerReason, string(v.Reason))
	add(headerMessage, v.Message)
	add(headerTopic, r.Topic)
	add(headerPartition, strconv.Itoa(r.Partition))
	add(headerOffset, strconv.FormatInt(r.Offset, 10))
	add(headerTimestamp, time.UnixMilli(r.AppendMillis).UTC().Format(rfc3339Millis))

	partition := kafka.AnyPartition
	if r.Key == nil && topics.DeadLetterPartitions > 0 {
		place := r.Topic + "/" + strconv.Itoa(r.Partition) + "/" + strconv.FormatInt(r.Offset, 10)
		partition = kafka.PartitionForKey([]byte(place), topics.DeadLetterPartitions)
	}
	return kafka.Message{Topic: topics.DeadLetters, Partition: partition, Key: r.Key, Value: r.Value, Headers: headers}
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
