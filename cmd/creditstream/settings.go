package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const (
	envPrefix = "CREDITSTREAM_"
	// keyDelim separates nothing: keys are flat, and no name holds it.
	keyDelim = "\x00"
)

// settings are what one command can be told. A flag wins over an environment
// variable, that over a key in the file, and that over the default.
type settings struct {
	list   []*setting
	byName map[string]*setting
	origin map[string]string // of a setting that was given: where, in words
	wrong  map[string]bool   // settings that could not be read
	file   string
}

// bareSettings returns settings that no file gives.
func bareSettings() *settings {
	return &settings{byName: map[string]*setting{}, origin: map[string]string{}, wrong: map[string]bool{}}
}

func newSettings() *settings {
	s := bareSettings()
	s.add("config", "", value{kind: "file", set: func(text string) error { s.file = text; return nil }},
		"YAML file with settings: its keys are the names of the flags")
	return s
}

// add names a setting. initial must be valid, or empty for a setting without
// default.
func (s *settings) add(name, initial string, v value, usage string) {
	one := &setting{value: v, name: name, initial: initial, usage: usage}
	s.list = append(s.list, one)
	s.byName[name] = one
}

// borrow takes settings of another command, as they are there. What they set is
// the other command's.
func (s *settings) borrow(from *settings, names ...string) {
	for _, name := range names {
		one := from.byName[name]
		s.add(one.name, one.initial, one.value, one.usage)
	}
}

// flags defines a flag for every setting. Their values are read by resolve, so
// that all mistakes come to light together.
func (s *settings) flags(set *pflag.FlagSet) {
	set.SortFlags = false
	for _, one := range s.list {
		f := set.VarPF(&flagText{setting: one, text: one.initial}, one.name, "", one.usage)
		f.NoOptDefVal = one.bare
	}
}

// flagText is the text of a flag, as given.
type flagText struct {
	*setting

	text  string
	given bool
}

// Set implements pflag.Value.
func (f *flagText) Set(text string) error {
	if f.list && f.given {
		text = f.text + "," + text
	}
	f.text, f.given = text, true
	return nil
}

// String implements pflag.Value.
func (f *flagText) String() string { return f.text }

// Type implements pflag.Value.
func (f *flagText) Type() string { return f.kind }

// A layer is one place where settings are given.
type layer struct {
	*koanf.Koanf

	where   func(key string) string // how a setting is named there
	unknown func(key string) string // what is wrong with a key that is no setting; empty: nothing
}

// resolve reads every setting that is given anywhere, the lowest place first, and
// returns everything that is wrong. elsewhere reports whether another command of
// ours has a setting: it is then not unknown in the environment and in the file, so
// that one file serves all commands.
func (s *settings) resolve(set *pflag.FlagSet, environ func() []string, elsewhere func(name string) bool) (problems []string) {
	fromEnv, fromFlags := environment(environ, elsewhere), flagLayer(set)
	for _, l := range []layer{fromEnv, fromFlags} {
		if l.Exists("config") {
			s.file = l.String("config")
			s.origin["config"] = l.where("config")
		}
	}
	layers := []layer{fromEnv, fromFlags}
	if s.origin["config"] != "" {
		fromFile, wrong := fileLayer(s.file, elsewhere)
		problems = append(problems, wrong...)
		layers = append([]layer{fromFile}, layers...)
	}
	for _, one := range s.list {
		if one.initial != "" {
			if err := one.set(one.initial); err != nil {
				problems = append(problems, fmt.Sprintf("default of --%s: %q %s", one.name, one.initial, err))
			}
		}
	}
	for _, l := range layers {
		problems = append(problems, s.take(l)...)
	}
	return problems
}

// take reads what one layer gives.
func (s *settings) take(l layer) (problems []string) {
	for _, key := range slices.Sorted(maps.Keys(l.All())) {
		one, found := s.byName[key]
		if !found {
			if text := l.unknown(key); text != "" {
				problems = append(problems, l.where(key)+": "+text)
			}
			continue
		}
		s.origin[key] = l.where(key)
		if err := one.set(l.String(key)); err != nil {
			s.wrong[key] = true
			problems = append(problems, fmt.Sprintf("%s: %q %s", l.where(key), l.String(key), err))
		}
	}
	return problems
}

// required returns a problem for each of names that is given nowhere.
func (s *settings) required(names ...string) (problems []string) {
	for _, name := range names {
		if s.origin[name] == "" {
			problems = append(problems, fmt.Sprintf("%s is required (%s): give the flag --%s, the environment variable %s or a key in the file",
				name, s.byName[name].usage, name, envName(name)))
		}
	}
	return problems
}

// where says in words where a setting comes from.
func (s *settings) where(name string) string {
	if o := s.origin[name]; o != "" {
		return o
	}
	return "default of --" + name
}

// given reports whether a setting is given anywhere.
func (s *settings) given(name string) bool { return s.origin[name] != "" }

// read reports whether all of names could be read, so that they can be compared.
func (s *settings) read(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return s.wrong[name] })
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

func environment(environ func() []string, elsewhere func(name string) bool) layer {
	k := koanf.New(keyDelim)
	// The provider's Read returns no errors.
	_ = k.Load(env.Provider(keyDelim, env.Opt{
		Prefix: envPrefix, EnvironFunc: environ,
		TransformFunc: func(name, text string) (string, any) {
			key := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, envPrefix), "_", "-"))
			if envName(key) != name {
				return name, text // not as we write it: reported as it is
			}
			return key, text
		},
	}), nil)
	return layer{
		Koanf: k,
		where: func(key string) string {
			if strings.HasPrefix(key, envPrefix) {
				return "environment " + key
			}
			return "environment " + envName(key)
		},
		unknown: unknownUnless(elsewhere),
	}
}

func unknownUnless(elsewhere func(name string) bool) func(key string) string {
	return func(key string) string {
		if elsewhere(key) {
			return ""
		}
		return "there is no such setting"
	}
}

func flagLayer(set *pflag.FlagSet) layer {
	k := koanf.New(keyDelim)
	// Without a Koanf to compare with, only flags that were given are read.
	_ = k.Load(posflag.ProviderWithFlag(set, keyDelim, nil, func(f *pflag.Flag) (string, any) {
		text, ours := f.Value.(*flagText)
		if !ours {
			return "", nil // --help
		}
		return f.Name, text.text
	}), nil)
	return layer{
		Koanf:   k,
		where:   func(key string) string { return "flag --" + key },
		unknown: func(string) string { return "there is no such flag" },
	}
}

func fileLayer(name string, elsewhere func(name string) bool) (l layer, problems []string) {
	parser := &flatYAML{name: name, lines: map[string]int{}}
	l = layer{
		Koanf:   koanf.New(keyDelim),
		where:   func(key string) string { return fmt.Sprintf("file %s:%d: key %s", name, parser.lines[key], key) },
		unknown: unknownUnless(elsewhere),
	}
	if err := l.Load(file.Provider(name), parser); err != nil {
		if path, ok := errors.AsType[*os.PathError](err); ok {
			err = path.Err
		}
		problems = append(problems, fmt.Sprintf("file %s: cannot be read: %s", name, err))
	}
	if l.Exists("config") {
		l.Delete("config")
		parser.problem(parser.lines["config"], "key config: a file cannot name another")
	}
	return l, append(problems, parser.problems...)
}

// flatYAML reads a mapping of names to scalars or lists of scalars, and keeps the
// scalars as they are written: an amount must not become a float.
type flatYAML struct {
	name     string
	lines    map[string]int
	problems []string
}

func (f *flatYAML) problem(line int, format string, a ...any) {
	f.problems = append(f.problems, fmt.Sprintf("file %s:%d: ", f.name, line)+fmt.Sprintf(format, a...))
}

// Unmarshal implements koanf.Parser.
func (f *flatYAML) Unmarshal(b []byte) (map[string]any, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	found := map[string]any{}
	if len(doc.Content) == 0 {
		return found, nil // empty
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		f.problem(root.Line, "expected lines of the form name: value")
		return found, nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		if line := f.lines[key.Value]; line > 0 {
			f.problem(key.Line, "key %s: already in line %d", key.Value, line)
			continue
		}
		f.lines[key.Value] = key.Line
		if text, ok := flatText(node); ok {
			found[key.Value] = text
		} else {
			f.problem(key.Line, "key %s: expected a value or a list of values", key.Value)
		}
	}
	return found, nil
}

func flatText(node *yaml.Node) (string, bool) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml.ScalarNode:
		return node.Value, node.Tag != "!!null"
	case yaml.SequenceNode:
		words := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
				return "", false
			}
			words[i] = item.Value
		}
		return strings.Join(words, ","), true
	case yaml.DocumentNode, yaml.MappingNode, yaml.AliasNode:
	}
	return "", false
}

// Marshal implements koanf.Parser; nothing is written.
func (*flatYAML) Marshal(map[string]any) ([]byte, error) { return nil, errors.ErrUnsupported }

// problemsError makes one usageError of all problems, or nil of none.
func problemsError(problems []string) error {
	switch len(problems) {
	case 0:
		return nil
	case 1:
		return usageError{errors.New(problems[0])}
	}
	return usageError{fmt.Errorf("%d problems with the settings:\n  %s", len(problems), strings.Join(problems, "\n  "))}
}
