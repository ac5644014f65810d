package httpapi

import (
	"embed"
	"encoding/json"
	"maps"
	"slices"

	"github.com/danielgtaylor/huma/v2"
)

// The examples of the OpenAPI document: OPERATION.request.json, OPERATION.200.json
// (or .txt), change.200.json and change.202.json for all operations that answer as
// changes do, and problem.400.json and so on.
//
//go:embed examples
var exampleFiles embed.FS

// example returns that of the first name that there is one of, and nil if there
// is none: a test finds what lacks one.
func example(names ...string) any {
	for _, name := range names {
		if b, err := exampleFiles.ReadFile("examples/" + name + ".json"); err == nil {
			return json.RawMessage(b)
		}
		if b, err := exampleFiles.ReadFile("examples/" + name + ".txt"); err == nil {
			return string(b)
		}
	}
	return nil
}

// addExamples gives every body of the document its example.
func addExamples(doc *huma.OpenAPI) {
	for _, op := range operations(doc) {
		if op.RequestBody != nil {
			for _, m := range op.RequestBody.Content {
				m.Example = example(op.OperationID + ".request")
			}
		}
		_, isChange := op.Responses["202"]
		for code, r := range op.Responses {
			names := []string{op.OperationID + "." + code}
			if isChange {
				names = append(names, "change."+code)
			}
			for _, m := range r.Content {
				m.Example = example(append(names, "problem."+code)...)
			}
		}
	}
}

// operations lists all operations by path, and of a path in the order of the methods.
func operations(doc *huma.OpenAPI) (ops []*huma.Operation) {
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if op != nil {
				ops = append(ops, op)
			}
		}
	}
	return ops
}
