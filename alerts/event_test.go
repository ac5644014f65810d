package alerts_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/creditstream/creditstream/alerts"
	"github.com/creditstream/creditstream/balance"
	"github.com/creditstream/creditstream/internal/kafka"
	"github.com/creditstream/creditstream/rating"
)

// publish writes every kind of event and a payment request in a mode.
func publish(t *testing.T, mode alerts.Mode) (list []balance.Event, told []kafka.Message, request kafka.Message) {
	t.Helper()
	w, topics := new(recorder), topics()
	topics.Events = mode
	p := alerts.New(w, topics, partitionOf, nil)
	list = events()
	if err := p.Publish(t.Context(), nil, nil, []*balance.Entry{{Source: commandSource(), Events: list}}); err != nil {
		t.Fatal(err)
	}
	err := p.RequestPayment(t.Context(), commandSource(), &balance.PaymentRequest{
		Account: "acme", N: 7, Amount: 50_000_000, Currency: "EUR", PaymentMethod: `pm_"1"`, Offset: 12, AtMillis: at,
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, w.calls[0], w.calls[1][0]
}

// Every kind of event, as it goes out, against its schema.
func TestEvents(t *testing.T) {
	t.Parallel()
	all, msgs, request := publish(t, alerts.Binary)
	golden(t, "events", dump(msgs))
	golden(t, "payment_requested", dump([]kafka.Message{request}))
	conforms(t, "payment-requested.schema.json", request.Value)
	var kinds []string
	for i, m := range msgs {
		kind, ok := strings.CutPrefix(header(m, "ce_type"), "creditstream.")
		kind, ok2 := strings.CutSuffix(kind, ".v1")
		if !ok || !ok2 || kind != all[i].Kind || header(m, "ce_id") != all[i].ID() || string(m.Key) != "acme" {
			t.Errorf("event %d, %s: key %s, headers %s", i, all[i].Kind, m.Key, m.Headers)
		}
		kinds = append(kinds, kind)
		conforms(t, eventSchema(kind), m.Value)
	}
	for _, kind := range balance.EventKinds() {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no example of %s here", kind)
		}
	}
}

// The events above have every detail that a script writes, and no other.
func TestEventsHaveAllDetails(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("../balance/lua/*.lua")
	if err != nil {
		t.Fatal(err)
	}
	var written, shown []string
	detail := regexp.MustCompile(` ([a-z_]+)=[a-z_']`) // in a text of Lua; its own = has spaces
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range detail.FindAllStringSubmatch(string(text), -1) {
			written = append(written, found[1])
		}
	}
	for _, e := range events() {
		for _, f := range e.Fields {
			shown = append(shown, f.Name)
		}
	}
	slices.Sort(written)
	slices.Sort(shown)
	written, shown = slices.Compact(written), slices.Compact(shown)
	if len(written) < 20 || !slices.Equal(written, shown) {
		t.Errorf("the scripts write %v\nshown are %v", written, shown)
	}
}

// A structured message has the same topic, key, attributes and data as a binary
// one, all of it in its value.
func TestStructuredEvents(t *testing.T) {
	t.Parallel()
	_, told, request := publish(t, alerts.Structured)
	golden(t, "events_structured", dump(append(slices.Clone(told), request)))
	_, binary, asked := publish(t, "")
	binary = append(binary, asked)
	for i, m := range append(told, request) {
		conforms(t, "cloud-event.schema.json", m.Value)
		var members map[string]json.RawMessage
		if err := json.Unmarshal(m.Value, &members); err != nil {
			t.Fatal(err)
		}
		same := kafka.Message{Topic: m.Topic, Partition: m.Partition, Key: m.Key, Value: members["data"]}
		for _, name := range []string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype"} {
			key := "ce_" + name
			if name == "datacontenttype" {
				key = "content-type"
			}
			var text string
			if err := json.Unmarshal(members[name], &text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			same.Headers = append(same.Headers, kafka.Header{Key: key, Value: []byte(text)})
		}
		if got, want := dump([]kafka.Message{same}), dump(binary[i:i+1]); got != want || len(members) != 8 {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
		if len(m.Headers) != 1 || !strings.HasPrefix(header(m, "content-type"), "application/cloudevents+json") {
			t.Errorf("headers %s", m.Headers)
		}
	}
}

// What is blocked is every kind but those that are never refused, and nothing while
// the overdraft limit is not used up.
func TestBlockedKinds(t *testing.T) {
	t.Parallel()
	all, msgs, _ := publish(t, alerts.Binary)
	for i, m := range msgs {
		var said struct {
			Kinds []rating.Kind `json:"blocked_kinds"`
		}
		if err := json.Unmarshal(m.Value, &said); err != nil {
			t.Fatal(err)
		}
		if (said.Kinds != nil) != (all[i].Kind == "balance.depleted") {
			t.Errorf("%s: blocked %v", all[i].Kind, said.Kinds)
		}
		if said.Kinds == nil {
			continue
		}
		for _, kind := range rating.Kinds() {
			blocked := !kind.AlwaysFree() && (all[i].Get("overdraft_limit") == "" || all[i].Balance == -2)
			if slices.Contains(said.Kinds, kind) != blocked {
				t.Errorf("at %s, limit %q: %s is blocked: %t", all[i].Balance, all[i].Get("overdraft_limit"), kind, !blocked)
			}
		}
	}
}

func eventSchema(kind string) string {
	return "event-" + strings.ReplaceAll(kind, ".", "-") + ".schema.json"
}
