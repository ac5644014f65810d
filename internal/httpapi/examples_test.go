package httpapi_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Every route with a body has examples of it that its schema allows, and the
// requests among them are answered with 200.
func TestExamplesOfTheDocumentWork(t *testing.T) {
	t.Parallel()
	r := startReal(t)
	text := r.do("GET /openapi.json", "").is(200).text
	var d struct {
		Paths map[string]map[string]struct {
			OperationID string
			RequestBody *struct{ Content map[string]media }
			Responses   map[string]struct{ Content map[string]media }
		}
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	schemas := jsonschema.NewCompiler()
	schemas.AssertFormat()
	if err := schemas.AddResource("file:///openapi.json", whole); err != nil {
		t.Fatal(err)
	}
	const json = "application/json"
	requests := map[string]string{}
	for path, methods := range d.Paths {
		for method, op := range methods {
			name := strings.ToUpper(method) + " " + path
			at := "/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(path) + "/" + method
			if op.RequestBody != nil {
				requests[name] = string(op.RequestBody.Content[json].Example)
				op.RequestBody.Content[json].check(t, schemas, name, at+"/requestBody")
			}
			for code, response := range op.Responses {
				if m, found := response.Content[json]; found {
					m.check(t, schemas, name+" "+code, at+"/responses/"+code)
				}
			}
		}
	}
	in := strings.NewReplacer("{id}", "acme", "{account}", "acme", "{n}", "1")
	for _, name := range []string{
		"PUT /v1/accounts/{id}", "POST /v1/accounts/{id}/top-ups", "POST /v1/accounts/{id}/grants", "POST /v1/accounts/{id}/adjustments",
		"POST /v1/recharges/{account}/{n}/result", "POST /v1/accounts/{id}/close",
	} {
		if strings.Contains(name, "recharges") {
			r.asked(1)
		}
		r.do(in.Replace(name), requests[name], key).is(200)
		delete(requests, name)
	}
	if len(requests) > 0 {
		t.Errorf("not tried: %v", requests)
	}
}

// A media is a kind of body in the document.
type media struct{ Example json.RawMessage }

func (m media) check(t *testing.T, schemas *jsonschema.Compiler, name, at string) {
	t.Helper()
	if m.Example == nil {
		t.Errorf("%s: has no example", name)
		return
	}
	schema, err := schemas.Compile("file:///openapi.json#" + strings.ReplaceAll(strings.ReplaceAll(at, "{", "%7B"), "}", "%7D") + "/content/application~1json/schema")
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	example, err := jsonschema.UnmarshalJSON(strings.NewReader(string(m.Example)))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := schema.Validate(example); err != nil {
		t.Errorf("%s: %s: %v", name, m.Example, err)
	}
}
