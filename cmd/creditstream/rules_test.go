package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/creditstream/creditstream/consumer"
	"github.com/creditstream/creditstream/internal/letters"
	"github.com/creditstream/creditstream/internal/verify"
	"github.com/creditstream/creditstream/rating"
)

// rule is an alert rule of Prometheus.
type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// rulesOf reads a file of rules.
func rulesOf(t *testing.T, file string) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(&rules); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, g := range rules.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// Every metric of ours that an alert names is exported by a processor, or written by
// dlq list or verify with --metrics.
func TestAlertRulesNameMetricsThatExist(t *testing.T) {
	t.Parallel()
	exported := map[string]bool{"creditstream_letters_oldest_open_timestamp_seconds": true} // absent while nothing is open
	for _, write := range []func(file string) error{
		func(file string) error { return writeMetrics(file, &letters.Sum{}) },
		func(file string) error { return writeVerified(file, &verify.Report{}, time.Now()) },
	} {
		file := filepath.Join(t.TempDir(), "metrics.prom")
		if err := write(file); err != nil {
			t.Fatal(err)
		}
		written, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(written)) {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "# HELP "), " ")
			exported[name] = true
		}
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
	files, err := filepath.Glob("../../deploy/prometheus/*.rules.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		seen := 0
		for _, r := range rulesOf(t, file) {
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
		if seen < 3 {
			t.Errorf("%s: %d metrics of ours in all rules", file, seen)
		}
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
