package cdr_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/creditstream/creditstream/rating"
)

const (
	cdrSchema   = "../../docs/schemas/cdr.schema.json"
	ratedSchema = "../../docs/schemas/rated-cdr.schema.json"
)

// A described schema is the part of a schema file that is for readers.
type described struct {
	Title       string
	Description string
	Required    []string
	Examples    []json.RawMessage
	Properties  map[string]struct {
		Description string
		Examples    []json.RawMessage
		Enum        []string
	}
}

// load compiles the schema, formats asserted, and returns what it says of itself.
func load(t *testing.T, path string) (*jsonschema.Schema, described) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return schema, d
}

func validate(t *testing.T, schema *jsonschema.Schema, doc string) error {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
	if err != nil {
		t.Fatalf("%s: %v", doc, err)
	}
	return schema.Validate(value)
}

func TestSchemasDescribeThemselves(t *testing.T) {
	t.Parallel()
	for _, path := range []string{cdrSchema, ratedSchema} {
		schema, d := load(t, path)
		if d.Title == "" || d.Description == "" || len(d.Examples) < 2 {
			t.Errorf("%s: wants a title, a description and two examples", path)
		}
		for _, example := range d.Examples {
			if err := validate(t, schema, string(example)); err != nil {
				t.Errorf("%s: example %s: %v", path, example, err)
			}
		}
		for name, p := range d.Properties {
			if p.Description == "" || len(p.Examples) == 0 {
				t.Errorf("%s: %s wants a description and an example", path, name)
			}
			for _, example := range p.Examples {
				if err := schema.Properties[name].Validate(decodeJSON(t, example)); err != nil {
					t.Errorf("%s: %s: example %s: %v", path, name, example, err)
				}
			}
		}
		for _, name := range d.Required {
			if _, ok := d.Properties[name]; !ok {
				t.Errorf("%s: requires %q, which it does not describe", path, name)
			}
		}
		var kinds []string
		for _, k := range rating.Kinds() {
			kinds = append(kinds, string(k))
		}
		if got := strings.Join(d.Properties["kind"].Enum, " "); got != strings.Join(kinds, " ") {
			t.Errorf("%s: kinds %s, want %s", path, got, kinds)
		}
	}
}

func decodeJSON(t *testing.T, data []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestCDRSchemaExamplesDecode(t *testing.T) {
	t.Parallel()
	_, d := load(t, cdrSchema)
	for _, example := range d.Examples {
		if _, fault := decode(t, string(example)); fault != nil {
			t.Errorf("%s: %v", example, fault)
		}
	}
}

// What the decoder refuses and is JSON, the schema refuses too, but for what a
// schema has no words for.
func TestCDRSchemaAgreesOnRefusals(t *testing.T) {
	t.Parallel()
	schema, _ := load(t, cdrSchema)
	inexpressible := map[string]bool{
		"id twice": true, "id twice, once escaped": true, "account twice": true,
		"user null and then given": true, "answered twice": true, "duration twice": true,
		"id too long in bytes": true, "duration 1.0": true, "duration 1e3": true,
		`answered "1999-12-31T23:59:59.999999999Z"`: true, `answered "2000-01-01T00:59:59+01:00"`: true,
		`answered "9999-12-31T23:00:00-01:00"`: true,
	}
	compared := 0
	for _, r := range refusals(t) {
		if r.reason == rating.NotJSON {
			continue
		}
		compared++
		err := validate(t, schema, r.doc)
		if accepted := err == nil; accepted != inexpressible[r.name] {
			t.Errorf("%s: schema accepts: %t, want %t: %s", r.name, accepted, inexpressible[r.name], r.doc)
		}
	}
	if compared < 80 {
		t.Errorf("compared %d documents only", compared)
	}
}

func TestCDRSchemaAgreesOnCDRs(t *testing.T) {
	t.Parallel()
	schema, _ := load(t, cdrSchema)
	rapid.Check(t, func(rt *rapid.T) {
		_, doc := canonical(rt)
		if err := validate(t, schema, doc); err != nil {
			rt.Fatalf("%s: %v", doc, err)
		}
	})
}

func TestCDRSchemaAgreesOnTimes(t *testing.T) {
	t.Parallel()
	schema, _ := load(t, cdrSchema)
	for _, at := range []string{
		`""`, `null`, `"2000-01-01T00:00:00Z"`, `"1999-12-31T23:30:00-01:00"`, `"9999-12-31T23:59:59.999999999Z"`,
		`"2024-02-29T00:00:00+23:59"`, `"2026-11-22T07:00:00.1-00:00"`, `"2026-11-22T07:00:00.123456789+05:45"`,
	} {
		doc := plus(`"answered_at":` + at)
		if _, fault := decode(t, doc); fault != nil {
			t.Errorf("%s: %v", at, fault)
		}
		if err := validate(t, schema, doc); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestRatedSchema(t *testing.T) {
	t.Parallel()
	schema, d := load(t, ratedSchema)
	full := string(d.Examples[0])
	change := func(name, value string) string {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(full), &members); err != nil {
			t.Fatal(err)
		}
		if value == "" {
			delete(members, name)
		} else {
			members[name] = json.RawMessage(value)
		}
		out, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	optional := map[string]bool{
		"user": true, "callee": true, "destination": true, "prefix": true, "band": true,
		"answered_at": true, "currency": true, "deck": true,
	}
	for name := range d.Properties {
		if err := validate(t, schema, change(name, "")); (err == nil) != optional[name] {
			t.Errorf("without %s: %v", name, err)
		}
	}
	tests := []struct {
		name, value string
		ok          bool
	}{
		{"charge", `"0.000000"`, true},
		{"charge", `"9223372036854.775807"`, true},
		{"charge", `"0.3250000"`, false},
		{"charge", `"0.32500"`, false},
		{"charge", `"1"`, false},
		{"charge", `"-0.325000"`, false},
		{"charge", `"00.325000"`, false},
		{"charge", `".325000"`, false},
		{"charge", `0.325`, false},
		{"charged_seconds", `0`, true},
		{"charged_seconds", `-1`, false},
		{"charged_seconds", `1.5`, false},
		{"outcome", `"free"`, true},
		{"outcome", `"duplicate"`, true},
		{"outcome", `"parked"`, false},
		{"currency", `"eur"`, false},
		{"prefix", `"+44"`, false},
		{"answered_at", `"2026-11-22T08:00:00+01:00"`, false},
		{"answered_at", `"2026-11-31T08:00:00Z"`, false},
		{"offset", `9223372036854775807`, true},
		{"offset", `-1`, false},
		{"partition", `"3"`, false},
		{"kind", `"fax_out"`, false},
		{"account", `"ac me"`, false},
		{"added_later", `true`, true},
	}
	for _, tt := range tests {
		if err := validate(t, schema, change(tt.name, tt.value)); (err == nil) != tt.ok {
			t.Errorf("%s %s: %v", tt.name, tt.value, err)
		}
	}
}
