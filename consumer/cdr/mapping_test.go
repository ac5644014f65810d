package cdr_test

import (
	"strings"
	"testing"

	"github.com/creditstream/creditstream/consumer/cdr"
)

// Every mistake is told with its place, and all of them at once.
func TestMappingProblems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"nothing":             {"", []string{"m: not YAML: EOF"}},
		"no YAML":             {"sources: [", []string{"m:1: not YAML: yaml: line 1: did not find expected node content"}},
		"two documents":       {"sources: [{source: a, format: opensips}]\n---\nx: 1\n", []string{"m: want one YAML document"}},
		"a list":              {"- x", []string{"m:1:1: want a mapping with the keys sources"}},
		"no sources":          {"{}", []string{"m:1:1: sources is missing"}},
		"no source":           {"sources: []", []string{"m:1:10: sources: want a list of sources"}},
		"no format, no name":  {"sources: [{}]", []string{"m:1:11: format is missing", "m:1:11: source is missing"}},
		"a key twice":         {"sources: [{source: a, source: b, format: opensips}]", []string{"m:1:23: source is there twice"}},
		"a key too many":      {"sources: [{source: a, format: opensips, acount: {value: x}}]", []string{`m:1:41: unknown key "acount": want one of account, active_from, `}},
		"canonical":           {"sources: [{source: a, format: canonical}]", []string{"m:1:31: format: want one of graph-pstn, "}},
		"no time":             {"sources: [{source: a, format: opensips, active_from: 2026-01-01}]", []string{"m:1:54: active_from: want a time such as 2026-12-01T00:00:00Z"}},
		"the machine's zone":  {"sources: [{source: a, format: opensips, zone: Local}]", []string{"m:1:47: zone: want a time zone of the IANA database"}},
		"columns of JSON":     {"sources: [{source: a, format: opensips, columns: [a]}]", []string{"m:1:50: columns: want no columns: the format is not CSV"}},
		"a column twice":      {"sources: [{source: a, format: asterisk-csv, columns: [a, a]}]", []string{"m:1:54: columns: a is there twice"}},
		"no such column":      {"sources: [{source: a, format: asterisk-csv, user: {field: source}}]", []string{"m:1:59: field: want a column: one of accountcode, src, dst"}},
		"not of the columns":  {"sources: [{source: a, format: asterisk-csv, columns: [src, dst], user: {field: userfield}}]", []string{"m:1:80: field: want a column: one of src, dst"}},
		"no such kind":        {"sources: [{source: a, format: opensips, kind: [{value: out}, {field: x, equals: y, value: in}]}]", []string{"m:1:56: value: want a kind of call: one of toll_free_in", "m:1:91: value: want a kind of call"}},
		"no account":          {"sources: [{source: a, format: opensips, account: {field: x, values: {a: b c, d: e}}}]", []string{"m:1:73: values: want 1 to 64 of A-Z"}},
		"a condition alone":   {"sources: [{source: a, format: opensips, kind: {field: x, equals: y}}]", []string{"m:1:47: want equals or prefix together with the value"}},
		"a value of a field":  {"sources: [{source: a, format: opensips, kind: {field: x, value: internal}}]", []string{"m:1:47: want equals or prefix together with the value"}},
		"nothing to look at":  {"sources: [{source: a, format: opensips, kind: {equals: x, value: internal}}]", []string{"m:1:47: want a value, or a field that gives it"}},
		"a table and a value": {"sources: [{source: a, format: opensips, user: {field: x, values: {a: b}, value: c}}]", []string{"m:1:47: want equals or prefix"}},
		"skip everything":     {"sources: [{source: a, format: opensips, skip: {value: all}}]", []string{"m:1:47: skip: want a field with equals or prefix"}},
		"no rule":             {"sources: [{source: a, format: opensips, kind: []}]", []string{"m:1:47: want a rule, or a list of rules"}},
		"not a rule":          {"sources: [{source: a, format: opensips, kind: user_out}]", []string{"m:1:47: want a mapping with the keys equals, field, prefix, value, values"}},
		"ringing":             {"sources: [{source: a, format: kamailio-json}]", []string{"m:1:11: start_on_confirmed is missing: set cdr_start_on_confirmed"}},
		"ringing all the same": {
			"sources: [{source: a, format: kamailio-json, start_on_confirmed: false}]",
			[]string{"m:1:66: start_on_confirmed: want true"},
		},
		"two beginnings": {"sources:\n- {source: a, format: opensips}\n- {source: a, format: opensips}", []string{`m:3:3: source "a" has two versions from the same time on`}},
		"numbers without a country": {
			"sources: [{source: a, format: opensips, numbers: {national_prefix: \"0\", national_digits: 20, international_prefix: [\"x\"]}}]",
			[]string{"m:1:50: numbers: want country_code", "m:1:90: national_digits: want 1 to 15", "m:1:116: international_prefix: want digits in quotes"},
		},
		"too many fields": {
			"sources: [{source: a, format: opensips, id: {field: [" + "x" + many(70) + "]}}]",
			[]string{"field: want fewer fields: a source may use 64"},
		},
	} {
		m, err := cdr.LoadMapping("m", []byte(tt.text), nil)
		if err == nil || m != nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		lines := strings.Split(err.Error(), "\n")
		if len(lines) != len(tt.want) {
			t.Errorf("%s: %s", name, err)
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %s\nwant %s", name, err, want)
			}
		}
	}
}

// many returns n names of fields, each after a comma.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(", f" + strings.Repeat("x", i))
	}
	return b.String()
}
