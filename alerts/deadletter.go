package alerts

import (
	"fmt"
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
	headerFirst     = headerPrefix + "first-timestamp"
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
func (b *batch) deadLetter(r *kafka.Record, v *balance.Verdict) kafka.Message {
	topics := b.topics
	headers := make([]kafka.Header, 0, len(r.Headers)+8)
	size := len(r.Key) + len(r.Value)
	var first time.Time
	for _, h := range r.Headers {
		if h.Key == headerFirst {
			first = firstTime(h.Value, r.AppendMillis)
		}
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
	from := len(b.buf)
	add := func(name string) { // what was appended to the buffer since the last call
		headers = append(headers, kafka.Header{Key: name, Value: b.since(from)})
		from = len(b.buf)
	}
	b.buf = appendLine(b.buf, string(v.Reason))
	add(headerReason)
	b.buf = appendLine(b.buf, v.Message)
	add(headerMessage)
	b.buf = append(b.buf, r.Topic...)
	add(headerTopic)
	b.buf = strconv.AppendInt(b.buf, int64(r.Partition), 10)
	add(headerPartition)
	b.buf = strconv.AppendInt(b.buf, r.Offset, 10)
	add(headerOffset)
	if cut {
		b.buf = fmt.Appendf(b.buf, "the value had %d bytes, %d of them are here", len(r.Value), len(value))
		add(headerCut)
	}
	b.buf = append(b.buf, formatMillis(r.AppendMillis)...)
	add(headerTimestamp)
	if !first.IsZero() {
		b.buf = first.AppendFormat(b.buf, rfc3339Millis)
		add(headerFirst)
	}

	partition := kafka.AnyPartition
	if r.Key == nil && topics.DeadLetterPartitions > 0 {
		place := LetterID{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}.String()
		partition = kafka.PartitionForKey([]byte(place), topics.DeadLetterPartitions)
	}
	return kafka.Message{Topic: topics.DeadLetters, Partition: partition, Key: key, Value: value, Headers: headers}
}

// firstTime reads cs-first-timestamp of a record that was appended at appendMillis:
// when it was appended the first time, as who sends it again says. It is for reports
// alone, as anybody may write it; zero: it says nothing that can be.
func firstTime(value []byte, appendMillis int64) time.Time {
	at, err := time.Parse(time.RFC3339, string(value))
	if err != nil || at.UnixMilli() > appendMillis {
		return time.Time{}
	}
	return at.UTC()
}

// appendLine appends s as oneLine has it. Most texts are one already.
func appendLine(dst []byte, s string) []byte {
	if len(s) <= maxHeaderBytes && isPlain(s) {
		return append(dst, s...)
	}
	return append(dst, oneLine(s)...)
}

// isPlain reports whether s is all printable ASCII.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
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
