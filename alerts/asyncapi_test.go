package alerts_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
)

// An asyncAPI is what docs/asyncapi.yaml may hold: of AsyncAPI 3.0 what we use.
type asyncAPI struct {
	AsyncAPI string
	Info     struct {
		Title, Version, Description string
		License                     map[string]string
		ExternalDocs                map[string]string `yaml:"externalDocs"`
	}
	DefaultContentType string `yaml:"defaultContentType"`
	Servers            map[string]struct{ Host, Protocol, Description string }
	Channels           map[string]struct {
		Address, Title, Description string
		Messages                    map[string]reference
		Bindings                    map[string]any
	}
	Operations map[string]struct {
		Action, Summary string
		Channel         reference
	}
	Components struct {
		Messages        map[string]asyncMessage
		MessageTraits   map[string]asyncMessage `yaml:"messageTraits"`
		MessageBindings map[string]any          `yaml:"messageBindings"`
	}
}

type reference struct {
	Ref string `yaml:"$ref"`
}

type asyncMessage struct {
	Name, Title, Summary string
	ContentType          string `yaml:"contentType"`
	Headers              map[string]any
	Payload, Bindings    reference
	Traits               []reference
	Examples             []struct{ Headers, Payload map[string]any }
}

const guide = "../docs/asyncapi.yaml"

func readAsyncAPI(t *testing.T) (doc asyncAPI, tree map[string]any) {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true) // a misspelt one is an error
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%s: %v", guide, err)
	}
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return doc, tree
}

// references calls found with every $ref below a node.
func references(node any, found func(ref string)) {
	switch n := node.(type) {
	case map[string]any:
		for name, v := range n {
			if ref, ok := v.(string); ok && name == "$ref" {
				found(ref)
			}
			references(v, found)
		}
	case []any:
		for _, v := range n {
			references(v, found)
		}
	}
}

// Every reference leads somewhere, and everything that is described is used.
func TestAsyncAPIIsWhole(t *testing.T) {
	t.Parallel()
	doc, tree := readAsyncAPI(t)
	if doc.AsyncAPI != "3.0.0" || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("asyncapi %q, info %+v", doc.AsyncAPI, doc.Info)
	}
	used := map[string]bool{}
	references(tree, func(ref string) {
		used[ref] = true
		if file, ok := strings.CutPrefix(ref, "./schemas/"); ok {
			compile(t, file)
			return
		}
		var node any = tree
		for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			m, _ := node.(map[string]any)
			node = m[step]
		}
		if !strings.HasPrefix(ref, "#/") || node == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	})
	for part, names := range map[string][]string{
		"channels/":                   slices.Collect(maps.Keys(doc.Channels)), // each has an operation
		"components/messages/":        slices.Collect(maps.Keys(doc.Components.Messages)),
		"components/messageTraits/":   slices.Collect(maps.Keys(doc.Components.MessageTraits)),
		"components/messageBindings/": slices.Collect(maps.Keys(doc.Components.MessageBindings)),
	} {
		for _, name := range names {
			if !used["#/"+part+name] {
				t.Errorf("nothing refers to %s%s", part, name)
			}
		}
	}
	for _, kind := range balance.EventKinds() {
		if ref := doc.Components.Messages[kind].Payload.Ref; ref != "./schemas/"+eventSchema(kind) {
			t.Errorf("%s has the payload %q", kind, ref)
		}
	}
	for name, op := range doc.Operations {
		if op.Action != "send" && op.Action != "receive" || !strings.HasPrefix(op.Channel.Ref, "#/channels/") || op.Summary == "" {
			t.Errorf("operation %s: %+v", name, op)
		}
	}
}

// The channels are our topics, each described.
func TestAsyncAPIHasAllTopics(t *testing.T) {
	t.Parallel()
	doc, _ := readAsyncAPI(t)
	all := topics()
	want := []string{"cdrs", all.Rated, all.Alerts, all.RechargeRequests, all.Commands, all.DeadLetters}
	var got []string
	for name, c := range doc.Channels {
		got = append(got, c.Address)
		if c.Title == "" || c.Description == "" || len(c.Messages) == 0 {
			t.Errorf("channel %s wants a title, a description and messages", name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

// headerSchema is the schema of a message's headers, those of its traits
// included.
func (doc *asyncAPI) headerSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	m := doc.Components.Messages[name]
	merged := map[string]any{"type": "object"}
	for _, trait := range m.Traits {
		merge(merged, doc.Components.MessageTraits[path.Base(trait.Ref)].Headers)
	}
	merge(merged, m.Headers)
	text, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	url := "mem:///" + name
	if err := c.AddResource(url, decode(t, text)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(url)
	if err != nil {
		t.Fatalf("headers of %s: %v", name, err)
	}
	return s
}

func merge(into, from map[string]any) {
	for name, v := range from {
		if m, ok := v.(map[string]any); ok {
			below, ok := into[name].(map[string]any)
			if !ok {
				below = map[string]any{}
				into[name] = below
			}
			merge(below, m)
			continue
		}
		into[name] = v
	}
}

// Each message is described, its headers too, and its examples are what it says.
func TestAsyncAPIExamples(t *testing.T) {
	t.Parallel()
	doc, _ := readAsyncAPI(t)
	for name, m := range doc.Components.Messages {
		if m.Name == "" || m.Title == "" || m.Summary == "" || len(m.Examples) == 0 {
			t.Errorf("%s wants a name, a title, a summary and an example", name)
		}
		headers := doc.headerSchema(t, name)
		for key, h := range headers.Properties {
			if h.Description == "" {
				t.Errorf("%s: header %s wants a description", name, key)
			}
			for _, example := range h.Examples {
				if err := h.Validate(example); err != nil {
					t.Errorf("%s: header %s: example %v: %v", name, key, example, err)
				}
			}
		}
		for _, example := range m.Examples {
			if example.Headers != nil {
				fits(t, name, headers, example.Headers)
			}
			if (example.Payload == nil) != (m.Payload.Ref == "") {
				t.Errorf("%s: a payload wants a schema, and an example", name)
			}
			if example.Payload != nil {
				text, err := json.Marshal(example.Payload)
				if err != nil {
					t.Fatal(err)
				}
				conforms(t, path.Base(m.Payload.Ref), text)
			}
		}
	}
}

// fits checks headers against their schema, and that it names every one.
func fits(t *testing.T, name string, s *jsonschema.Schema, headers map[string]any) {
	t.Helper()
	if err := s.Validate(headers); err != nil {
		t.Errorf("%s: headers %v: %v", name, headers, err)
	}
	for key := range headers {
		if s.Properties[key] == nil {
			t.Errorf("%s: header %s is not described", name, key)
		}
	}
}

// What is published is what the channel of its topic describes.
func TestAsyncAPISaysWhatIsPublished(t *testing.T) {
	t.Parallel()
	doc, _ := readAsyncAPI(t)
	_, binary, request := publish(t, alerts.Binary)
	_, structured, wrapped := publish(t, alerts.Structured)
	r, _ := call()
	r.Headers = nil // a dead letter keeps its own
	cut := topics()
	cut.DeadLetterBytes = 4
	done := alerts.Marker{ID: alerts.LetterID{Topic: "cdrs"}, Done: alerts.Dropped, By: "ann", At: time.UnixMilli(at), Text: "a test"}
	rated := new(recorder)
	records, verdicts := batch()
	wish := []*balance.Entry{{Wishes: []balance.Wish{{Account: "acme", N: 7, Amount: 50_000_000, Currency: "EUR"}}}}
	if err := alerts.New(rated, topics(), partitionOf, nil).Publish(t.Context(), records[:2], verdicts[:2], wish); err != nil {
		t.Fatal(err)
	}
	msgs := slices.Concat(binary, structured, rated.only(t), []kafka.Message{
		request, wrapped, park(t, topics(), r, "no JSON"), park(t, cut, r, "no JSON"), done.Message("cdrs.dlq", 0),
	})
	told := map[string]bool{"cdr": true} // which we do not write
	for _, msg := range msgs {
		name := messageOf(msg)
		told[name] = true
		if doc.Channels[msg.Topic].Messages[name].Ref != "#/components/messages/"+name {
			t.Errorf("channel %s has no message %s", msg.Topic, name)
			continue
		}
		headers := map[string]any{}
		for _, h := range msg.Headers {
			headers[h.Key] = string(h.Value)
		}
		fits(t, name, doc.headerSchema(t, name), headers)
		if ref := doc.Components.Messages[name].Payload.Ref; ref != "" {
			conforms(t, path.Base(ref), msg.Value)
		}
	}
	for name := range doc.Components.Messages {
		if !told[name] {
			t.Errorf("nothing like %s is published", name)
		}
	}
}

// messageOf is the name of a message among those of its channel.
func messageOf(m kafka.Message) string {
	kind, isEvent := strings.CutPrefix(header(m, "ce_type"), "creditstream.")
	switch {
	case isEvent:
		return strings.TrimSuffix(kind, ".v1")
	case strings.HasPrefix(header(m, "content-type"), "application/cloudevents"):
		return "structured"
	case header(m, "cs-marker") != "":
		return "marker"
	}
	return map[string]string{"rated-cdrs": "rated", "credit-commands": "command", "cdrs.dlq": "dead-letter"}[m.Topic]
}
