package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/letters"
	"github.com/creditstream/creditstream/rating"
)

// Every metric of ours that an alert names is exported by a processor, or written
// by dlq list --metrics; every label it names is a reason.
func TestAlertRulesNameMetricsThatExist(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../deploy/prometheus/parked.rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				For         string            `yaml:"for"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "letters.prom")
	if err := writeMetrics(file, &letters.Sum{}); err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]bool{"creditstream_letters_oldest_open_timestamp_seconds": true} // absent while nothing is open
	for line := range strings.Lines(string(written)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "# HELP "), " ")
		exported[name] = true
	}
	reg := prometheus.NewRegistry()
	consumer.New(consumer.Config{Registerer: reg})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		exported[f.GetName()] = true
	}
	seen := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Alert == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("rule %+v: wants a name, a severity, a summary and a description", r)
			}
			for _, name := range regexp.MustCompile(`creditstream_[a-z_]+`).FindAllString(r.Expr, -1) {
				seen++
				if !exported[name] {
					t.Errorf("%s names %s, which nothing exports", r.Alert, name)
				}
			}
		}
	}
	if seen < 3 {
		t.Errorf("%d metrics of ours in all rules", seen)
	}
}

// The guide for the operator says of every reason what to do.
func TestGuideKnowsEveryReason(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/dead-letters.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rating.Reasons() {
		if !regexp.MustCompile("(?m)^\\|.*`" + string(r) + "`.*\\|.*\\|.*\\|$").Match(guide) {
			t.Errorf("docs/dead-letters.md does not say what to do about %s", r)
		}
	}
}
