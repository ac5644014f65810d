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
	return asteriskAt(time.Now(), "acme", id, seconds, disposition)
}

func asteriskAt(answered time.Time, account, id string, seconds int, disposition string) []byte {
	at := answered.UTC().Format(time.DateTime)
	return fmt.Appendf(nil, `"%s","1042","00442070000002","ctx","clid","ch","dch","Dial","x","%s","%s","%s",%d,%d,"%s","DOCUMENTATION","%s",""`,
		account, at, at, at, seconds, seconds, disposition, id)
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
	w.send(map[string]string{"CDR-Source": "sbc-1"}, event) // the switch sends it again
	w.send(map[string]string{"Content-Type": "application/vnd.creditstream.opensips+json; charset=utf-8"}, missed)
	w.send(map[string]string{"ce_specversion": "1.0", "Ce_Source": "pbx-1", "cdr-source": "", "content-type": "text/csv"}, asterisk("1.2", 5, "ANSWERED"))
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

// Forks of a call, with sequences and one answer time, are charged once, by the first
// that comes; the part after a transfer, another channel's leg of the same linked id
// and a fork for another account are charged each.
func TestForksAreChargedOnce(t *testing.T) {
	w := newWorld(t)
	withMapping(t, w)
	r := w.start()
	w.create("acme", "globex")
	media := map[string]string{"content-type": cdr.AsteriskCSV.MediaType()}
	answered := time.Now().Add(-time.Minute)
	for sequence, line := range [][]byte{
		asteriskAt(answered, "acme", "9.1", 60, "ANSWERED"), asteriskAt(answered, "acme", "9.1", 60, "ANSWERED"),
		asteriskAt(answered, "acme", "9.1", 20, "ANSWERED"), asteriskAt(answered.Add(time.Minute), "acme", "9.1", 30, "ANSWERED"),
		asteriskAt(answered, "acme", "9.2", 60, "ANSWERED"), asteriskAt(answered, "globex", "9.1", 60, "ANSWERED"),
	} {
		w.send(media, fmt.Appendf(line, `,"","9.1","%d"`, 100-sequence))
	}
	until(t, "all handled", func() bool { return r.figure(t, "creditstream_consumer_records_total") == 6 })
	if acme, globex := w.spent("acme"), w.spent("globex"); acme != 60_000+30_000+60_000 || globex != 60_000 {
		t.Errorf("acme has spent %d, globex %d", acme, globex)
	}
	if n := r.figure(t, "creditstream_consumer_records_total", "outcome", "duplicate"); n != 2 {
		t.Errorf("%v duplicates", n)
	}
}

// Of forks of unequal length the first that is applied counts, whichever that is: no
// record tells of the others (docs/formats.md). With the sequence in the id there is no
// first, and the order does not matter.
func TestTheFirstForkCounts(t *testing.T) {
	w := newWorld(t)
	each := strings.NewReplacer("kind:", "id: {field: [uniqueid, sequence]}\n    kind:", "pbx-1", "pbx-2")
	only, _, _ := strings.Cut(mapping, "  - source: sbc-1")
	text := only + each.Replace(strings.TrimPrefix(only, "\nsources:\n"))
	m, err := cdr.LoadMapping("mapping.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.formats = cdr.Options{Mapping: m, Format: cdr.AsteriskCSV}
	r := w.start()
	accounts := []string{"longer-first", "shorter-first", "each-longer-first", "each-shorter-first"}
	w.create(accounts...)
	answered := time.Now().Add(-time.Minute)
	for i, account := range accounts {
		lengths := [][]int{{60, 20}, {20, 60}}[i%2]
		for sequence, seconds := range lengths {
			w.send(map[string]string{"cdr-source": []string{"pbx-1", "pbx-2"}[i/2]},
				fmt.Appendf(asteriskAt(answered, account, "9.1", seconds, "ANSWERED"), `,"","9.1","%d"`, sequence))
		}
	}
	until(t, "all handled", func() bool { return r.figure(t, "creditstream_consumer_records_total") == 8 })
	for i, want := range []int64{60_000, 20_000, 80_000, 80_000} {
		if got := w.spent(accounts[i]); got != want {
			t.Errorf("%s: spent %d, want %d", accounts[i], got, want)
		}
	}
}

// applyHeldUp has a consumer apply a record, and stops it before it has published
// what became of it.
func (w *world) applyHeldUp(record []byte) {
	w.t.Helper()
	hold := make(chan struct{})
	w.gate.open.Store(&hold)
	r := w.start()
	w.produce(0, record)
	until(w.t, "applied and held up", func() bool { return len(w.redis.Keys("cs:*:outbox:"+w.cdrs+"/0")) > 0 })
	if err := r.stop(); err != nil {
		w.t.Fatal(err)
	}
	close(hold)
	w.gate.open.Store(nil)
}

const missedEvent = `{"method":"E_ACC_MISSED_EVENT","params":{}}`

// A restart in the middle, with what is skipped in the outbox, changes nothing.
func TestSkippedAfterTakeOver(t *testing.T) {
	w := newWorld(t)
	w.formats = cdr.Options{Format: cdr.OpenSIPS}
	w.create("acme")
	w.applyHeldUp([]byte(missedEvent))
	r := w.start()
	until(t, "published", func() bool {
		return r.Ready() == nil && len(w.redis.Keys("cs:*:outbox:*")) == 0
	})
	if n := len(w.all(w.topics.Rated)) + len(w.all(w.topics.DeadLetters)); n != 0 {
		t.Errorf("%d records of what was skipped", n)
	}
}

// What a record was applied as it stays: a configuration that makes something else
// of it is refused when its result is published again.
func TestSkippingThePast(t *testing.T) {
	reading := func(skip string) cdr.Options {
		m, err := cdr.LoadMapping("m", []byte("sources:\n- {source: pbx-1, format: asterisk-csv, zone: UTC, kind: {value: user_out}"+skip+"}\n"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return cdr.Options{Format: cdr.AsteriskCSV, Mapping: m}
	}
	all, skipped := reading(""), reading(", skip: {field: src, equals: \"1042\", value: by rule}")
	for name, tt := range map[string]struct {
		disposition   string
		before, after cdr.Options
		event         bool // instead of a line
		elsewhere     bool // the account is not of the shard of what is skipped
		want          string
	}{
		"parked, then skipped":         {event: true, after: cdr.Options{Format: cdr.OpenSIPS}, want: "is skipped (E_ACC_MISSED_EVENT: a call that nobody answered) now but was applied as parked"},
		"skipped, then parked":         {event: true, before: cdr.Options{Format: cdr.OpenSIPS}, want: "is missing_field (id is absent; expected a string of at most 256 bytes without control characters) now but was applied as skipped"},
		"free, then skipped":           {"BUSY", all, skipped, false, false, "is skipped (by rule) now but was applied as a call"},
		"charged, then skipped":        {"ANSWERED", all, skipped, false, false, "is skipped (by rule) now but was applied as a call"},
		"skipped, then free":           {"BUSY", skipped, all, false, false, "is a call now but was applied as skipped"},
		"skipped, then charged":        {"ANSWERED", skipped, all, false, false, "is a call now but was applied as skipped"},
		"skipped, then charged, aside": {"ANSWERED", skipped, all, false, true, "is a call now but was applied as skipped"},
		"of no account, then of one":   {"ANSWERED", cdr.Options{}, all, false, true, "is a call now but was applied as parked"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			account := 0
			for (w.store.ShardOf(fmt.Sprint("a", account)) == 0) == tt.elsewhere {
				account++ // records of partition 0 without account are of shard 0
			}
			w.create(fmt.Sprint("a", account))
			record := asteriskAt(time.Now(), fmt.Sprint("a", account), "1.1", 60, tt.disposition)
			if tt.event {
				record = []byte(missedEvent)
			}
			w.formats = tt.before
			w.applyHeldUp(record)
			w.formats = tt.after
			r := w.start()
			until(t, "refused", r.failed)
			if err := r.stop(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
		})
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
