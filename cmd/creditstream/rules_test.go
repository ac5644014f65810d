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

// The commands that guides for operators show are there, with the flags that they show.
func TestGuidesShowCommandsThatExist(t *testing.T) {
	t.Parallel()
	command := regexp.MustCompile(`(?m)(?:^ +|^export [^\n]*; |\x60|-- /usr/local/bin/)creditstream ((?:--)?[a-z][^\n\x60|>#;&]*)`)
	for _, file := range []string{"install.md", "runbooks.md", "operations.md", "dead-letters.md"} {
		text, err := os.ReadFile("../../docs/" + file)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			var args, flags []string
			for word := range strings.FieldsSeq(m[1]) {
				if flag, _, _ := strings.Cut(word, "="); strings.HasPrefix(flag, "--") {
					flags = append(flags, flag)
				} else if len(flags) == 0 && len(args) < 2 {
					args = append(args, word)
				}
			}
			help, words := "", len(args)
			for ; len(args) > 0; args = args[:len(args)-1] { // the second word may be an argument
				var out output
				if run(t.Context(), append(args, "--help"), &out, &out) == nil && strings.Contains(out.String(), "creditstream "+strings.Join(args, " ")+" ") {
					help = out.String()
					break
				}
			}
			if help == "" || len(args) < words && strings.Contains(help, "Available Commands:") {
				t.Errorf("docs/%s: there is no command %q", file, m[0])
				continue
			}
			for _, flag := range flags {
				if !strings.Contains(help, flag+" ") && !strings.Contains(help, flag+"[") {
					t.Errorf("docs/%s: %q: there is no flag %s", file, m[0], flag)
				}
			}
			seen++
		}
		if seen < 5 {
			t.Errorf("docs/%s: %d commands were looked at", file, seen)
		}
	}
}
