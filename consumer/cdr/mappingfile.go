package cdr

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/creditstream/creditstream/rating"
)

// LoadMapping reads a mapping from the content of a YAML file, as docs/formats.md
// describes it. file is its name for messages, zone that of sources that have
// none of their own; it may be nil.
//
// An error is rating.Problems: all of them, by place.
func LoadMapping(file string, content []byte, zone *time.Location) (*Mapping, error) {
	f := mappingFile{file: file, zone: zone, mapping: &Mapping{sources: map[string][]*version{}}, places: map[*version]*yaml.Node{}}
	f.read(content)
	f.order()
	if len(f.problems) == 0 {
		return f.mapping, nil
	}
	slices.SortStableFunc(f.problems, func(a, b rating.Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return nil, f.problems
}

// A mappingFile is a mapping while it is read.
type mappingFile struct {
	file     string
	zone     *time.Location
	mapping  *Mapping
	places   map[*version]*yaml.Node
	problems rating.Problems
}

func (f *mappingFile) bad(n *yaml.Node, format string, a ...any) {
	f.problems = append(f.problems, rating.Problem{File: f.file, Line: n.Line, Column: n.Column, Message: fmt.Sprintf(format, a...)})
}

func (f *mappingFile) read(content []byte) {
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&document); err != nil {
		var at yaml.Node
		_, _ = fmt.Sscanf(err.Error(), "yaml: line %d:", &at.Line) // for the place alone; without it 0 is right
		f.bad(&at, "not YAML: %v", err)
		return
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		f.bad(&yaml.Node{}, "want one YAML document")
	}
	f.keys(document.Content[0], map[string]reader{"sources": f.readSources}, "sources")
}

// A reader reads the value of a key and returns what it wants instead, or "".
type reader func(*yaml.Node) (want string)

// keys reads a mapping of YAML key by key.
func (f *mappingFile) keys(n *yaml.Node, readers map[string]reader, required ...string) {
	if n.Kind != yaml.MappingNode {
		f.bad(n, "want a mapping with the keys %s", strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, at := n.Content[i], n.Content[i+1]
		read, known := readers[name.Value]
		switch {
		case !known:
			f.bad(name, "unknown key %q: want one of %s", name.Value, strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		case seen[name.Value]:
			f.bad(name, "%s is there twice", name.Value)
		default:
			if want := read(at); want != "" {
				f.bad(at, "%s: want %s", name.Value, want)
			}
		}
		seen[name.Value] = true
	}
	for _, name := range required {
		if !seen[name] {
			f.bad(n, "%s is missing", name)
		}
	}
}

func (f *mappingFile) readSources(n *yaml.Node) string {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return "a list of sources"
	}
	for _, entry := range n.Content {
		f.readSource(entry)
	}
	return ""
}

// readSource reads one version of one source: its format first, as the names of
// its fields depend on it.
func (f *mappingFile) readSource(n *yaml.Node) {
	v := &version{format: Format(scalar(child(n, "format")))}
	p := newPlan(v.format, f.zone)
	v.plan = p
	e := entry{mappingFile: f, plan: p}
	if columns := child(n, "columns"); columns != nil {
		e.readColumns(columns)
	}
	readers := map[string]reader{
		"format": func(*yaml.Node) string {
			return unless(v.format.Valid() && v.format != CanonicalJSON, "one of "+formatNames())
		},
		"source": func(n *yaml.Node) string {
			p.source = []byte(scalar(n))
			rule := ruleOf(source)
			return unless(len(p.source) > 0 && len(p.source) <= int(rule.maxBytes) && rule.allows(p.source), rule.expected())
		},
		"active_from": func(n *yaml.Node) string {
			var problem string
			v.activeFrom, problem = parseRFC3339([]byte(scalar(n)))
			return unless(problem == "", "a time such as 2026-12-01T00:00:00Z (RFC 3339)")
		},
		"zone":    e.readZone,
		"columns": func(*yaml.Node) string { return unless(v.format.isCSV(), "no columns: the format is not CSV") },
		"start_on_confirmed": func(n *yaml.Node) string {
			return unless(scalar(n) == "true" && v.format == KamailioJSON, "true, in sources of "+string(KamailioJSON))
		},
		"numbers": e.readNumbers,
		"skip":    func(n *yaml.Node) string { p.skips = e.readChoices(n, nil); return "" },
	}
	for f := range unknown {
		if f != source && f != durationMillis && f != answeredAt {
			readers[ruleOf(f).name] = func(n *yaml.Node) string {
				p.rules[f] = e.readChoices(n, e.checkOf(f))
				return ""
			}
		}
	}
	f.keys(n, readers, "format", "source")
	if v.format == KamailioJSON && child(n, "start_on_confirmed") == nil {
		f.bad(n, "start_on_confirmed is missing: set cdr_start_on_confirmed of Kamailio's acc module to 1, "+
			"or calls are billed with their ringing, and then write start_on_confirmed: true")
	}
	if len(p.source) > 0 && v.format.Valid() && v.format != CanonicalJSON {
		p.compile()
		f.mapping.sources[string(p.source)] = append(f.mapping.sources[string(p.source)], v)
		f.places[v] = n
	}
}

// order sorts the versions of each source, newest first, and checks that there is
// one at a time.
func (f *mappingFile) order() {
	f.mapping.begins = math.MaxInt64
	for name, versions := range f.mapping.sources {
		slices.SortStableFunc(versions, func(a, b *version) int { return b.activeFrom.Compare(a.activeFrom) })
		for i, v := range versions[1:] {
			if v.activeFrom.Equal(versions[i].activeFrom) {
				f.bad(f.places[v], "source %q has two versions from the same time on: want another active_from", name)
			}
		}
		f.mapping.begins = min(f.mapping.begins, versions[len(versions)-1].fromMillis())
	}
}

func formatNames() string {
	var names []string
	for _, f := range Formats() {
		if f != CanonicalJSON {
			names = append(names, string(f))
		}
	}
	return strings.Join(names, ", ")
}

// child returns the value of a key, or nil.
func child(n *yaml.Node, name string) *yaml.Node {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// scalar returns the text of n; it is empty for anything else.
func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func unless(ok bool, want string) string { //nolint:revive // ok is the outcome of a check, not a mode
	if ok {
		return ""
	}
	return want
}

// An entry is one version of a source while it is read.
type entry struct {
	*mappingFile

	plan *plan
}

func (e *entry) readZone(n *yaml.Node) string {
	var err error
	e.plan.zone, err = rating.LoadZone(scalar(n))
	return unless(err == nil, "a time zone of the IANA database, such as Europe/Paris or UTC")
}

func (e *entry) readColumns(n *yaml.Node) {
	names, want := e.texts(n)
	switch {
	case want != "":
		e.bad(n, "columns: want %s", want)
	case len(names) > maxColumns:
		e.bad(n, "columns: want at most %d", maxColumns)
	default:
		for i, name := range names {
			if name != "" && slices.Index(names, name) != i {
				e.bad(n, "columns: %s is there twice", name)
			}
		}
		e.plan.given = names
		e.plan.spec.expected = strconv.Itoa(len(names)) + ", as the mapping says"
		e.plan.columns = func(n int) []string {
			if n != len(names) {
				return nil
			}
			return names
		}
	}
}

// texts reads a text or a list of texts.
func (e *entry) texts(n *yaml.Node) (texts []string, want string) {
	switch n.Kind {
	case yaml.ScalarNode:
		return []string{scalar(n)}, ""
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, "a text, or a list of texts"
			}
			texts = append(texts, scalar(item))
		}
	case yaml.DocumentNode, yaml.MappingNode, yaml.AliasNode:
	}
	return texts, unless(len(texts) > 0, "a text, or a list of texts")
}
