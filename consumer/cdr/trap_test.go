package cdr_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/consumer/cdr"
	"github.com/creditstream/creditstream/rating"
)

var update = flag.Bool("update", false, "write what traps give into their files")

// A trap is a file of testdata/traps: what is special about its records, options
// (zone, content-type, source, and whole: true to decode the input uncut), the
// input, perhaps a mapping, and what comes of each record.
type trap struct {
	options        map[string]string
	input, mapping []byte
	want           string
}

func readTrap(tb testing.TB, path string) trap {
	tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	tr := trap{options: map[string]string{}}
	sections := bytes.Split(content, []byte("---- "))
	for line := range strings.Lines(string(sections[0])) {
		if name, text, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "#") {
			tr.options[name] = text
		}
	}
	for _, section := range sections[1:] {
		name, body, _ := bytes.Cut(section, []byte("\n"))
		switch string(name) {
		case "input":
			tr.input = body
		case "mapping":
			tr.mapping = body
		case "want":
			tr.want = string(body)
		default:
			tb.Fatalf("%s: section %q", path, name)
		}
	}
	return tr
}

func TestTraps(t *testing.T) {
	t.Parallel()
	for _, f := range cdr.Formats() {
		paths, err := filepath.Glob(filepath.Join("testdata", "traps", string(f), "*.txt"))
		if err != nil || len(paths) == 0 && f != cdr.CanonicalJSON {
			t.Fatalf("%s: %d traps: %v", f, len(paths), err)
		}
		for _, path := range paths {
			t.Run(string(f)+"/"+strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
				t.Parallel()
				tr := readTrap(t, path)
				got := spring(t, f, &tr)
				if *update && got != tr.want {
					content, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					content = append(content[:bytes.Index(content, []byte("---- want\n"))], "---- want\n"+got...)
					if err := os.WriteFile(path, content, 0o600); err != nil {
						t.Fatal(err)
					}
				} else if got != tr.want {
					t.Errorf("got:\n%s\nwant:\n%s", got, tr.want)
				}
			})
		}
	}
}

// spring decodes a trap's records and returns a line for each.
func spring(t *testing.T, f cdr.Format, tr *trap) string {
	t.Helper()
	opt := cdr.Options{Format: f, Lenient: tr.mapping == nil}
	var err error
	if name := tr.options["zone"]; name != "" {
		if opt.Zone, err = rating.LoadZone(name); err != nil {
			t.Fatal(err)
		}
	}
	if tr.mapping != nil {
		if opt.Mapping, err = cdr.LoadMapping("mapping.yaml", tr.mapping, opt.Zone); err != nil {
			t.Fatal(err)
		}
	}
	d := cdr.NewDecoder(opt)
	var out strings.Builder
	for _, data := range pieces(t, f, tr) {
		rec := cdr.Record{Value: data, AppendMillis: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC).UnixMilli()}
		if media := tr.options["content-type"]; media != "" {
			rec.ContentType = []byte(media)
		}
		if source := tr.options["source"]; source != "" {
			rec.Source = []byte(source)
		}
		var c rating.CDR
		line, err := json.Marshal(result(t, d.Decode(&rec, &c), &c))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(append(line, '\n'))
	}
	return out.String()
}

func pieces(t *testing.T, f cdr.Format, tr *trap) (all [][]byte) {
	t.Helper()
	if tr.options["whole"] != "" {
		return [][]byte{tr.input}
	}
	s := cdr.NewSplitter(bytes.NewReader(tr.input), f)
	for {
		p, err := s.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil || p.Fault != nil {
			t.Fatalf("piece %d: %v %v", len(all), err, p.Fault)
		}
		all = append(all, bytes.Clone(p.Data))
	}
}

// result is what a trap file shows of a record.
func result(t *testing.T, err error, c *rating.CDR) any {
	t.Helper()
	if skip, ok := errors.AsType[*cdr.Skip](err); ok {
		return map[string]string{"skip": skip.Why}
	}
	if fault, ok := errors.AsType[*cdr.Fault](err); ok {
		return map[string]string{"error": fault.Error()}
	}
	if err != nil {
		t.Fatalf("a %T: %v", err, err)
	}
	answered := ""
	if c.Answered() {
		answered = c.AnsweredAt.Format(time.RFC3339Nano)
	}
	return struct {
		ID       string      `json:"id,omitempty"`
		Source   string      `json:"source,omitempty"`
		Account  string      `json:"account,omitempty"`
		User     string      `json:"user,omitempty"`
		Kind     rating.Kind `json:"kind,omitempty"`
		Caller   string      `json:"caller,omitempty"`
		Callee   string      `json:"callee,omitempty"`
		Home     string      `json:"home_country,omitempty"`
		Answered string      `json:"answered_at,omitempty"`
		Millis   int64       `json:"duration_ms"`
	}{c.ID, c.Source, c.Account, c.User, c.Kind, c.Caller, c.Callee, c.Home, answered, c.DurationMillis}
}
