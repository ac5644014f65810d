package main

import (
	"encoding/json"
	"errors"
	"testing"
	"time"
)

// With --cloudevents structured the whole event is in the value.
func TestStructuredCloudEvents(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	stream := p.processor(p.http, "--cloudevents=structured")
	p.create("acme", "")
	p.topUp("acme", "first", "20.00")
	await(t, 20*time.Second, "an alert", func() error {
		if len(p.read("credit-alerts")) == 0 {
			return errors.New("none is there")
		}
		return nil
	})
	alert := p.read("credit-alerts")[0]
	var e struct {
		Type string
		Data struct{ Account, Amount, Reference string }
	}
	if err := json.Unmarshal(alert.Value, &e); err != nil {
		t.Fatal(err)
	}
	if e.Type != "creditstream.funds.added.v1" || e.Data.Account != "acme" || e.Data.Amount != "20.000000" || e.Data.Reference != "first" {
		t.Errorf("%s", alert.Value)
	}
	if h := alert.Headers; len(h) != 1 || string(h[0].Value) != "application/cloudevents+json; charset=UTF-8" {
		t.Errorf("headers %s", h)
	}
	stream.stop(t)
}
