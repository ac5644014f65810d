package cdr_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

// fuzzDecode feeds any bytes to the decoder of a format: no panic, a CDR, a Fault
// or a Skip, and the same again.
func fuzzDecode(f *testing.F, format cdr.Format) {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "traps", string(format), "*.txt"))
	if err != nil || len(paths) == 0 {
		f.Fatalf("%d traps: %v", len(paths), err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		_, content, _ = bytes.Cut(content, []byte("---- input\n"))
		content, _, _ = bytes.Cut(content, []byte("---- "))
		f.Add(content)
		line, _, _ := bytes.Cut(content, []byte("\n"))
		f.Add(line)
	}
	d := cdr.NewDecoder(cdr.Options{Format: format, Zone: time.UTC, Lenient: true})
	f.Fuzz(func(t *testing.T, data []byte) {
		var c, again rating.CDR
		err := d.Decode(&cdr.Record{Value: data}, &c)
		if err2 := d.Decode(&cdr.Record{Value: data}, &again); c != again || (err == nil) != (err2 == nil) {
			t.Fatalf("%q: %+v %v, then %+v %v", data, c, err, again, err2)
		}
		judgeDecoded(t, data, &c, err)
	})
}

func judgeDecoded(t *testing.T, data []byte, c *rating.CDR, err error) {
	t.Helper()
	if fault, ok := errors.AsType[*cdr.Fault](err); ok {
		if !slices.Contains(rating.Reasons(), fault.Reason) || fault.At < -1 || fault.At > len(data) || fault.Message == "" || *c != (rating.CDR{}) {
			t.Fatalf("%q: fault %+v, CDR %+v", data, fault, c)
		}
		return
	}
	if _, ok := errors.AsType[*cdr.Skip](err); ok {
		return
	}
	if err != nil {
		t.Fatalf("%q: a %T", data, err)
	}
	if y := c.AnsweredAt.Year(); c.Answered() && (y < 2000 || y > 9999) || c.DurationMillis < 0 || !c.Answered() && c.DurationMillis != 0 {
		t.Fatalf("accepted %q as %+v", data, c)
	}
	for _, s := range []string{c.ID, c.Source, c.Account, c.User, c.Caller, c.Callee, c.Home} {
		if !utf8.ValidString(s) || len(s) > 256 {
			t.Fatalf("%q: kept %q", data, s)
		}
	}
}

func FuzzGraphPSTN(f *testing.F)          { fuzzDecode(f, cdr.GraphPSTN) }
func FuzzGraphDirectRouting(f *testing.F) { fuzzDecode(f, cdr.GraphDirectRouting) }
func FuzzTeamsCSV(f *testing.F)           { fuzzDecode(f, cdr.TeamsCSV) }
func FuzzFreeSWITCHJSON(f *testing.F)     { fuzzDecode(f, cdr.FreeSWITCHJSON) }
func FuzzFreeSWITCHCSV(f *testing.F)      { fuzzDecode(f, cdr.FreeSWITCHCSV) }
func FuzzAsteriskCSV(f *testing.F)        { fuzzDecode(f, cdr.AsteriskCSV) }
func FuzzAsteriskJSON(f *testing.F)       { fuzzDecode(f, cdr.AsteriskJSON) }
func FuzzOpenSIPS(f *testing.F)           { fuzzDecode(f, cdr.OpenSIPS) }
func FuzzKamailioJSON(f *testing.F)       { fuzzDecode(f, cdr.KamailioJSON) }

// FuzzEnvelope: content types and CloudEvents of any bytes.
func FuzzEnvelope(f *testing.F) {
	for _, e := range events() {
		f.Add([]byte(e.contentType), []byte("pbx-1"), []byte(e.value))
	}
	// A header that ends within a character once ended the process.
	const line = `acme,+33142685300,+442071838750,out,,c,d,Dial,,2026-11-22 07:00:00,2026-11-22 07:00:05,2026-11-22 07:01:05,65,60,ANSWERED,DOCUMENTATION`
	for _, source := range []string{"pbx\xc2", "pbx\xff", ""} {
		f.Add([]byte(cdr.AsteriskCSV.MediaType()), []byte(source), []byte(line))
	}
	d := cdr.NewDecoder(cdr.Options{Zone: time.UTC, Lenient: true})
	f.Fuzz(func(t *testing.T, contentType, source, data []byte) {
		var c rating.CDR
		err := d.Decode(&cdr.Record{Value: data, ContentType: contentType, Source: source}, &c)
		if fault, ok := errors.AsType[*cdr.Fault](err); ok && (fault.At > len(data) || fault.Message == "") {
			t.Fatalf("%q %q: %+v", contentType, data, fault)
		}
		if !utf8.ValidString(c.Source) {
			t.Fatalf("%q: source %q", source, c.Source)
		}
	})
}

// FuzzMapping: whatever a file says, it is a mapping or a list of problems, and
// what a mapping makes of a record obeys the rules of decoding without one.
func FuzzMapping(f *testing.F) {
	guide, err := os.ReadFile(filepath.Join("..", "..", "docs", "formats.md"))
	if err != nil {
		f.Fatal(err)
	}
	for _, block := range bytes.Split(guide, []byte("```yaml\n"))[1:] {
		example, _, _ := bytes.Cut(block, []byte("```"))
		_, rest, _ := bytes.Cut(example, []byte("source: "))
		source, rest, _ := bytes.Cut(rest, []byte("\n"))
		_, rest, _ = bytes.Cut(rest, []byte("format: "))
		format, _, _ := bytes.Cut(rest, []byte("\n"))
		_, data := typicalOf(f, cdr.Format(format))
		f.Add(example, source, data)
	}
	f.Fuzz(func(t *testing.T, content, source, data []byte) {
		m, err := cdr.LoadMapping("m", content, nil)
		if problems, ok := errors.AsType[rating.Problems](err); (err == nil) != (m != nil) || err != nil && (!ok || len(problems) == 0) {
			t.Fatalf("%q: %v %v", content, m, err)
		}
		if m == nil {
			return
		}
		d := cdr.NewDecoder(cdr.Options{Mapping: m})
		for format := range typical {
			for _, named := range [][]byte{source, nil} { // nil: the only one of the format is meant
				var c rating.CDR
				rec := cdr.Record{Value: data, ContentType: []byte(format.MediaType()), Source: named}
				judgeDecoded(t, data, &c, d.Decode(&rec, &c))
			}
		}
	})
}
