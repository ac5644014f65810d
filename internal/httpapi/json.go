package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// unmarshal reads a body. huma calls it twice: for what it validates against the
// schema (into *any), then for the handler. What the validation lets pass is
// refused the second time: names in another case, which encoding/json and huma
// take for the same, and names given twice, of which the last would count.
func unmarshal(b []byte, into any) error {
	if _, generic := into.(*any); generic {
		return json.Unmarshal(b, into)
	}
	if err := checkNames(json.NewDecoder(bytes.NewReader(b))); err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// checkNames refuses an object that has a name twice, or one that is not of
// small letters, digits and underscores.
func checkNames(d *json.Decoder) error {
	var open []map[string]bool // names of each open object; nil for an array
	isName := false
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'):
			open, isName = append(open, map[string]bool{}), true
			continue
		case json.Delim('['):
			open, isName = append(open, nil), false
			continue
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		default:
			if isName {
				name, _ := t.(string) // the decoder allows no other name
				if err := checkName(name, open[len(open)-1]); err != nil {
					return err
				}
				isName = false
				continue
			}
		}
		isName = len(open) > 0 && open[len(open)-1] != nil
	}
}

func checkName(name string, seen map[string]bool) error {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return fmt.Errorf("unexpected property %q", name)
	}
	if seen[name] {
		return fmt.Errorf("property %q is given twice", name)
	}
	seen[name] = true
	return nil
}

// A field is an optional member of a body: absent, null or a value. Without the
// tag nullable:"true" the handler must refuse null, which huma lets pass.
type field[T any] struct {
	given, null bool
	value       T
}

// UnmarshalJSON is called for null too, as fields are no pointers.
func (f *field[T]) UnmarshalJSON(b []byte) error {
	f.given, f.null = true, string(b) == "null"
	if f.null {
		return nil
	}
	return json.Unmarshal(b, &f.value)
}

// Schema is that of the value, written out where it is used.
func (*field[T]) Schema(r huma.Registry) *huma.Schema {
	s := huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = false // the tag of the member says it
	return s
}
