package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // for the template and its style
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// pagePolicy lets the page load nothing at all, and use its own style alone.
func pagePolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// A page is the OpenAPI document as people read it.
type page struct {
	Title, Version, Description string
	Style                       template.CSS
	Ways                        []pageWay
	Operations                  []pageOperation
}

type pageWay struct{ Name, Description string }

type pageOperation struct {
	ID, Method, Path, Summary, Description string
	Needs                                  string
	Parameters                             []pageField
	Body                                   []pageField
	BodyExample                            string
	Responses                              []pageResponse
}

type pageField struct {
	Name, In, Type, Description, Example string
	Required                             bool
}

type pageResponse struct {
	Code, Description, Type, Example string
	Fields                           []pageField
}

// writePage makes the page of a document.
func writePage(doc *huma.OpenAPI) ([]byte, error) {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	p := page{
		Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description,
		Style: template.CSS(pageCSS), //nolint:gosec // ours
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.SecuritySchemes)) {
		p.Ways = append(p.Ways, pageWay{name, doc.Components.SecuritySchemes[name].Description})
	}
	for _, op := range operations(doc) {
		p.Operations = append(p.Operations, pageOf(op, doc.Components.Schemas))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, fmt.Errorf("write the page: %w", err)
	}
	return b.Bytes(), nil
}

func pageOf(op *huma.Operation, schemas huma.Registry) pageOperation {
	p := pageOperation{
		ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description, Needs: needs(op.Security),
	}
	for _, in := range op.Parameters {
		f := fieldOf(in.Name, in.Schema, in.Required)
		f.In = in.In
		if in.Description != "" {
			f.Description = in.Description
		}
		p.Parameters = append(p.Parameters, f)
	}
	if op.RequestBody != nil {
		for _, m := range op.RequestBody.Content { // one
			p.Body, p.BodyExample = fieldsOf("", m.Schema, schemas, 0), exampleText(m.Example)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(op.Responses)) {
		r := pageResponse{Code: code, Description: op.Responses[code].Description}
		for kind, m := range op.Responses[code].Content { // one
			r.Type, r.Example = kind, exampleText(m.Example)
			if code < "4" {
				r.Fields = fieldsOf("", m.Schema, schemas, 0)
			}
		}
		p.Responses = append(p.Responses, r)
	}
	return p
}

// needs says in words who may use an operation.
func needs(security []map[string][]string) string {
	var ways []string
	for _, way := range security {
		if scopes := way[tokenScheme]; len(scopes) > 0 {
			ways = append(ways, "a token with the scope "+scopes[0])
		}
		if _, signed := way[signatureScheme]; signed {
			ways = append(ways, "a signature")
		}
	}
	if len(ways) == 0 {
		return "nothing"
	}
	return strings.Join(ways, ", or ")
}

// pageDepth bounds how deep objects are shown within each other.
const pageDepth = 4

// fieldsOf lists the members of an object, those of objects within it under dotted
// names, in alphabetical order.
func fieldsOf(prefix string, s *huma.Schema, schemas huma.Registry, depth int) (fields []pageField) {
	if s == nil || depth > pageDepth {
		return nil
	}
	if s.Ref != "" {
		s = schemas.SchemaFromRef(s.Ref)
	}
	for _, one := range s.OneOf {
		fields = append(fields, fieldsOf(prefix, one, schemas, depth)...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		member := s.Properties[name]
		described := member.Description
		if member.Ref != "" {
			member = schemas.SchemaFromRef(member.Ref)
		}
		f := fieldOf(prefix+name, member, slices.Contains(s.Required, name))
		if described != "" {
			f.Description = described
		}
		fields = append(fields, f)
		fields = append(fields, fieldsOf(prefix+name+".", member, schemas, depth+1)...)
		fields = append(fields, fieldsOf(prefix+name+"[].", member.Items, schemas, depth+1)...)
	}
	return fields
}

func fieldOf(name string, s *huma.Schema, required bool) pageField {
	f := pageField{Name: name, Required: required, Type: s.Type, Description: s.Description}
	if s.Format != "" && s.Type == huma.TypeString {
		f.Type = s.Format
	}
	if s.Nullable {
		f.Type += " or null"
	}
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			words[i] = fmt.Sprint(v)
		}
		f.Type = strings.Join(words, " | ")
	}
	if s.PatternDescription != "" {
		f.Type += ": " + s.PatternDescription
	}
	if len(s.Examples) > 0 {
		f.Example = fmt.Sprint(s.Examples[0])
	}
	return f
}

func exampleText(v any) string {
	switch v := v.(type) {
	case json.RawMessage:
		return string(v)
	case string:
		return v
	}
	return ""
}
