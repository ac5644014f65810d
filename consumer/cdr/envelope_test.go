package cdr_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

const (
	cloudEvents = "application/cloudevents+json"
	opensips    = `{"method":"E_ACC_CDR","params":{"callid":"c","sip_code":"200","time":1793610904,"ms_duration":1500}}`
	teamsRow    = "u1,c1,,FR,oid,upn,\"Doe, Zoe\",+331,user_out,Subscriber,x,y,+442,2026-11-02T09:15:00Z,2026-11-02T09:15:09Z,9,0,0,EUR,P"
)

type event struct {
	name, contentType, value string
	id                       string // of the CDR; empty: none
	fault                    string
}

func events() []event {
	quoted, _ := json.Marshal(teamsRow)
	around := func(more string) string {
		return `{"specversion":"1.0","id":"e","type":"cdr","source":"s","extra":[{"data":1}],` + more + `}`
	}
	return []event{
		{"canonical by name", "application/vnd.creditstream.canonical+json", sample, "9f1c", ""},
		{"by name, with parameters", "Application/VND.creditstream.OpenSIPS+json ; charset=UTF-8", opensips, "c", ""},
		{"no more than JSON", "application/json", sample, "9f1c", ""},
		{"a format that is none", "application/vnd.creditstream.cisco+json", sample, "", "bad_format: the content-type is none that is known"},
		{"the wrong suffix", "application/vnd.creditstream.opensips+csv", opensips, "", "bad_format"},
		{"another type", "application/avro", sample, "", "bad_format"},
		{"a batch of events", "application/cloudevents-batch+json", "[]", "", "bad_format"},
		{"an object as data", cloudEvents, around(`"datacontenttype":"application/vnd.creditstream.opensips+json","data":` + opensips), "c", ""},
		{"data first", cloudEvents, `{"data":` + opensips + `,"datacontenttype":"application/vnd.creditstream.opensips+json","specversion":"1.0"}`, "c", ""},
		{"CSV as data", cloudEvents, around(`"datacontenttype":"application/vnd.creditstream.teams-csv+csv","data":` + string(quoted)), "u1", ""},
		{"base64", cloudEvents, around(`"datacontenttype":"application/vnd.creditstream.teams-csv+csv","data_base64":"` + base64.StdEncoding.EncodeToString([]byte(teamsRow)) + `"`), "u1", ""},
		{"not base64", cloudEvents, around(`"data_base64":"~"`), "", "bad_field: data_base64 is not base64: illegal"},
		{"no data", cloudEvents, around(`"data":null`), "", "missing_field: data is absent"},
		{"no event", cloudEvents, sample, "", "missing_field: specversion is absent"},
		{"an event that is no object", cloudEvents, "[]", "", "not_json: at byte 0"},
		{"cut off", cloudEvents, `{"specversion":"1.0","data":{"id":`, "", "not_json: at byte 34"},
		{"a fault within", cloudEvents, around(`"data":{"id":7}`), "", "bad_field: id at byte 90: is a number"},
		{"a fault within base64", cloudEvents, around(`"data_base64":"` + base64.StdEncoding.EncodeToString([]byte(`{"id":7}`)) + `"`), "", "bad_field: id is a number"},
		{"a fault of a format within", cloudEvents, around(`"datacontenttype":"application/vnd.creditstream.opensips+json","data":{"method":"x"}`), "", "bad_field: method at byte 157: is another event"},
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	d := cdr.NewDecoder(cdr.Options{Lenient: true})
	for _, e := range events() {
		var c rating.CDR
		err := d.Decode(&cdr.Record{Value: []byte(e.value), ContentType: []byte(e.contentType)}, &c)
		switch {
		case e.fault == "" && (err != nil || !strings.HasPrefix(c.ID, e.id)):
			t.Errorf("%s: %+v %v", e.name, c, err)
		case e.fault != "" && (err == nil || !strings.Contains(err.Error(), e.fault)):
			t.Errorf("%s: %v, want %s", e.name, err, e.fault)
		}
		if fault, ok := errors.AsType[*cdr.Fault](err); ok && fault.At >= 0 && strings.Contains(e.name, "within") && !strings.ContainsAny(e.value[fault.At:fault.At+1], `7"`) {
			t.Errorf("%s: byte %d is %q", e.name, fault.At, e.value[fault.At:])
		}
	}
}

// A name of the source: the mapping's, else the header's, else the record's own.
func TestSourceOfARecord(t *testing.T) {
	t.Parallel()
	m, err := cdr.LoadMapping("m", []byte("sources: [{source: mapped, format: freeswitch-json, account: {value: a}, kind: {value: user_out}}]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	record := []byte(`{"switchname":"fs","variables":{"uuid":"u","accountcode":"a","answer_epoch":"0"},"x":1}`)
	for _, tt := range []struct {
		mapping *cdr.Mapping
		header  string
		want    string
	}{{nil, "", "fs"}, {nil, "named", "named"}, {m, "", "mapped"}, {m, "mapped", "mapped"}} {
		var c rating.CDR
		rec := cdr.Record{Value: record}
		if tt.header != "" {
			rec.Source = []byte(tt.header)
		}
		opt := cdr.Options{Format: cdr.FreeSWITCHJSON, Mapping: tt.mapping, Lenient: true}
		if err := cdr.NewDecoder(opt).Decode(&rec, &c); err != nil || c.Source != tt.want {
			t.Errorf("header %q: source %q, %v, want %s", tt.header, c.Source, err, tt.want)
		}
	}
}

// The content-type and the source's mapping must agree, and a source be there.
func TestFormatOfASource(t *testing.T) {
	t.Parallel()
	m, err := cdr.LoadMapping("m", []byte("sources: [{source: sbc, format: opensips, account: {value: a}, kind: {value: user_out}}]"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		configured        cdr.Format
		media, from, want string
	}{
		{"", "", "sbc", ""},
		{"", cdr.OpenSIPS.MediaType(), "", ""},
		{cdr.OpenSIPS, "", "", ""},
		{"", cdr.OpenSIPS.MediaType(), "sbc", ""},
		{"", cdr.KamailioJSON.MediaType(), "sbc", "bad_format: the record's content-type says kamailio-json, the mapping says that its source writes opensips"},
		{"", cdr.OpenSIPS.MediaType(), "pbx", "bad_format: the record's source is not in the mapping"},
		{cdr.OpenSIPS, "", "pbx", "bad_format: the record's source is not in the mapping"},
		{"", cdr.KamailioJSON.MediaType(), "", "bad_format: 0 sources of the mapping have the format kamailio-json"},
		{"", "", "pbx", "bad_format: the record is no canonical CDR (missing_field: id is absent; "}, // and perhaps of a source misspelt
		{"", cdr.CanonicalJSON.MediaType(), "sbc", "missing_field: id"},
	} {
		var c rating.CDR
		rec := cdr.Record{Value: []byte(opensips)}
		if tt.media != "" {
			rec.ContentType = []byte(tt.media)
		}
		if tt.from != "" {
			rec.Source = []byte(tt.from)
		}
		err := cdr.NewDecoder(cdr.Options{Format: tt.configured, Mapping: m}).Decode(&rec, &c)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// Records without limits are refused, in every format, in little memory. It counts
// what is allocated, so nothing runs beside it.
func TestUnboundedRecords(t *testing.T) {
	const ten = 10 << 20
	for name, doc := range map[string]string{
		"10 MB":                     `{"id":"` + strings.Repeat("x", ten) + `"}`,
		"10,000 arrays":             `{"variables":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
		"10,000 arrays at the top":  strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		"10,000 objects":            strings.Repeat(`{"params":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"10,000 pages":              strings.Repeat(`{"value":[`, 10_000) + strings.Repeat("]}", 10_000),
		"10,000 caller profiles":    strings.Repeat(`{"callflow":[`, 10_000) + strings.Repeat("]}", 10_000),
		"no UTF-8":                  "{\"id\":\"\xff\"}",
		"no UTF-8 in a name":        "{\"\xff\":1}",
		"10 MB of columns":          strings.Repeat(",", ten),
		"a million of columns":      strings.Repeat(",", 1_000_000),
		"a million of quoted bytes": `"` + strings.Repeat(`""`, 500_000),
		"no UTF-8 in a column":      strings.Repeat("\xff,", 15),
	} {
		for _, f := range cdr.Formats() {
			d := cdr.NewDecoder(cdr.Options{Format: f, Lenient: true})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var c rating.CDR
			err := d.Decode(&cdr.Record{Value: []byte(doc)}, &c)
			runtime.ReadMemStats(&after)
			fault, ok := errors.AsType[*cdr.Fault](err)
			if !ok || fault.Reason != rating.NotJSON && fault.Reason != rating.NotCSV {
				t.Errorf("%s as %s: %v, want not_json or not_csv", name, f, err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > uint64(len(doc))+1<<20 {
				t.Errorf("%s as %s: %d bytes were allocated for %d", name, f, got, len(doc))
			}
		}
	}
}
