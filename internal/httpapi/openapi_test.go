package httpapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

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
			Content  map[string]struct{ Schema map[string]any }
		}
		Responses map[string]struct{ Content map[string]any }
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
		"POST /v1/accounts/{id}/top-ups", "POST /v1/recharges/{account}/{n}/abandon", "POST /v1/recharges/{account}/{n}/result", "PUT /v1/accounts/{id}",
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
