package alerts_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// asRecord is a message as a reader finds it.
func asRecord(m kafka.Message) *kafka.Record {
	return &kafka.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: m.Headers}
}

func TestLetterIsReadBack(t *testing.T) {
	t.Parallel()
	r, _ := call()
	l, m, err := alerts.ReadLetter(asRecord(park(t, topics(), r, "member x at byte 3: is odd")))
	if err != nil || m != nil {
		t.Fatal(m, err)
	}
	want := &alerts.Letter{
		ID: alerts.LetterID{Topic: "cdrs", Partition: 3, Offset: 81723}, Reason: rating.NotJSON, Message: "member x at byte 3: is odd",
		Appended: time.UnixMilli(at).UTC(), First: time.UnixMilli(at).UTC(), Key: r.Key, Value: r.Value, Headers: r.Headers,
	}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("%+v\nwant %+v", l, want)
	}
	first := kafka.Header{Key: "cs-first-timestamp", Value: []byte("2026-11-22T07:00:00.250Z")}
	if again := l.Again(); !reflect.DeepEqual(again, kafka.Message{
		Topic: "cdrs", Partition: 3, Key: r.Key, Value: r.Value, Headers: append(slices.Clone(r.Headers), first),
	}) {
		t.Errorf("%+v", again)
	}
}

// However often a record is sent again, its dead letter says when it came first.
func TestTheFirstTimeIsKept(t *testing.T) {
	t.Parallel()
	r, _ := call()
	r.Headers = nil
	for i := range 3 {
		l, _, err := alerts.ReadLetter(asRecord(park(t, topics(), r, "x")))
		if err != nil || !l.First.Equal(time.UnixMilli(at)) || l.Appended.UnixMilli() != at+int64(i)*60_000 || len(l.Headers) != 0 {
			t.Fatalf("%+v %v", l, err)
		}
		r.Headers = l.Again().Headers
		r.AppendMillis += 60_000
	}
	for _, odd := range []string{"", "yesterday", "2036-11-22T07:00:00Z"} { // no time, or later than its append
		r.Headers = []kafka.Header{{Key: "cs-first-timestamp", Value: []byte(odd)}}
		if l, _, err := alerts.ReadLetter(asRecord(park(t, topics(), r, "x"))); err != nil || !l.First.Equal(l.Appended) {
			t.Errorf("%q: %+v %v", odd, l, err)
		}
	}
}

func TestMarkerIsReadBack(t *testing.T) {
	t.Parallel()
	id := alerts.LetterID{Topic: "cdrs", Partition: 0, Offset: 7}
	for _, want := range []alerts.Marker{
		{ID: id, Done: alerts.Replayed, By: "ann", At: time.UnixMilli(at).UTC()},
		{ID: id, Done: alerts.Dropped, By: "ann", At: time.UnixMilli(at).UTC(), Text: "test calls of the installer"},
	} {
		msg := want.Message("cdrs.dlq", 1)
		l, m, err := alerts.ReadLetter(asRecord(msg))
		if err != nil || l != nil || *m != want || msg.Topic != "cdrs.dlq" || msg.Partition != 1 || msg.Value != nil {
			t.Errorf("%+v %+v %v, want %+v", l, m, err, want)
		}
	}
}

func TestWhatIsNoLetter(t *testing.T) {
	t.Parallel()
	header := func(pairs ...string) (h []kafka.Header) {
		for i := 0; i < len(pairs); i += 2 {
			h = append(h, kafka.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return h
	}
	for want, headers := range map[string][]kafka.Header{
		"headers cs-topic, cs-partition and cs-offset": header("a", "b"),
		"partition and offset are whole numbers":       header("cs-topic", "cdrs", "cs-partition", "-1", "cs-offset", "1"),
		"header cs-timestamp":                          header("cs-topic", "cdrs", "cs-partition", "1", "cs-offset", "1"),
		"header cs-time:":                              header("cs-topic", "cdrs", "cs-partition", "1", "cs-offset", "1", "cs-marker", "dropped"),
	} {
		l, m, err := alerts.ReadLetter(&kafka.Record{Headers: headers})
		if err == nil || l != nil || m != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v %v %v, want %s", l, m, err, want)
		}
	}
}

func TestLetterIDs(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"cdrs/3/81723", "a.b_c-d/0/0", "x/2147483647/9223372036854775807"} {
		if id, err := alerts.ParseLetterID(s); err != nil || id.String() != s {
			t.Errorf("%s: %v %v", s, id, err)
		}
	}
	for _, s := range []string{"", "cdrs", "cdrs/3", "/3/4", "cdrs/3/4/5", "cdrs/x/4", "cdrs/3/-4", "cdrs/2147483648/1", "cdrs/1/9223372036854775808"} {
		if id, err := alerts.ParseLetterID(s); err == nil {
			t.Errorf("%q is taken for %v", s, id)
		}
	}
}
