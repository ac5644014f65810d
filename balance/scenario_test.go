package balance_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scenario files are in testdata/scenarios; README.md there says how to write one.
// A file is blocks of steps, a line `----`, and what the steps emitted, up to an
// empty line; lines that begin with # tell why. `go test ./balance -run Scenarios
// -update` writes what is emitted now: read the difference before you commit it.
//
// Every file is played on a quiet way to Redis, on one that loses the reply of
// every call that changes anything, and on one that loses every first request. All
// must emit the same and leave the same keys. It is played once more on a cluster
// whose slots move (TestScenariosWhileSlotsMove).

var update = flag.Bool("update", false, "write what the scenario files emit now")

// block is what stands between two empty lines of a scenario file.
type block struct {
	before []string // comments and empty lines
	steps  []string
	want   string
}

func parseScenario(t *testing.T, text string) (blocks []block, end []string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var b block
	for i := 0; i < len(lines); i++ {
		switch line := lines[i]; {
		case line == "----":
			if len(b.steps) == 0 {
				t.Fatalf("line %d: nothing to do before ----", i+1)
			}
			var want []string
			for i++; i < len(lines) && lines[i] != ""; i++ {
				want = append(want, lines[i])
			}
			b.want = strings.Join(want, "\n")
			blocks, b = append(blocks, b), block{before: []string{""}}
		case line == "" || line[0] == '#':
			if len(b.steps) > 0 {
				t.Fatalf("line %d: ---- is missing after the steps", i+1)
			}
			b.before = append(b.before, line)
		default:
			b.steps = append(b.steps, line)
		}
	}
	if len(b.steps) > 0 {
		t.Fatalf("the last steps have no ----")
	}
	return blocks, b.before
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenario files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			blocks, end := parseScenario(t, string(text))
			quietKeys := play(t, newStage(t, nil), blocks)
			if *update {
				if err := os.WriteFile(file, []byte(unparse(blocks, end)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, lose := range []loss{replies, requests} {
				if keys := play(t, newStage(t, &wire{loss: lose}), blocks); keys != quietKeys {
					t.Errorf("with %s lost, other keys are left:\n%s", lose, difference(quietKeys, keys))
				}
			}
		})
	}
}

// play runs blocks on a store that is empty and returns what its keys hold.
func play(t *testing.T, s *stage, blocks []block) string {
	t.Helper()
	for i := range blocks {
		b := &blocks[i]
		s.out = nil
		for _, step := range b.steps {
			s.step(step)
		}
		if len(s.out) == 0 {
			s.say("nothing")
		}
		text := strings.Join(s.out, "\n")
		if *update && s.way == nil {
			b.want = text
		}
		if text != b.want {
			t.Errorf("%s (lost: %s)\n---- got\n%s\n---- want\n%s", strings.Join(b.steps, "\n"), s.way, text, b.want)
		}
	}
	if s.way != nil && s.way.lost == 0 {
		t.Errorf("no %s was lost", s.way)
	}
	return s.keys()
}

func unparse(blocks []block, end []string) string {
	var w strings.Builder
	line := func(lines ...string) {
		for _, l := range lines {
			w.WriteString(l + "\n")
		}
	}
	for _, b := range blocks {
		line(b.before...)
		line(b.steps...)
		line("----", b.want)
	}
	for _, l := range end[1:] { // the empty line after the last block goes
		line("", l)
	}
	return w.String()
}

// difference names the first line in which two texts differ.
func difference(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		var p, q string
		if i < len(x) {
			p = x[i]
		}
		if i < len(y) {
			q = y[i]
		}
		if p != q {
			return "- " + p + "\n+ " + q
		}
	}
	return "none"
}
