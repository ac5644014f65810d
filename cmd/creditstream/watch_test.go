package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is watched: the dashboards and rules of deploy/, taken by the word.

const (
	grafana    = "../../deploy/grafana"
	rulesFiles = "../../deploy/prometheus/*.rules.yaml"
)

// dashboard is what is looked at of Grafana's.
type dashboard struct {
	UID, Title, Description string
	Panels                  []gauge
}

type gauge struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct{ Expr, LegendFormat string }
}

func dashboards(t *testing.T) (all []dashboard) {
	t.Helper()
	files, err := filepath.Glob(grafana + "/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, d)
	}
	return all
}

// query is an expression of PromQL, and where it stands.
type query struct{ where, expr string }

// queries returns those of all panels, as Grafana sends them: for all jobs, and over
// a range of so long.
func queries(t *testing.T, interval string) (all []query) {
	t.Helper()
	as := strings.NewReplacer("$__rate_interval", interval, "$__range", interval, "$job", ".*")
	for _, d := range dashboards(t) {
		for i := range d.Panels {
			for _, target := range d.Panels[i].Targets {
				all = append(all, query{d.Title + ": " + d.Panels[i].Title, as.Replace(target.Expr)})
			}
		}
	}
	return all
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	files, err := filepath.Glob(rulesFiles)
	if err != nil || len(files) < 5 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		all = append(all, rulesOf(t, file)...)
	}
	return all
}

// A panel asks a question, and says in which unit the answer is and what to do.
func TestPanelsSayWhatToDo(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for _, d := range dashboards(t) {
		if d.UID == "" || d.Description == "" || uids[d.UID] {
			t.Errorf("%s: wants an uid of its own (%q) and a description", d.Title, d.UID)
		}
		uids[d.UID] = true
		titles, ids, cells := map[string]bool{}, map[int]bool{}, map[[2]int]string{}
		for i := range d.Panels {
			p := &d.Panels[i]
			if titles[p.Title] || ids[p.ID] || !strings.HasSuffix(p.Title, "?") {
				t.Errorf("%s: panel %d %q: wants an id and a question of its own", d.Title, p.ID, p.Title)
			}
			titles[p.Title], ids[p.ID] = true, true
			if p.FieldConfig.Defaults.Unit == "" || len(p.Description) < 60 || len(p.Targets) == 0 {
				t.Errorf("%s: %s: wants a unit (%q), a description that says what to do, and a query", d.Title, p.Title, p.FieldConfig.Defaults.Unit)
			}
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
						t.Fatalf("%s: %s lies on %q, or beyond the 24th column", d.Title, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		words := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found[strings.ReplaceAll(words, " ", "-")] = true
	}
	return found
}

// What dashboards and alerts say leads to a section of the docs that is there; each
// section of the runbooks has an alert that leads to it.
func TestAlertsLeadToRunbooks(t *testing.T) {
	t.Parallel()
	const runbooks = "https://github.com/creditstream/creditstream/blob/main/docs/runbooks.md#"
	sections := anchors(t, "../../docs/runbooks.md")
	delete(sections, "runbooks") // the title
	left := maps.Clone(sections)
	for _, r := range rules(t) {
		anchor, found := strings.CutPrefix(r.Annotations["runbook_url"], runbooks)
		if r.Alert == "" || !found || !sections[anchor] {
			t.Errorf("alert %s: runbook_url %q is no section of docs/runbooks.md", r.Alert, r.Annotations["runbook_url"])
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("alert %s: wants a severity, warning or critical (%q), a summary and a description", r.Alert, s)
		}
		delete(left, anchor)
	}
	for section := range left {
		t.Errorf("docs/runbooks.md#%s: no alert leads there", section)
	}
	for _, d := range dashboards(t) {
		for i := range d.Panels {
			for _, m := range regexp.MustCompile(`docs/([a-z-]+\.md)(?:#([a-z0-9-]+))?`).FindAllStringSubmatch(d.Panels[i].Description, -1) {
				if found := anchors(t, "../../docs/"+m[1]); m[2] != "" && !found[m[2]] {
					t.Errorf("%s: %s: there is no section %s", d.Title, d.Panels[i].Title, m[0])
				}
			}
		}
	}
}

// Every alert is seen to fire, and not to.
func TestAlertsFireAndClear(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../deploy/prometheus/tests/*.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(promtool(t), append([]string{"test", "rules"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
	var tests strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	for _, r := range rules(t) {
		if !strings.Contains(tests.String(), `alertname="`+r.Alert+`"`) {
			t.Errorf("alert %s: no test of deploy/prometheus/tests expects it", r.Alert)
		}
	}
}

func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: install prometheus (Debian: apt-get install prometheus)", err)
	}
	return path
}

// exported are metrics with the values of their labels.
type exported map[string]map[string]map[string]bool

// take adds what a page in Prometheus' text format has.
func (e exported) take(page string) {
	line := regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? [^ ]+$`)
	pair := regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
	for _, m := range line.FindAllStringSubmatch(page, -1) {
		if e[m[1]] == nil {
			e[m[1]] = map[string]map[string]bool{}
		}
		for _, l := range pair.FindAllStringSubmatch(m[2], -1) {
			if e[m[1]][l[1]] == nil {
				e[m[1]][l[1]] = map[string]bool{}
			}
			e[m[1]][l[1]][l[2]] = true
		}
	}
}

// check returns what an expression names and nothing exports. It knows of PromQL what
// our expressions have: metrics are told by their prefix, and a label by what it is of.
func (e exported) check(expr string) (missing []string) {
	bad := func(format string, a ...any) { missing = append(missing, fmt.Sprintf(format, a...)) }
	metric := regexp.MustCompile(`\b((?:creditstream|process|node)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`([a-z_]+)(=~|!=|!~|=)"([^"]*)"`)
	grouping := regexp.MustCompile(`\b(by|without|on|ignoring) \(([^)]*)\)`)
	scraped := []string{"job", "instance"} // every series has them
	labels := map[string]bool{}
	found := metric.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 {
		bad("no metric")
	}
	for _, m := range found {
		have, ok := e[m[1]]
		if !ok {
			bad("metric %s", m[1])
		}
		for name := range have {
			labels[name] = true
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if values := have[l[1]]; values == nil && !slices.Contains(scraped, l[1]) {
				bad("label %s of %s", l[1], m[1])
			} else if l[2] == "=" && !values[l[3]] {
				bad("%s with %s", m[1], l[0])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(g[2], ",") {
			if name = strings.TrimSpace(name); !labels[name] && !slices.Contains(scraped, name) {
				bad("label %s", name)
			}
		}
	}
	return missing
}

// The check itself finds what is wrong.
func TestExpressionsAreChecked(t *testing.T) {
	t.Parallel()
	e := exported{}
	e.take("# HELP creditstream_x_total Text.\ncreditstream_x_total{kind=\"a\"} 1\ncreditstream_x_total{kind=\"b\"} 0\nprocess_y 7\n")
	for expr, want := range map[string]string{
		`sum by (kind, job) (rate(creditstream_x_total{job=~".*", kind="b"}[5m])) / on (instance) process_y`: "",
		`rate(creditstream_z_total[5m])`:             "metric creditstream_z_total",
		`creditstream_x_total{sort="a"}`:             "label sort of creditstream_x_total",
		`creditstream_x_total{kind="c"}`:             `creditstream_x_total with kind="c"`,
		`sum by (reason) (creditstream_x_total) > 1`: "label reason",
		`vector(1)`: "no metric",
	} {
		if got := strings.Join(e.check(expr), ", "); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}
