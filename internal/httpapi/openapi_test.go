package httpapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

type media struct {
	Schema  map[string]any
	Example json.RawMessage
}

// exampleBody returns the example of a body, if there is one.
func exampleBody(content map[string]media) string { return string(content["application/json"].Example) }

type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Parameters  []struct {
			Name, In string
			Required bool
		}
		RequestBody struct {
			Required bool
			Content  map[string]media
		}
		Responses map[string]struct{ Content map[string]media }
		Security  []map[string][]string
	}
	Components struct{ Schemas map[string]map[string]any }
}

func TestTheOpenAPIDocumentHasAllRoutes(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	a := c.do("GET /openapi.json", "").is(200)
	var d document
	if err := json.Unmarshal([]byte(a.text), &d); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1") || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("OpenAPI %q, %v", d.OpenAPI, a.header)
	}
	var got []string
	for path, methods := range d.Paths {
		for method, op := range methods {
			got = append(got, strings.ToUpper(method)+" "+path)
			for code, r := range op.Responses {
				if _, is := r.Content["application/problem+json"]; code >= "4" && !is {
					t.Errorf("%s: %s is not a problem", op.OperationID, code)
				}
			}
		}
	}
	slices.Sort(got)
	want := []string{
		"GET /livez", "GET /metrics", "GET /readyz", "GET /v1/accounts", "GET /v1/accounts/{id}", "GET /v1/accounts/{id}/ledger", "GET /v1/quote",
		"POST /v1/accounts/{id}/adjustments", "POST /v1/accounts/{id}/close", "POST /v1/accounts/{id}/grants", "POST /v1/accounts/{id}/resume",
		"POST /v1/accounts/{id}/top-ups", "POST /v1/authorize", "POST /v1/recharges/{account}/{n}/abandon", "POST /v1/recharges/{account}/{n}/result", "PUT /v1/accounts/{id}",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	top := d.Paths["/v1/accounts/{id}/top-ups"]["post"]
	for _, code := range []string{"200", "202", "400", "404", "409", "413", "415", "422", "503"} {
		if _, found := top.Responses[code]; !found {
			t.Errorf("top-ups: no response %s", code)
		}
	}
	key := slices.IndexFunc(top.Parameters, func(p struct {
		Name, In string
		Required bool
	},
	) bool {
		return p.Name == "Idempotency-Key"
	})
	if key < 0 || !top.Parameters[key].Required || top.Parameters[key].In != "header" || !top.RequestBody.Required {
		t.Errorf("top-ups: parameters %+v", top.Parameters)
	}
}

func TestTheSchemaOfSettingsSaysWhatMayBeNull(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	var d document
	if err := json.Unmarshal([]byte(c.do("GET /openapi.json", "").is(200).text), &d); err != nil {
		t.Fatal(err)
	}
	settings := d.Components.Schemas["Settings"]
	if settings["additionalProperties"] != false || settings["required"] != nil {
		t.Errorf("settings: %v", settings)
	}
	typeOf := func(in map[string]any, name string) string {
		b, _ := json.Marshal(in["properties"].(map[string]any)[name].(map[string]any)["type"])
		return string(b)
	}
	auto := settings["properties"].(map[string]any)["auto_recharge"].(map[string]any)
	for got, want := range map[string]string{
		"currency " + typeOf(settings, "currency"):           `currency "string"`,
		"low_balance " + typeOf(settings, "low_balance"):     `low_balance ["array","null"]`,
		"auto_recharge " + typeOf(settings, "auto_recharge"): `auto_recharge ["object","null"]`,
		"enabled " + typeOf(auto, "enabled"):                 `enabled "boolean"`,
		"trigger " + typeOf(auto, "trigger"):                 `trigger "string"`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if d.Components.Schemas["Account"]["additionalProperties"] != true {
		t.Error("members may not be added to Account")
	}
}

// Every body of every route has an example that fits its schema; those of requests
// are accepted.
func TestEveryRouteHasExamples(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	c.do(acme, complete).is(200)
	c.request("acme", 7)
	text := c.do("GET /openapi.json", "").is(200).text
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	whole, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("api.json", whole); err != nil {
		t.Fatal(err)
	}
	check := func(where, pointer string, m media) {
		t.Helper()
		if len(m.Example) == 0 || string(m.Example) == "null" {
			t.Errorf("%s: no example: add a file to examples", where)
			return
		}
		schema, err := compiler.Compile("api.json#" + pointer)
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(string(m.Example)))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			t.Errorf("%s: the example does not fit: %v", where, err)
		}
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace
	for path, methods := range d.Paths {
		for method, op := range methods {
			at := "/paths/" + escape(path) + "/" + method
			for kind, m := range op.RequestBody.Content {
				check(op.OperationID+" request", at+"/requestBody/content/"+escape(kind)+"/schema", m)
				request := strings.NewReplacer("{id}", "acme", "{account}", "acme", "{n}", "7").Replace(strings.ToUpper(method) + " " + path)
				c.do(request, string(m.Example), key).is(200)
			}
			for code, r := range op.Responses {
				for kind, m := range r.Content {
					check(op.OperationID+" "+code, at+"/responses/"+code+"/content/"+escape(kind)+"/schema", m)
				}
			}
		}
	}
}

func TestThePageLoadsNothing(t *testing.T) {
	t.Parallel()
	c := start(t, newWorld())
	a := c.do("GET /docs", "").is(200, "<h1>creditstream API</h1>", "POST /v1/accounts/{id}/top-ups", "Needs a token with the scope fund, or a signature.",
		"auto_recharge.payment_method", "lots[].expires_at", "&#34;amount&#34;: &#34;100.00&#34;", "urn:creditstream:problem:scope_missing", "Idempotency-Key")
	if a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", a.header.Get("Content-Type"))
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("policy %q", policy)
	}
	for _, link := range regexp.MustCompile(`(?i)(href|src|url|action)\s*[=(]\s*["']?([^"' >)]*)`).FindAllStringSubmatch(a.text, -1) {
		if !strings.HasPrefix(link[2], "#") && link[2] != "openapi.json" {
			t.Errorf("the page names %q", link[0])
		}
	}
	for _, no := range []string{"<script", "<img", "<link", "@import", "ZgotmplZ", "<no value>"} {
		if strings.Contains(a.text, no) {
			t.Errorf("%s is in the page", no)
		}
	}
	style := a.text[strings.Index(a.text, "<style>")+len("<style>") : strings.Index(a.text, "</style>")]
	sum := sha256.Sum256([]byte(style))
	if hash := base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(a.header.Get("Content-Security-Policy"), "'sha256-"+hash+"'") {
		t.Error("the policy does not allow the page's own style")
	}
}
