package kafka_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/creditstream/creditstream/internal/kafka"
)

// rawBatch is a record batch to encode, with every length field free to lie.
type rawBatch struct {
	base       int64
	attributes int16
	lastDelta  int32
	firstTime  int64
	maxTime    int64
	producer   int64
	count      int32
	records    []byte
}

func (b rawBatch) encode() []byte {
	out := make([]byte, 61, 61+len(b.records))
	binary.BigEndian.PutUint64(out, uint64(b.base))
	binary.BigEndian.PutUint32(out[8:], uint32(49+len(b.records)))
	out[16] = 2
	binary.BigEndian.PutUint16(out[21:], uint16(b.attributes))
	binary.BigEndian.PutUint32(out[23:], uint32(b.lastDelta))
	binary.BigEndian.PutUint64(out[27:], uint64(b.firstTime))
	binary.BigEndian.PutUint64(out[35:], uint64(b.maxTime))
	binary.BigEndian.PutUint64(out[43:], uint64(b.producer))
	binary.BigEndian.PutUint32(out[57:], uint32(b.count))
	return seal(append(out, b.records...))
}

// seal corrects the checksum of one batch.
func seal(batch []byte) []byte {
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

// rawRecords encodes records with the offsets 0, 1, 2 and so on.
func rawRecords(values ...string) []byte {
	var out []byte
	for i, v := range values {
		in := []byte{0}
		in = binary.AppendVarint(in, int64(i)) // time delta
		in = binary.AppendVarint(in, int64(i)) // offset delta
		in = binary.AppendVarint(in, -1)       // no key
		in = binary.AppendVarint(in, int64(len(v)))
		in = append(in, v...)
		in = binary.AppendVarint(in, 1) // one header
		in = append(binary.AppendVarint(in, 1), 'h')
		in = binary.AppendVarint(in, -1)
		out = append(binary.AppendVarint(out, int64(len(in))), in...)
	}
	return out
}

func plainBatch(base int64, values ...string) rawBatch {
	n := int32(len(values))
	return rawBatch{base: base, lastDelta: n - 1, firstTime: 1000, maxTime: 9000, producer: -1, count: n, records: rawRecords(values...)}
}

func TestDecodeTimes(t *testing.T) {
	t.Parallel()
	b := plainBatch(5, "a", "b")
	b.attributes = 0x08 // as brokers write LogAppendTime: only the greatest time is theirs
	got, err := kafka.Decode(5, b.encode())
	if err != nil {
		t.Fatal(err)
	}
	if !got.LogAppendTime || got.Records[0].AppendMillis != 9000 || got.Records[1].AppendMillis != 9000 {
		t.Errorf("append time: %+v", got)
	}
	got, err = kafka.Decode(5, append(b.encode(), plainBatch(7, "c", "d").encode()...))
	if err != nil {
		t.Fatal(err)
	}
	if got.LogAppendTime || got.Records[0].AppendMillis != 9000 || got.Records[3].AppendMillis != 1001 {
		t.Errorf("mixed: %+v", got)
	}
}

func TestDecodeGoesPastWhatCompactionLeft(t *testing.T) {
	t.Parallel()
	gap := plainBatch(0, "a", "b")
	gap.lastDelta = 9 // the offsets 2 to 9 are gone
	empty := rawBatch{base: 20, lastDelta: 4, producer: -1}
	got, err := kafka.Decode(1, append(gap.encode(), empty.encode()...))
	if err != nil {
		t.Fatal(err)
	}
	if got.Next != 25 || len(got.Records) != 1 || got.Records[0].Offset != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestDecodeLeavesACutOffBatch(t *testing.T) {
	t.Parallel()
	whole, second := plainBatch(0, "a").encode(), plainBatch(1, "b", "c").encode()
	for n := range second {
		got, err := kafka.Decode(0, append(bytes.Clone(whole), second[:n]...))
		if err != nil || got.Next != 1 || len(got.Records) != 1 {
			t.Fatalf("cut at %d: %+v, %v", n, got, err)
		}
	}
}

func compressed(tb testing.TB, codec int16, records []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case 1:
		z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	case 4:
		z, err := zstd.NewWriter(&buf)
		if err != nil {
			tb.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(records); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(b *rawBatch)) []byte {
		b := plainBatch(3, "a", "b")
		f(&b)
		return b.encode()
	}
	patch := func(at int, v ...byte) []byte {
		b := plainBatch(3, "a", "b").encode()
		copy(b[at:], v)
		return b
	}
	huge := make([]byte, 65<<20)
	for name, tc := range map[string]struct {
		set  []byte
		want string
	}{
		"checksum":         {patch(70, 0xff), "CRC-32C"},
		"alone and cut":    {plainBatch(3, "a").encode()[:40], "cut off"},
		"a few bytes":      {[]byte{1, 2, 3}, "cut off"},
		"old format":       {patch(16, 1), "message format version 1"},
		"negative length":  {patch(8, 0xff, 0xff, 0xff, 0xff), "length -1"},
		"short length":     {patch(8, 0, 0, 0, 48), "length 48"},
		"huge length":      {patch(8, 0x7f, 0xff, 0xff, 0xff), "cut off"},
		"offsets go back":  {append(plainBatch(3, "a", "b").encode(), plainBatch(4, "c").encode()...), "offsets go back"},
		"negative delta":   {change(func(b *rawBatch) { b.lastDelta = -1 }), "last offset delta -1"},
		"offset overflow":  {change(func(b *rawBatch) { b.base = math.MaxInt64 }), "last offset delta"},
		"negative offset":  {change(func(b *rawBatch) { b.base = -5 }), "last offset delta"},
		"negative count":   {change(func(b *rawBatch) { b.count = -1 }), "-1 records"},
		"count over delta": {change(func(b *rawBatch) { b.count = 3 }), "3 records in 2 offsets"},
		"count over bytes": {change(func(b *rawBatch) { b.count, b.lastDelta = 1<<30, 1<<30 }), "1073741824 records in"},
		"count too small":  {change(func(b *rawBatch) { b.count = 1 }), "bytes after the last"},
		"count too large":  {change(func(b *rawBatch) { b.count, b.lastDelta = 3, 5; b.records = append(b.records, 0) }), "record 2"},
		"no such codec":    {change(func(b *rawBatch) { b.attributes = 5 }), "unknown compression 5"},
		"not gzip":         {change(func(b *rawBatch) { b.attributes = 1 }), "decompress"},
		"not snappy":       {change(func(b *rawBatch) { b.attributes = 2 }), "decompress"},
		"not lz4":          {change(func(b *rawBatch) { b.attributes = 3 }), "decompress"},
		"not zstd":         {change(func(b *rawBatch) { b.attributes = 4 }), "decompress"},
		"gzip bomb":        {change(func(b *rawBatch) { b.attributes, b.records = 1, compressed(t, 1, huge) }), "more than 67108864 bytes"},
		"zstd bomb":        {change(func(b *rawBatch) { b.attributes, b.records = 4, compressed(t, 4, huge) }), "more than 67108864 bytes"},
		"snappy bomb":      {change(func(b *rawBatch) { b.attributes, b.records = 2, binary.AppendUvarint(nil, 1<<31) }), "more than 67108864 bytes"},
		"xerial cut": {change(func(b *rawBatch) {
			b.attributes, b.records = 2, []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\xff\xff\xff\xff")
		}), "unexpected EOF"},
		"record length":     {change(func(b *rawBatch) { b.records[0] = 0x7f }), "record 0: length"},
		"record cut":        {change(func(b *rawBatch) { b.records[0] -= 2 }), "record 0"},
		"same offset twice": {change(func(b *rawBatch) { b.records = append(rawRecords("a"), rawRecords("b")...) }), "offset delta 0 after 0"},
		"offset beyond": {change(func(b *rawBatch) {
			b.count, b.lastDelta = 1, 0
			b.records = rawRecords("a", "b")[len(rawRecords("a")):]
		}), "offset delta 1"},
		"control key": {change(func(b *rawBatch) { b.attributes = 0x20 }), "control record"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := kafka.Decode(0, tc.set)
			if err == nil && len(f.Records) == 1 && f.Records[0].Unreadable != nil {
				// it came as it was sent, so it is the producer's doing: the records after it are read
				if text := f.Records[0].Unreadable.Error(); !strings.Contains(text, tc.want) || !strings.Contains(text, "records at offsets ") {
					t.Errorf("got %s, want %q", text, tc.want)
				}
				return
			}
			var bad *kafka.BatchError
			if !errors.As(err, &bad) || !strings.Contains(err.Error(), tc.want) || kafka.Temporary(err) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			if !strings.Contains(err.Error(), "t/0: record batch at offset") {
				t.Errorf("does not name the place: %v", err)
			}
		})
	}
}

// A broker whose lengths lie, or that stops in the middle of its answer.
func TestFetchAnswerThatLies(t *testing.T) { // alone, for it measures allocations
	head := func(topics, partitions, aborted, size int32) []byte {
		b := bytes.Repeat([]byte{0}, 4+2+4)
		b = binary.BigEndian.AppendUint32(b, uint32(topics))
		b = append(b, 0, 1, 't')
		b = binary.BigEndian.AppendUint32(b, uint32(partitions))
		b = append(b, make([]byte, 4+2+8+8+8)...)
		b = binary.BigEndian.AppendUint32(b, uint32(aborted))
		b = append(b, make([]byte, 4)...)
		return binary.BigEndian.AppendUint32(b, uint32(size))
	}
	if records, err := kafka.ReadBody(bytes.NewReader(append(head(1, 1, 0, 3), "abc"...))); err != nil || string(records) != "abc" {
		t.Fatalf("an honest answer: %q, %v", records, err)
	}
	if records, err := kafka.ReadBody(bytes.NewReader(head(1, 1, -1, -1))); err != nil || records != nil {
		t.Fatalf("nulls: %q, %v", records, err)
	}
	for name, answer := range map[string][]byte{
		"topics":      head(math.MaxInt32, 1, 0, 0),
		"partitions":  head(1, math.MaxInt32, 0, 0),
		"aborted":     head(1, 1, math.MaxInt32, 0),
		"aborted cut": head(1, 1, 1000, 0),
		"size":        head(1, 1, 0, math.MaxInt32),
		"size cut":    head(1, 1, 0, 200<<20),
		"topic name":  append(make([]byte, 10), 0, 0, 0, 1, 0xff, 0xff),
		"empty":       nil,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := kafka.ReadBody(bytes.NewReader(answer)); err == nil {
			t.Errorf("%s: no error", name)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
			t.Errorf("%s: %d bytes were allocated", name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	many := make([]string, 50)
	for i := range many {
		many[i] = strings.Repeat("v", i)
	}
	f.Add(int64(0), plainBatch(0, many...).encode())
	for codec := int16(1); codec <= 4; codec += 3 {
		b := plainBatch(7, many...)
		b.attributes, b.records = codec, compressed(f, codec, b.records)
		f.Add(int64(9), b.encode())
	}
	snappy := plainBatch(3, "a")
	snappy.attributes = 2
	snappy.records = append(binary.AppendUvarint(nil, uint64(len(snappy.records))), append([]byte{byte(len(snappy.records)-1) << 2}, snappy.records...)...)
	f.Add(int64(3), snappy.encode())
	control := rawBatch{base: 4, attributes: 0x30, producer: 1, count: 1, records: []byte{22, 0, 0, 0, 8, 0, 0, 0, 1, 4, 1, 2, 0}}
	f.Add(int64(0), append(plainBatch(0, "a", "b").encode(), control.encode()...))
	decode := kafka.DecodeAgain()
	f.Fuzz(func(t *testing.T, from int64, set []byte) {
		// A random change never passes the checksum: let half of them through.
		fixed := bytes.Clone(set)
		for rest := fixed; len(rest) >= 61; {
			size := int64(binary.BigEndian.Uint32(rest[8:])) + 12
			if size < 61 || size > int64(len(rest)) {
				break
			}
			seal(rest[:size])
			rest = rest[size:]
		}
		for _, set := range [][]byte{set, fixed} {
			got, err := decode(from, set)
			checkDecoded(t, from, got, err)
		}
	})
}

func checkDecoded(t *testing.T, from int64, got kafka.Fetched, err error) {
	t.Helper()
	var bad *kafka.BatchError
	if err != nil && !errors.As(err, &bad) {
		t.Fatalf("not a batch error: %v", err)
	}
	last := from - 1
	for _, r := range got.Records {
		if r.Offset <= last || r.Offset < from {
			t.Fatalf("offset %d after %d, asked from %d", r.Offset, last, from)
		}
		last = r.Offset
	}
	if err == nil && got.Next < max(from, last+1) {
		t.Fatalf("next %d, last record %d, asked %d", got.Next, last, from)
	}
}

func BenchmarkDecode(b *testing.B) {
	vals := make([]string, 500)
	for i := range vals {
		vals[i] = fmt.Sprintf(`{"id":"%012d","from":"15550100","to":"442071234567","answered":1790000000,"seconds":61}`, i)
	}
	decode := kafka.DecodeAgain()
	for name, codec := range map[string]int16{"none": 0, "gzip": 1, "zstd": 4} {
		b.Run(name, func(b *testing.B) {
			var set []byte
			for i := range 10 {
				batch := plainBatch(int64(i*len(vals)), vals...)
				if codec != 0 {
					batch.attributes, batch.records = codec, compressed(b, codec, batch.records)
				}
				set = append(set, batch.encode()...)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(set)))
			n := 0
			for b.Loop() {
				got, err := decode(0, set)
				if err != nil {
					b.Fatal(err)
				}
				n += len(got.Records)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
