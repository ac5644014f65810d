package load_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/internal/load"
	"github.com/creditstream/creditstream/internal/sandbox/testserver"
)

func TestMain(m *testing.M) { testserver.Run(m) }

const partitions = 4

// newClient returns a client of a Kafka with a topic whose records are at most so
// large.
func newClient(t *testing.T, most string) (c *kafka.Client, cdrs string) {
	t.Helper()
	k := testserver.NewKafka(t)
	cdrs = k.Name("cdrs")
	c, err := kafka.New(kafka.Config{Brokers: k.Brokers()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	spec := kafka.TopicSpec{Name: cdrs, Partitions: partitions, Replication: 1, Configs: map[string]string{"max.message.bytes": most}}
	if err := c.EnsureTopics(t.Context(), []kafka.TopicSpec{spec}); err != nil {
		t.Fatal(err)
	}
	return c, cdrs
}

func options(topic string, f cdr.Format) *load.Options {
	zone := time.UTC
	return &load.Options{
		Topic: topic, Format: f, Decoder: cdr.NewDecoder(cdr.Options{Format: f, Zone: zone, Lenient: true}), Now: time.Now,
	}
}

// done is what a load has told.
type done struct {
	sum     load.Sum
	refused []string
	batches int
	err     error
}

func send(ctx context.Context, t *testing.T, c *kafka.Client, opt *load.Options, from io.Reader) (d done) {
	t.Helper()
	l, err := load.New(ctx, c, opt)
	if err != nil {
		t.Fatal(err)
	}
	d.sum, d.err = l.File(ctx, from, func(line int, why error) { d.refused = append(d.refused, fmt.Sprintf("%d: %s", line, why)) },
		func(load.Sum) { d.batches++ })
	return d
}

func all(t *testing.T, c *kafka.Client, topic string) (records []kafka.Record) {
	t.Helper()
	for p := range partitions {
		for r, err := range c.Scan(t.Context(), topic, p, 0) {
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, *r)
		}
	}
	return records
}

func call(id, account, more string) string {
	return fmt.Sprintf(`{"id":%q,"source":"s","account":%q,"kind":"user_out","answered_at":"2026-11-22T06:00:00Z","duration_ms":1000%s}`, id, account, more)
}

func header(r *kafka.Record, name string) string {
	i := slices.IndexFunc(r.Headers, func(h kafka.Header) bool { return h.Key == name })
	if i < 0 {
		return ""
	}
	return string(r.Headers[i].Value)
}

func TestRecordsAreSentAsTheyStand(t *testing.T) {
	t.Parallel()
	c, cdrs := newClient(t, "1048576")
	var lines []string
	for i := range 5000 {
		lines = append(lines, call(strconv.Itoa(i), fmt.Sprintf("acme%d", i%7), `, "note" : "é"`))
	}
	d := send(t.Context(), t, c, options(cdrs, cdr.CanonicalJSON), strings.NewReader("\ufeff"+strings.Join(lines, "\r\n\n")))
	if d.err != nil || d.sum.Sent != 5000 || len(d.refused) != 0 || d.batches < 3 {
		t.Errorf("%+v", d)
	}
	var got []string
	for _, r := range all(t, c, cdrs) {
		got = append(got, string(r.Value))
		if !strings.Contains(string(r.Value), `"account":"`+string(r.Key)+`"`) || kafka.PartitionForKey(r.Key, partitions) != r.Partition {
			t.Fatalf("key %s of %s in partition %d", r.Key, r.Value, r.Partition)
		}
		if header(&r, "content-type") != cdr.CanonicalJSON.MediaType() || len(r.Headers) != 1 {
			t.Fatalf("headers %v", r.Headers)
		}
	}
	slices.Sort(got)
	slices.Sort(lines)
	if !slices.Equal(got, lines) {
		t.Errorf("%d records, want %d, each as it stands", len(got), len(lines))
	}
}

// What cannot be sent keeps nothing else from it.
func TestWhatIsNotSent(t *testing.T) {
	t.Parallel()
	c, cdrs := newClient(t, "20000")
	d := send(t.Context(), t, c, options(cdrs, cdr.CanonicalJSON), strings.NewReader(strings.Join([]string{
		call("1", "acme", ""), "{no json}", call("2", "acme", `,"x":"`+strings.Repeat("x", 30_000)+`"`), "", call("3", "acme", `,"x":"`+strings.Repeat("x", 19_000)+`"`),
		`{"id":"4","source":"s","account":"a b","kind":"user_out","duration_ms":1}`,
		`{"x":"` + strings.Repeat("x", cdr.MaxRecordBytes) + `"}`, call("5", "acme", ""),
	}, "\n")))
	if d.err != nil || d.sum.Sent != 3 || d.sum.Refused != 4 || d.sum.Line != 8 {
		t.Errorf("%+v", d)
	}
	for i, want := range []string{"2: not_json: ", "3: the record has 30", "6: bad_field: account ", "7: not_json: "} {
		if i >= len(d.refused) || !strings.HasPrefix(d.refused[i], want) {
			t.Errorf("%q, want %q", d.refused, want)
		}
	}
	if n := len(all(t, c, cdrs)); n != 3 {
		t.Errorf("%d records", n)
	}
}

func TestOtherFormats(t *testing.T) {
	t.Parallel()
	c, cdrs := newClient(t, "1048576")
	opt := options(cdrs, cdr.AsteriskCSV)
	opt.Source = "pbx-1"
	line := func(account, id string) string {
		return `"` + account + `","1042","00442070000002","ctx","a, ""b""","ch","dch","Dial","x","2026-11-22 06:00:00","2026-11-22 06:00:01","2026-11-22 06:00:09",9,8,"ANSWERED","DOCUMENTATION","` + id + `",""`
	}
	d := send(t.Context(), t, c, opt, strings.NewReader(line("acme", "1.1")+"\n"+line("", "1.2")+"\n"))
	if d.err != nil || d.sum.Sent != 2 || len(d.refused) != 0 {
		t.Fatalf("%+v", d)
	}
	for _, r := range all(t, c, cdrs) {
		named := strings.HasPrefix(string(r.Value), `"acme"`)
		if header(&r, "content-type") != cdr.AsteriskCSV.MediaType() || header(&r, "cdr-source") != "pbx-1" || named != (string(r.Key) == "acme") || !named && r.Key != nil {
			t.Errorf("%+v", r)
		}
		if string(r.Value) != line("acme", "1.1") && string(r.Value) != line("", "1.2") {
			t.Errorf("%s", r.Value)
		}
	}
	d = send(t.Context(), t, c, options(cdrs, cdr.OpenSIPS), strings.NewReader(
		`{"jsonrpc":"2.0","method":"E_ACC_MISSED_EVENT","params":{"callid":"c2","sip_code":"487"}}`))
	if d.err != nil || d.sum.Sent != 0 || d.sum.Skipped != 1 {
		t.Errorf("%+v", d)
	}
}

func TestLoadsThatEndEarly(t *testing.T) {
	t.Parallel()
	c, cdrs := newClient(t, "1048576")
	broken := errors.New("the disk is gone")
	d := send(t.Context(), t, c, options(cdrs, cdr.CanonicalJSON), io.MultiReader(strings.NewReader(call("1", "acme", "")+"\n"), iotest.ErrReader(broken)))
	if !errors.Is(d.err, broken) || d.sum.Sent != 1 || d.sum.Line != 1 {
		t.Errorf("%+v", d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l, err := load.New(ctx, c, options(cdrs, cdr.CanonicalJSON))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := l.File(ctx, strings.NewReader(call("1", "acme", "")), nil, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	opt := options(cdrs, cdr.CanonicalJSON)
	opt.Topic = "nowhere"
	if _, err := load.New(t.Context(), c, opt); !errors.Is(err, load.ErrNoTopic) {
		t.Error(err)
	}
}
