package letters_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/letters"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
	"github.com/creditstream/creditstream/rating"
)

// desk is a Kafka with parked records.
type desk struct {
	t      *testing.T
	kafka  *testserver.Kafka
	cdrs   string // topic
	client *kafka.Client
	box    *letters.Box
	now    time.Time
	topics alerts.Topics
}

func TestMain(m *testing.M) { testserver.Run(m) }

const partitions = 2

func newDesk(t *testing.T) *desk {
	t.Helper()
	k := testserver.NewKafka(t)
	d := &desk{t: t, kafka: k, cdrs: k.Name("cdrs"), now: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)}
	d.topics = alerts.Topics{DeadLetters: k.Name("cdrs.dlq"), DeadLetterPartitions: partitions}
	var err error
	if d.client, err = kafka.New(kafka.Config{Brokers: k.Brokers()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.client.Close)
	d.box = &letters.Box{Client: d.client, Topic: d.topics.DeadLetters, Decoder: cdr.NewDecoder(cdr.Options{}), Now: func() time.Time { return d.now }}
	if err := d.client.EnsureTopics(t.Context(), []kafka.TopicSpec{
		{Name: d.cdrs, Partitions: partitions, Replication: 1, Configs: map[string]string{"max.message.bytes": "100000"}},
		{Name: d.topics.DeadLetters, Partitions: partitions, Replication: 1},
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

func call(id, account, more string) string {
	return fmt.Sprintf(`{"id":%q,"source":"s1","account":%q,"kind":"user_out","callee":"+33142685300","answered_at":"2026-11-22T06:00:00Z","duration_ms":60000%s}`, id, account, more)
}

// produced writes a record to cdrs, as a switch does, and returns it.
func (d *desk) produced(partition int, key, value string, headers ...kafka.Header) kafka.Record {
	d.t.Helper()
	r := kafka.Record{Topic: d.cdrs, Partition: partition, AppendMillis: d.now.UnixMilli(), Key: []byte(key), Value: []byte(value), Headers: headers}
	w, err := d.client.Write(d.t.Context(), d.cdrs, partition, []kafka.Message{{Key: r.Key, Value: r.Value, Headers: headers}})
	if err != nil {
		d.t.Fatal(err)
	}
	r.Offset = w.BaseOffset
	return r
}

// parked publishes a dead letter, as a processor does.
func (d *desk) parked(r kafka.Record, reason rating.Reason) {
	d.t.Helper()
	p := alerts.New(kafka.NewWriter(d.client, kafka.WriterOptions{}), d.topics, func(string) int { return 0 }, nil)
	v := balance.Verdict{Outcome: balance.Parked, Reason: reason, Message: "because of " + string(reason)}
	if err := p.Publish(d.t.Context(), []kafka.Record{r}, []balance.Verdict{v}, nil); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) index(f letters.Filter) *letters.Index {
	d.t.Helper()
	x, err := d.box.Index(d.t.Context(), &f)
	if err != nil {
		d.t.Fatal(err)
	}
	return x
}

// ids returns where letters were parked, with bare names of topics.
func (d *desk) ids(entries []*letters.Entry) (all []string) {
	for _, e := range entries {
		all = append(all, d.kafka.Bare(e.ID.String()))
	}
	slices.Sort(all)
	return all
}

func (d *desk) wantOpen(want ...string) {
	d.t.Helper()
	x := d.index(letters.Filter{})
	if got := d.ids(x.Open()); !slices.Equal(got, want) {
		d.t.Errorf("open: %v, want %v", got, want)
	}
}

// replay sends what is open, and returns the results by id.
func (d *desk) replay(r letters.Replay, entries []*letters.Entry) map[string]letters.Result {
	d.t.Helper()
	got := map[string]letters.Result{}
	r.Box, r.CDRTopic, r.Operator = d.box, d.cdrs, "ann"
	r.Report = func(x letters.Result) { got[d.kafka.Bare(x.Entry.ID.String())] = x }
	if err := r.Run(d.t.Context(), entries); err != nil {
		d.t.Fatal(err)
	}
	return got
}

func (d *desk) sent(partition int) (all []kafka.Record) {
	d.t.Helper()
	for r, err := range d.client.Scan(d.t.Context(), d.cdrs, partition, 0) {
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, *r)
	}
	return all
}

func TestARepeatedDeadLetterIsCountedOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.produced(0, "k", call("1", "acme", ""))
	b := d.produced(1, "", "garbage")
	b.Key = nil
	for range 3 { // a take-over publishes again
		d.parked(a, rating.NoRate)
		d.parked(b, rating.NotJSON)
	}
	d.now = d.now.Add(90 * time.Minute)
	d.parked(d.produced(0, "k", call("2", "globex", "")), rating.NoRate)
	x := d.index(letters.Filter{})
	s := x.Sum()
	if len(x.Entries) != 3 || s.Open != 3 || s.ByReason[rating.NoRate].Open != 2 || s.BySource["s1"].Open != 2 || s.BySource[""].Open != 1 {
		t.Errorf("%+v", s)
	}
	if h := s.ByHour[d.now.Truncate(time.Hour)]; h.Open != 1 || len(s.ByHour) != 2 {
		t.Errorf("hours %v", s.ByHour)
	}
	if n := s.ByReason[rating.NoRate].Oldest; !n.Equal(time.UnixMilli(a.AppendMillis)) {
		t.Errorf("oldest %s", n)
	}
	if e := x.Entries[0]; d.kafka.Bare(e.ID.String()) != "cdrs/0/1" || e.Account != "globex" || e.Message != "because of no_rate" {
		t.Errorf("the newest is %+v", e)
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.parked(d.produced(0, "", call("1", "acme", "")), rating.NoRate)
	d.now = d.now.Add(time.Hour)
	second := d.now
	d.parked(d.produced(0, "", call("2", "acme", `,"user":7`)), rating.BadField) // what could be read counts
	d.now = d.now.Add(time.Hour)
	d.parked(d.produced(1, "", call("3", "globex", "")), rating.NoRate)
	for name, tt := range map[string]struct {
		filter letters.Filter
		want   []string
	}{
		"all":     {want: []string{"cdrs/0/0", "cdrs/0/1", "cdrs/1/0"}},
		"reason":  {letters.Filter{Reasons: []rating.Reason{rating.NoRate, rating.TooOld}}, []string{"cdrs/0/0", "cdrs/1/0"}},
		"account": {letters.Filter{Account: "acme"}, []string{"cdrs/0/0", "cdrs/0/1"}},
		"source":  {letters.Filter{Source: "s2"}, nil},
		"since":   {letters.Filter{Since: second}, []string{"cdrs/0/1", "cdrs/1/0"}},
		"until":   {letters.Filter{Until: second}, []string{"cdrs/0/0"}},
		"ids":     {letters.Filter{IDs: []alerts.LetterID{{Topic: d.cdrs, Partition: 1}}}, []string{"cdrs/1/0"}},
		"both":    {letters.Filter{Account: "acme", Since: second}, []string{"cdrs/0/1"}},
	} {
		x := d.index(tt.filter)
		if got := d.ids(x.Open()); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
		if tt.filter.IsZero() != (name == "all") {
			t.Errorf("%s: zero %t", name, tt.filter.IsZero())
		}
	}
}

// A marker closes a place for good, whichever was written first; what is parked at
// a new place is open.
func TestWhatIsOpen(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.produced(0, "k", call("1", "acme", "")), d.produced(0, "k", call("2", "acme", ""))
	d.parked(a, rating.NoRate)
	d.parked(b, rating.NoRate)
	x := d.index(letters.Filter{})
	entries := x.OldestFirst()
	if err := d.box.Close(t.Context(), entries[:1], alerts.Dropped, "ann", "of the test bench"); err != nil {
		t.Fatal(err)
	}
	d.wantOpen("cdrs/0/1")
	d.parked(a, rating.NoRate) // published again, after the marker
	d.wantOpen("cdrs/0/1")
	if got := d.replay(letters.Replay{}, d.index(letters.Filter{}).Open()); len(got) != 1 || got["cdrs/0/1"].Err != nil {
		t.Errorf("%+v", got)
	}
	d.wantOpen()
	d.parked(d.sent(0)[2], rating.NoRate) // it still has no rate
	d.wantOpen("cdrs/0/2")
	s := d.index(letters.Filter{}).Sum()
	if s.Open != 1 || s.Dropped != 1 || s.Replayed != 1 {
		t.Errorf("%+v", s)
	}
	_, e, err := d.box.Letter(t.Context(), alerts.LetterID{Topic: d.cdrs})
	if err != nil || e.Marker == nil || *e.Marker != (alerts.Marker{ID: e.ID, Done: alerts.Dropped, By: "ann", At: d.now, Text: "of the test bench"}) {
		t.Errorf("%+v %v", e, err)
	}
	if _, _, err := d.box.Letter(t.Context(), alerts.LetterID{Topic: d.cdrs, Offset: 99}); !errors.Is(err, letters.ErrUnknown) {
		t.Error(err)
	}
}

// The age of what was sent again and parked again is that of the first time, so that
// nothing gets younger by a replay that did not help.
func TestAReplayMakesNothingYounger(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	began := d.now
	d.parked(d.produced(0, "k", call("1", "acme", "")), rating.NoRate)
	for i := range 2 {
		d.now = d.now.Add(time.Hour)
		d.replay(letters.Replay{}, d.index(letters.Filter{}).Open())
		again := d.sent(0)[i+1]
		again.AppendMillis = d.now.UnixMilli()
		d.parked(again, rating.NoRate)
	}
	d.parked(d.produced(0, "k", call("2", "acme", "")), rating.NoRate)
	s := d.index(letters.Filter{}).Sum()
	if n := s.ByReason[rating.NoRate]; n.Open != 2 || !n.Oldest.Equal(began) {
		t.Errorf("%+v, want the oldest at %s", n, began)
	}
	if e := d.index(letters.Filter{}).Find(alerts.LetterID{Topic: d.cdrs, Offset: 2}); !e.Appended.Equal(d.now) || !e.First.Equal(began) {
		t.Errorf("%+v", e)
	}
}

// Markers of a dead letter count wherever they lie, the newest of them, and those of
// others do not.
func TestTheNewestMarkerCounts(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.produced(0, "k", call("1", "acme", "")), d.produced(0, "k", call("2", "globex", ""))
	mark := func(r kafka.Record, done string, after time.Duration) {
		m := alerts.Marker{ID: alerts.LetterID{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, Done: done, By: "ann", At: d.now.Add(after)}
		if err := kafka.NewWriter(d.client, kafka.WriterOptions{}).WriteAll(t.Context(), []kafka.Message{m.Message(d.topics.DeadLetters, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	mark(a, alerts.Dropped, 2*time.Second) // its dead letter was published before, and retention has taken that
	mark(b, alerts.Dropped, 5*time.Second)
	d.parked(a, rating.NoRate)
	mark(a, alerts.Replayed, time.Second)
	x := d.index(letters.Filter{Account: "acme"})
	if len(x.Entries) != 1 || x.Entries[0].Marker == nil || x.Entries[0].Marker.Done != alerts.Dropped {
		t.Errorf("%+v", x.Entries)
	}
	mark(a, alerts.Replayed, 3*time.Second)
	if x := d.index(letters.Filter{}); len(x.Entries) != 1 || x.Entries[0].Marker.Done != alerts.Replayed || x.Strange != 0 {
		t.Errorf("%+v", x)
	}
}

// What is dropped is marked some at a time, and told of once it is.
func TestDropping(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for range 1100 {
		d.parked(d.produced(0, "k", "{"), rating.NotJSON)
	}
	told, marked := 0, []int(nil) // of those told of: how many had a marker, at some moments
	err := d.box.Drop(t.Context(), d.index(letters.Filter{}).Open(), "ann", "x", func(*letters.Entry) {
		if told++; told%500 == 1 {
			marked = append(marked, d.index(letters.Filter{}).Sum().Dropped)
		}
	})
	if err != nil || told != 1100 || !slices.Equal(marked, []int{500, 1000, 1100}) {
		t.Errorf("%d told of, %v marked by then: %v", told, marked, err)
	}
}

func TestReplayGivesBackWhatCame(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	value := "\x00\xff{}"
	own := []kafka.Header{{Key: "content-type", Value: []byte("text/csv")}, {Key: "n", Value: nil}}
	var sent []kafka.Record
	for i := range 1200 { // more than a batch
		r := d.produced(i%partitions, "key", value, own...)
		d.parked(r, rating.NotJSON)
		sent = append(sent, r)
	}
	got := d.replay(letters.Replay{}, d.index(letters.Filter{}).Open())
	if len(got) != len(sent) {
		t.Errorf("%d of %d reported", len(got), len(sent))
	}
	for p := range partitions {
		all := d.sent(p)
		if len(all) != 1200 {
			t.Fatalf("partition %d has %d records, want 1200", p, len(all))
		}
		for _, r := range all[600:] {
			if string(r.Key) != "key" || string(r.Value) != value || len(r.Headers) != 3 || string(r.Headers[0].Value) != "text/csv" {
				t.Fatalf("%+v", r)
			}
		}
	}
	d.wantOpen()
}

func TestReplaySaysWhatWouldHappen(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	decks, err := rating.Load(os.DirFS("../../rating/testdata/example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{
		call("1", "acme", ""),
		strings.Replace(call("2", "acme", ""), "+33142685300", "+999", 1),
		strings.Replace(call("3", "acme", ""), "user_out", "internal", 1),
		"{",
	} {
		d.parked(d.produced(0, "", value), rating.NoRate)
	}
	limits := consumer.Limits{Window: 48 * time.Hour, MaxDuration: time.Hour, MaxCharge: rating.MaxCharge}
	got := d.replay(letters.Replay{DryRun: true, Decks: decks, Limits: limits}, d.index(letters.Filter{}).Open())
	for id, want := range map[string]balance.Verdict{
		"cdrs/0/0": {Outcome: balance.Charged},
		"cdrs/0/1": {Outcome: balance.Parked, Reason: rating.NoRate},
		"cdrs/0/2": {Outcome: balance.Free},
		"cdrs/0/3": {Outcome: balance.Parked, Reason: rating.NotJSON},
	} {
		if v := got[id].Verdict; v == nil || v.Outcome != want.Outcome || v.Reason != want.Reason || got[id].Err != nil {
			t.Errorf("%s: %+v, want %s %s", id, v, want.Outcome, want.Reason)
		}
	}
	d.wantOpen("cdrs/0/0", "cdrs/0/1", "cdrs/0/2", "cdrs/0/3")
	if n := len(d.sent(0)); n != 4 {
		t.Errorf("a dry run has written %d records", n-4)
	}
	d.now = d.now.Add(72 * time.Hour) // a record is as old as it is when it is sent
	got = d.replay(letters.Replay{DryRun: true, Decks: decks, Limits: limits}, d.index(letters.Filter{}).Open())
	if v := got["cdrs/0/0"].Verdict; v.Reason != rating.TooOld {
		t.Errorf("%+v", v)
	}
}

// A dead letter that was cut is fetched whole from its place in the log.
func TestReplayOfACutRecord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.topics.DeadLetterBytes = 1000
	value := call("1", "acme", `,"note":"`+strings.Repeat("x", 5000)+`"`)
	whole := d.produced(0, "k", value, kafka.Header{Key: "h", Value: []byte("v")}, kafka.Header{Key: "cs-x", Value: []byte("y")})
	d.parked(whole, rating.NoRate)
	other := whole
	other.Partition = 1
	d.produced(1, "k", "of a topic that was made anew")
	d.parked(other, rating.NoRate)
	gone := whole
	gone.Offset = 77
	d.parked(gone, rating.NoRate)
	got := d.replay(letters.Replay{}, d.index(letters.Filter{}).Open())
	all := d.sent(0)
	if len(all) != 2 || string(all[1].Value) != value || len(all[1].Headers) != 2 || string(all[1].Key) != "k" {
		t.Errorf("%d records", len(all))
	}
	for id, want := range map[string]string{
		"cdrs/1/0":  "another record: the topic was made anew",
		"cdrs/0/77": "its retention in " + d.cdrs + " is over",
	} {
		if err := got[id].Err; err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "bytes") {
			t.Errorf("%s: %v", id, err)
		}
	}
	d.wantOpen("cdrs/0/77", "cdrs/1/0")
}

// One that cannot be sent keeps none from being sent.
func TestReplayOfWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.parked(kafka.Record{Topic: d.kafka.Name("credit-commands"), Value: []byte("{}")}, rating.BadCommand)
	d.parked(kafka.Record{Topic: d.cdrs, Partition: 1, Offset: 5}, rating.NotJSON)
	d.parked(kafka.Record{Topic: d.cdrs, Partition: 1, Offset: 6, Value: bytes.Repeat([]byte("x"), 200_000)}, rating.NotJSON)
	d.parked(d.produced(0, "k", "{"), rating.NotJSON)
	got := d.replay(letters.Replay{}, d.index(letters.Filter{}).Open())
	for id, want := range map[string]string{
		"credit-commands/0/0": "sent nowhere else", "cdrs/1/5": "no bytes", "cdrs/1/6": "Message",
	} {
		if err := got[id].Err; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	if n := len(d.sent(0)); got["cdrs/0/0"].Err != nil || n < 2 || n > 3 { // 3: it was sent with the others and by itself
		t.Errorf("%+v, %d records", got["cdrs/0/0"], n)
	}
	d.wantOpen("cdrs/1/5", "cdrs/1/6", "credit-commands/0/0")
}

func TestStrangeRecordsAreCounted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if _, err := d.client.Write(t.Context(), d.topics.DeadLetters, 0, []kafka.Message{{Value: []byte("hello")}}); err != nil {
		t.Fatal(err)
	}
	if x := d.index(letters.Filter{}); x.Strange != 1 || len(x.Entries) != 0 {
		t.Errorf("%+v", x)
	}
	d.box.Topic = "elsewhere"
	if _, err := d.box.Index(t.Context(), &letters.Filter{}); !errors.Is(err, letters.ErrNoTopic) {
		t.Error(err)
	}
}
