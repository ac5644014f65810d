package consumer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

const mapping = `
sources:
  - source: pbx-1
    format: asterisk-csv
    zone: UTC
    kind: {value: user_out}
  - source: sbc-1
    format: opensips
    account: {value: acme}
    kind: {value: user_out}
  - source: sbc-1
    format: opensips
    active_from: 2100-01-01T00:00:00Z
    account: {value: globex}
    kind: {value: user_out}
`

func withMapping(t *testing.T, w *world) {
	t.Helper()
	m, err := cdr.LoadMapping("mapping.yaml", []byte(mapping), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.formats = cdr.Options{Mapping: m}
}

// asterisk is a line of asterisk-csv of a call answered now.
func asterisk(id string, seconds int, disposition string) []byte {
	now := time.Now().UTC().Format(time.DateTime)
	return fmt.Appendf(nil, `"acme","1042","00442070000002","ctx","clid","ch","dch","Dial","x","%s","%s","%s",%d,%d,"%s","DOCUMENTATION","%s",""`,
		now, now, now, seconds, seconds, disposition, id)
}

func (w *world) send(headers map[string]string, value []byte) {
	w.t.Helper()
	m := kafka.Message{Topic: w.cdrs, Partition: 0, Value: value}
	for name, text := range headers {
		m.Headers = append(m.Headers, kafka.Header{Key: name, Value: []byte(text)})
	}
	if _, err := w.client.Write(w.t.Context(), w.cdrs, 0, []kafka.Message{m}); err != nil {
		w.t.Fatal(err)
	}
}

// Records of several formats side by side: by their media type, their source, as
// CloudEvents; skipped ones leave nothing but a count.
func TestStreamOfFormats(t *testing.T) {
	w := newWorld(t)
	withMapping(t, w)
	r := w.start()
	w.create("acme", "globex")
	event := fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"E_ACC_CDR","params":{"callid":"c1","from_tag":"f","to_tag":"t","sip_code":"200",`+
		`"time":%d,"duration":1,"ms_duration":40}}`, time.Now().Unix())
	missed := []byte(`{"jsonrpc":"2.0","method":"E_ACC_MISSED_EVENT","params":{"callid":"c2","sip_code":"487"}}`)
	media := map[string]string{"content-type": cdr.AsteriskCSV.MediaType()}

	w.send(nil, w.call("acme", 1))
	w.send(media, asterisk("1.1", 2, "ANSWERED"))
	w.send(map[string]string{"cdr-source": "sbc-1"}, event)
	w.send(map[string]string{"cdr-source": "sbc-1"}, event) // the switch sends it again
	w.send(map[string]string{"Content-Type": "application/vnd.creditstream.opensips+json; charset=utf-8"}, missed)
	w.send(map[string]string{"ce_specversion": "1.0", "ce_source": "pbx-1", "content-type": "text/csv"}, asterisk("1.2", 5, "ANSWERED"))
	w.send(map[string]string{"content-type": "application/cloudevents+json"},
		fmt.Appendf(nil, `{"specversion":"1.0","id":"e1","source":"anybody","type":"cdr","data":%s}`, w.call("globex", 300)))
	w.send(map[string]string{"content-type": "application/cloudevents+json"},
		fmt.Appendf(nil, `{"specversion":"1.0","id":"e2","source":"pbx-1","type":"cdr","datacontenttype":"text/csv","data":%q}`, asterisk("1.3", 1, "ANSWERED")))
	w.send(media, []byte(string(asterisk("1.4", 7, "ANSWERED"))+"\n"+string(asterisk("1.5", 7, "ANSWERED"))))
	w.send(map[string]string{"content-type": "application/avro"}, []byte("Obj"))
	w.send(map[string]string{"cdr-source": "pbx-9", "content-type": cdr.AsteriskCSV.MediaType()}, asterisk("1.6", 7, "ANSWERED"))
	w.send(media, asterisk("1.7", 0, "NO ANSWER"))

	until(t, "all handled", func() bool { return r.figure(t, "creditstream_consumer_records_total") == 12 })
	for outcome, n := range map[balance.Outcome]float64{
		balance.Charged: 6, balance.Duplicate: 1, balance.Skipped: 1, balance.Free: 1, balance.Parked: 3,
	} {
		if got := r.figure(t, "creditstream_consumer_records_total", "outcome", string(outcome)); got != n {
			t.Errorf("%s: %v, want %v", outcome, got, n)
		}
	}
	if acme, globex := w.spent("acme"), w.spent("globex"); acme != 1+2000+40+5000+1000 || globex != 300 {
		t.Errorf("acme has spent %d, globex %d", acme, globex)
	}
	if n := len(w.rated()); n != 8 {
		t.Errorf("%d rated records, want 8: none of what was skipped or parked", n)
	}
	var reasons []string
	for _, d := range w.all(w.topics.DeadLetters) {
		reasons = append(reasons, header(&d, "cs-reason"))
		if header(&d, "cs-reason") == string(rating.BadFormat) && header(&d, "content-type") == "" {
			t.Error("a dead letter has lost the headers that say how it is read")
		}
	}
	slices.Sort(reasons) // they lie in several partitions
	if got := strings.Join(reasons, " "); got != "bad_format bad_format several_calls" {
		t.Errorf("parked: %s", got)
	}
}

// Asterisk writes a record of no length of the same id and answer time as that of
// the call: neither is a repeat of the other, whichever comes first.
func TestNoLengthIsNoRepeat(t *testing.T) {
	w := newWorld(t)
	withMapping(t, w)
	r := w.start()
	w.create("acme")
	media := map[string]string{"content-type": cdr.AsteriskCSV.MediaType()}
	call := asterisk("1.1", 183, "ANSWERED")
	stub := []byte(strings.Replace(string(call), ",183,183,", ",19,0,", 1))
	for _, record := range [][]byte{stub, call, stub, call} {
		w.send(media, record)
	}
	until(t, "all handled", func() bool { return r.figure(t, "creditstream_consumer_records_total") == 4 })
	if got := w.spent("acme"); got != 183_000 {
		t.Errorf("acme has spent %d", got)
	}
	if n := r.figure(t, "creditstream_consumer_records_total", "outcome", "duplicate"); n != 1 {
		t.Errorf("%v duplicates", n)
	}
}

// applyMissed has a consumer apply an event of a call that nobody answered, and
// stops it before it has published that.
func (w *world) applyMissed() {
	w.t.Helper()
	hold := make(chan struct{})
	w.gate.open.Store(&hold)
	r := w.start()
	w.produce(0, []byte(`{"method":"E_ACC_MISSED_EVENT","params":{}}`))
	until(w.t, "applied and held up", func() bool { return r.figure(w.t, "creditstream_consumer_outbox_entries") > 0 })
	if err := r.stop(); err != nil {
		w.t.Fatal(err)
	}
	close(hold)
	w.gate.open.Store(nil)
}

// A restart in the middle, with what is skipped in the outbox, changes nothing.
func TestSkippedAfterTakeOver(t *testing.T) {
	w := newWorld(t)
	w.formats = cdr.Options{Format: cdr.OpenSIPS}
	w.create("acme")
	w.applyMissed()
	r := w.start()
	until(t, "published", func() bool {
		return r.Ready() == nil && len(w.redis.Keys("cs:*:outbox:*")) == 0
	})
	if n := len(w.all(w.topics.Rated)) + len(w.all(w.topics.DeadLetters)); n != 0 {
		t.Errorf("%d records of what was skipped", n)
	}
}

// What was parked must not become a skip in a replay: the past is what it was.
func TestSkippingThePast(t *testing.T) {
	w := newWorld(t)
	w.applyMissed()
	w.formats = cdr.Options{Format: cdr.OpenSIPS}
	r := w.start()
	until(t, "refused", r.failed)
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "is skipped") || !strings.Contains(err.Error(), "was applied as parked") {
		t.Errorf("%v", err)
	}
}

// Batches come compressed by every codec of Kafka.
func TestStreamCompressed(t *testing.T) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.start()
			w.create("acme")
			client, err := kgo.NewClient(kgo.SeedBrokers(w.kafka.Brokers()...), kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(100*time.Millisecond),
				kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			records := make([]*kgo.Record, 50)
			for i := range records {
				records[i] = &kgo.Record{Topic: w.cdrs, Value: w.call("acme", 10)}
			}
			if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			until(t, "charged", func() bool { return w.spent("acme") == 500 })
			if n := r.figure(t, "creditstream_consumer_parked_total"); n != 0 {
				t.Errorf("%v parked", n)
			}
		})
	}
}

// The versions of a mapping are chosen by append time, so that a record means the
// same however often it is read.
func TestMappingIsChosenByAppendTime(t *testing.T) {
	t.Parallel()
	m, err := cdr.LoadMapping("mapping.yaml", []byte(mapping), nil)
	if err != nil {
		t.Fatal(err)
	}
	d := cdr.NewDecoder(cdr.Options{Mapping: m})
	change := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for at, account := range map[int64]string{0: "acme", change - 1: "acme", change: "globex", change + 1: "globex"} {
		var c rating.CDR
		rec := cdr.Record{
			Value:  []byte(`{"method":"E_ACC_CDR","params":{"callid":"c","sip_code":"200","time":1793610904,"duration":1}}`),
			Source: []byte("sbc-1"), AppendMillis: at,
		}
		if err := d.Decode(&rec, &c); err != nil || c.Account != account {
			t.Errorf("at %d: account %q, %v, want %s", at, c.Account, err, account)
		}
	}
}

// The example of the documentation for each format is a valid mapping.
func TestDocumentedMappings(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile(filepath.Join("..", "docs", "formats.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[cdr.Format]bool{}
	for _, block := range strings.Split(string(guide), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		if _, err := cdr.LoadMapping("example", []byte(example), nil); err != nil {
			t.Errorf("%s\n%v", example, err)
		}
		for _, f := range cdr.Formats() {
			seen[f] = seen[f] || strings.Contains(example, "format: "+string(f)+"\n")
		}
	}
	for _, f := range cdr.Formats() {
		if f != cdr.CanonicalJSON && !seen[f] {
			t.Errorf("no example for %s", f)
		}
		if !strings.Contains(string(guide), "## `"+string(f)+"`") || !strings.Contains(string(guide), f.MediaType()) {
			t.Errorf("%s or its media type is not explained", f)
		}
	}
}
