package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

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
